package agent_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/agent"
	"github.com/warren-mesh/warren/agent/control/controltest"
	"github.com/warren-mesh/warren/agent/linux"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// A rig is one agent with a network in memory and a controller. It lives in a bubble of simulated time.
type rig struct {
	t      *testing.T
	c      *controltest.Controller
	kernel *linux.Fake
	dir    string
	log    *lockedBuffer
	probes *silentProber
	edit   func(*agent.Config)

	agent *agent.Agent
	stop  func()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{
		t: t, c: controltest.Start(t), kernel: linux.NewFake(), dir: t.TempDir(), log: &lockedBuffer{},
		probes: &silentProber{}, edit: func(*agent.Config) {},
	}
	return r
}

// start starts the agent and waits until it is ready.
func (r *rig) start() {
	r.t.Helper()
	files, err := store.Open(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	c := agent.Config{
		Kernel: r.kernel, Store: files, Prober: r.probes, Doctor: noDoctor{}, Hostname: "Shop1.example.com",
		Log:  slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Dial: r.c.Dial, Version: "1.2.3", Port: 51820,
		Addresses: func() ([]netip.Addr, error) { return []netip.Addr{netip.MustParseAddr("192.0.2.10")}, nil },
	}
	r.edit(&c)
	r.agent = agent.New(c)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.agent.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("run: %v", err)
		}
		if err := files.Close(); err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(r.stop)
	<-r.agent.Ready()
}

// status asks for the status.
func (r *rig) status() wire.Status {
	r.t.Helper()
	s, err := r.agent.Status(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// enroll enrols with a token and gives what was told.
func (r *rig) enroll(token string, edit ...func(*wire.LocalEnroll)) ([]wire.Progress, error) {
	order := wire.LocalEnroll{Token: token}
	for _, f := range edit {
		f(&order)
	}
	var told []wire.Progress
	err := r.agent.Enroll(r.t.Context(), order, func(p wire.Progress) { told = append(told, p) })
	return told, err
}

// member starts an agent that is enrolled.
func (r *rig) member() {
	r.t.Helper()
	r.start()
	token := r.c.Token()
	if _, err := r.enroll(token.Encode()); err != nil {
		r.t.Fatalf("enrol: %v", err)
	}
	synctest.Wait()
}

// eventually waits in simulated time.
func (r *rig) eventually(what string, within time.Duration, is func() bool) {
	r.t.Helper()
	for end := time.Now().Add(within); ; {
		synctest.Wait()
		if is() {
			return
		}
		if !time.Now().Before(end) {
			r.t.Fatalf("not within %v: %s\nstatus: %+v\nlog:\n%s", within, what, r.status(), r.log)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// shake makes the kernel see a handshake with a host on the link of a generation.
func (r *rig) shake(name string, g peers.Generation) {
	r.t.Helper()
	h, ok := r.c.Inventory().HostNamed(name)
	if !ok {
		r.t.Fatalf("no host %s", name)
	}
	for _, k := range h.Keys {
		if k.Generation == g {
			if err := r.kernel.Handshake(g.Link(), k.Public, netip.AddrPort{}, time.Now()); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

func (r *rig) state() peers.State {
	r.t.Helper()
	s, err := r.kernel.Observe(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func codes(s wire.Status) string {
	var out []string
	for _, p := range s.Problems {
		out = append(out, p.Code)
	}
	return strings.Join(out, " ")
}

// A lockedBuffer is a log that several write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A silentProber remembers what it shall answer to.
type silentProber struct {
	mu         sync.Mutex
	own, known []netip.Addr
}

func (p *silentProber) Answer(own, known []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own, p.known = own, known
}

func (p *silentProber) Ping(
	_ context.Context, to netip.Addr, mtu, count int, each func(wire.PingReply),
) (wire.PingSummary, error) {
	each(wire.PingReply{Seq: 1, RTT: 0.001})
	return wire.PingSummary{Address: to, Sent: count, Received: 1, PathMTU: mtu}, nil
}

type noDoctor struct{}

func (noDoctor) Examine(context.Context, wire.Status, peers.Plan, peers.State, time.Duration) []wire.Finding {
	return []wire.Finding{{Check: "nothing", Result: "ok"}}
}
