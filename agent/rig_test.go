package agent_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/agent"
	"github.com/warren-mesh/warren/agent/control/controltest"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// A rig is one agent with a network in memory and a controller. It lives in a bubble of simulated time.
type rig struct {
	t      *testing.T
	c      *controltest.Controller
	kernel *livelyKernel
	dir    string
	log    *lockedBuffer
	probes *silentProber
	lan    *neighbours
	edit   func(*agent.Config)
	port   uint16

	addresses func() []netip.Addr

	agent *agent.Agent
	stop  func()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{
		t: t, c: controltest.Start(t), kernel: newLivelyKernel(), dir: t.TempDir(), log: &lockedBuffer{},
		probes: &silentProber{}, lan: &neighbours{}, edit: func(*agent.Config) {}, port: freePort(t),
		addresses: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.0.2.10")} },
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
		Kernel: r.kernel, Store: files, Prober: r.probes, Watcher: r.probes, Neighbours: r.lan, Doctor: noDoctor{}, Hostname: "Shop1.example.com",
		Log:  slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Dial: r.c.Dial, Version: "1.2.3", Port: r.port,
		Addresses: func() ([]netip.Addr, error) { return r.addresses(), nil },
		Counters:  r.kernel.Counters,
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
		time.Sleep(10 * time.Millisecond)
	}
}

// key is the public key of a host.
func (r *rig) key(name string, g peers.Generation) key.Public {
	r.t.Helper()
	h, ok := r.c.Inventory().HostNamed(name)
	if !ok {
		r.t.Fatalf("no host %s", name)
	}
	for _, k := range h.Keys {
		if k.Generation == g {
			return k.Public
		}
	}
	r.t.Fatalf("%s has no key of generation %d", name, g)
	return key.Public{}
}

// silence makes a host never answer.
func (r *rig) silence(name string) {
	k := r.key(name, 1)
	r.kernel.set(func() { r.kernel.silent[k] = true })
}

// restart stops the agent, does something to its files, and starts it again.
func (r *rig) restart(between ...func()) {
	r.t.Helper()
	r.stop()
	for _, f := range between {
		f()
	}
	r.start()
}

// damage writes over the middle of a file in the data directory.
func (r *rig) damage(name string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	raw, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := errors.Join(os.Remove(path), os.WriteFile(path, raw, 0o600)); err != nil {
		r.t.Fatal(err)
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
	arrives    int // the largest packet; 0: all
	mute       bool
	asked      int
	nudges     int
	nudged     func(to netip.Addr)
	gateways
}

// lose makes it lose packets that are larger, or with mute all.
func (p *silentProber) lose(arrives int, mute bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.arrives, p.mute = arrives, mute
}

func (p *silentProber) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func (p *silentProber) Answer(own, known []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own, p.known = own, known
}

// answer says what comes of a nudge.
func (p *silentProber) answer(f func(to netip.Addr)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nudged = f
}

func (p *silentProber) nudgesOf() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nudges
}

// Nudge has the peer answer, where somebody said how.
func (p *silentProber) Nudge(to netip.Addr) {
	p.mu.Lock()
	answer := p.nudged
	p.nudges++
	p.mu.Unlock()
	if answer != nil {
		answer(to)
	}
}

func (p *silentProber) Ping(
	_ context.Context, to netip.Addr, mtu, count int, each func(wire.PingReply),
) (wire.PingSummary, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if p.mute {
		return wire.PingSummary{Address: to, Sent: count}, nil
	}
	if p.arrives != 0 {
		mtu = min(mtu, p.arrives)
	}
	each(wire.PingReply{Seq: 1, RTT: 0.001})
	return wire.PingSummary{Address: to, Sent: count, Received: 1, PathMTU: mtu}, nil
}

type noDoctor struct{}

func (noDoctor) Examine(context.Context, wire.Status, peers.Plan, peers.State, time.Duration) []wire.Finding {
	return []wire.Finding{{Check: "nothing", Result: "ok"}}
}

// freePort finds two ports in a row that nobody has.
func freePort(t *testing.T) uint16 {
	t.Helper()
	for port := uint16(51820); port < 52820; port += 2 {
		free := 0
		for slot := range uint16(2) {
			conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: int(port + slot)})
			if err != nil {
				continue
			}
			free++
			_ = conn.Close()
		}
		if free == 2 {
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}
