package control_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/agent/control"
	"github.com/warren-mesh/warren/agent/control/controltest"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// A rig is one follower of one controller.
type rig struct {
	t     *testing.T
	c     *controltest.Controller
	who   key.IdentityKey
	id    peers.HostID
	f     *control.Follower
	log   *lockedBuffer
	hello wire.Hello
	stop  func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Split(strings.TrimSpace(b.b.String()), "\n")
}

// newRig enrols a host and follows the controller in its name.
func newRig(t *testing.T, edit ...func(*control.Following)) *rig {
	t.Helper()
	r := &rig{t: t, c: controltest.Start(t), log: &lockedBuffer{}}
	var err error
	if r.who, err = key.NewIdentityKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	r.id = peers.HostID(r.who.Identity().Fingerprint())
	private, err := key.NewPrivate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	token := r.c.Token()
	r.hello = wire.Hello{
		Protocol: wire.Protocol, Session: "s1", Port: 51820, Endpoints: []peers.Endpoint{},
		Keys: []peers.HostKey{peers.SignKey("meshid", r.who, 1, private.Public())},
	}
	request := wire.EnrollRequest{
		Protocol: wire.Protocol, TokenID: token.ID, Secret: token.Secret[:], Name: "shop", Port: 51820, Keys: r.hello.Keys,
	}
	if _, _, err := r.client("c:7443").Enroll(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	f := control.Following{
		Client: r.client("c:7443"), Self: r.id, Mesh: "meshid", Hello: r.hello,
		Log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	for _, e := range edit {
		e(&f)
	}
	r.f = control.NewFollower(f)
	r.run()
	return r
}

func (r *rig) client(addresses ...string) *control.Client {
	r.t.Helper()
	c, err := control.NewClient(r.who, r.c.Pin(), addresses, r.c.Dial)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.f.Run(ctx)
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	r.t.Cleanup(r.stop)
}

// eventually waits in simulated time.
func (r *rig) eventually(what string, within time.Duration, is func(v control.View) bool) {
	r.t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		synctest.Wait()
		if is(r.f.View()) {
			return
		}
		if !time.Now().Before(end) {
			r.t.Fatalf("not within %v: %s; view %+v\n%s", within, what, r.f.View(), strings.Join(r.log.lines(), "\n"))
		}
	}
}

func (r *rig) follows() {
	r.t.Helper()
	r.eventually("follows", time.Minute, func(v control.View) bool { return v.Connected && v.Held != nil })
}

func (r *rig) hellos() (out []*wire.Hello) {
	for _, up := range r.c.Heard() {
		if up.Hello != nil {
			out = append(out, up.Hello)
		}
	}
	return out
}

func (r *rig) reports() (out []*wire.Report) {
	for _, up := range r.c.Heard() {
		if up.Report != nil {
			out = append(out, up.Report)
		}
	}
	return out
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.follows()
		id := r.c.AddHost("warehouse", "198.51.100.2:51820")
		r.eventually("the new host", 0, func(v control.View) bool { return len(v.Held.Plan.Peers) == 1 })
		v := r.f.View()
		if psk := v.Held.Plan.PSKs[1][id]; psk.IsZero() {
			t.Error("no pre-shared key for it")
		}
		if v.Held.Plan.Revision != r.c.Inventory().Revision || v.Held.Head != r.c.Inventory().Head {
			t.Errorf("revision %d, head %v", v.Held.Plan.Revision, v.Held.Head)
		}
		r.c.Apply(peers.SetHostState{ID: id, State: peers.HostRevoked})
		r.eventually("it is gone", 0, func(v control.View) bool { return len(v.Held.Plan.Peers) == 0 })
	})
}

func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.c.AddHost("warehouse", "198.51.100.2:51820")
		r.eventually("the other host", time.Second, func(v control.View) bool {
			return v.Held != nil && len(v.Held.Plan.Peers) == 1
		})
		held := r.f.View().Held
		time.Sleep(time.Minute)
		r.c.Down(true)
		r.eventually("loss is noticed", time.Second, func(v control.View) bool { return !v.Connected })
		r.c.Down(false)
		r.eventually("a first retry comes soon", 2*time.Second, func(v control.View) bool { return v.Connected })
		hello := r.hellos()[1]
		if hello.Revision != held.Plan.Revision || hello.Head != held.Head || hello.Session != "s1" {
			t.Errorf("resumed with revision %d, session %q; want %d, s1", hello.Revision, hello.Session, held.Plan.Revision)
		}
		if got := r.f.View().Held; len(got.Plan.Peers) != 1 {
			t.Error("the plan was lost on the way")
		}
	})
}

// TestDeadPathIsNoticed: nobody says anything any more, not even a RST.
func TestDeadPathIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.follows()
		time.Sleep(5 * time.Minute)
		if !r.f.View().Connected {
			t.Fatal("a quiet stream was given up")
		}
		began := time.Now()
		r.c.Blackhole(true)
		r.eventually("the dead path", 40*time.Second, func(v control.View) bool { return !v.Connected })
		t.Logf("noticed after %v", time.Since(began))
		r.c.Blackhole(false)
		r.c.Down(true) // what was sent into the hole left both ends out of step
		r.c.Down(false)
		r.eventually("it comes back", time.Minute, func(v control.View) bool { return v.Connected })
	})
}

// TestAnHourWithoutController: little is tried, next to nothing logged, nothing piles up.
func TestAnHourWithoutController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.follows()
		time.Sleep(time.Minute)
		held := r.f.View().Held
		r.c.Down(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		dials, goroutines := r.c.Dials(), runtime.NumGoroutine()
		none := []peers.Problem{}
		for i := range 3600 {
			time.Sleep(time.Second)
			r.f.Tell(r.hello, wire.Report{Revision: peers.Revision(i), Problems: &none})
		}
		synctest.Wait()
		if n := r.c.Dials() - dials; n < 100 || n > 600 {
			t.Errorf("%d attempts in an hour", n)
		}
		if n := runtime.NumGoroutine(); n > goroutines+2 {
			t.Errorf("%d goroutines, %d an hour before", n, goroutines)
		}
		if lines := r.log.lines(); len(lines) > 3 {
			t.Errorf("%d log lines:\n%s", len(lines), strings.Join(lines, "\n"))
		}
		if r.f.View().Held != held {
			t.Error("the plan has changed")
		}
		r.c.Down(false)
		r.eventually("it comes back", 31*time.Second, func(v control.View) bool { return v.Connected })
		r.eventually("it reports", 11*time.Second, func(control.View) bool { return len(r.reports()) > 0 })
		if got := r.reports(); got[len(got)-1].Revision != 3599 {
			t.Errorf("reports revision %d, want the last", got[len(got)-1].Revision)
		}
	})
}

func TestRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.follows()
		held := r.f.View().Held
		r.c.Apply(peers.SetHostState{ID: r.id, State: peers.HostSuspended})
		r.eventually("the goodbye", 0, func(v control.View) bool { return v.Refused() })
		dials := r.c.Dials()
		time.Sleep(10 * time.Minute)
		if n := r.c.Dials() - dials; n < 9 || n > 21 {
			t.Errorf("%d attempts in ten minutes, want one or two a minute", n)
		}
		v := r.f.View()
		if v.Held != held || !v.Refused() || v.Fault.Code != "host-revoked" {
			t.Errorf("view %+v", v)
		}
		r.c.Apply(peers.SetHostState{ID: r.id, State: peers.HostActive})
		r.eventually("resumed", time.Minute, func(v control.View) bool { return v.Connected && !v.Refused() })
	})
}

// TestGoodbyeTwice: the second one comes too late to matter.
func TestGoodbyeTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.follows()
		bye := wire.Down{Kind: wire.DownGoodbye, Fault: wire.NewFault(http.StatusServiceUnavailable, "stopping", "the controller stops", "")}
		bye.Fault.RetryAfter = 20
		r.c.Say(bye)
		r.c.Say(bye)
		r.eventually("the goodbye", time.Second, func(v control.View) bool { return !v.Connected })
		began := time.Now()
		r.eventually("the second one", 2*time.Minute, func(control.View) bool { return len(r.hellos()) > 1 })
		if waited := time.Since(began); waited < 19*time.Second || waited > 41*time.Second {
			t.Errorf("came back after %v, want 20 s and up to as much again", waited)
		}
		r.eventually("it comes back for good", 2*time.Minute, func(v control.View) bool { return v.Connected })
	})
}

func TestPong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.follows()
		r.c.Say(wire.Down{Kind: wire.DownPing})
		synctest.Wait()
		heard := r.c.Heard()
		if last := heard[len(heard)-1]; last.Kind != wire.UpPong {
			t.Errorf("answered with %q", last.Kind)
		}
	})
}

// TestNonsenseStartsOver: a message that does not fit is not applied, and the next stream begins anew.
func TestNonsenseStartsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.follows()
		held := r.f.View().Held
		r.c.Say(wire.Down{Kind: wire.DownDelta, Revision: 1})
		synctest.Wait()
		v := r.f.View()
		if v.Held != held || v.Connected || v.Fault.Code != control.CodeStream {
			t.Errorf("view %+v, fault %+v", v, v.Fault)
		}
		r.eventually("it comes back", time.Minute, func(v control.View) bool { return v.Connected && v.Held != held })
		if hello := r.hellos()[1]; hello.Revision != 0 {
			t.Errorf("it said that it has revision %d", hello.Revision)
		}
	})
}

func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.follows()
		none := []peers.Problem{}
		full := wire.Report{Revision: 4, Problems: &none, Generation: 1, Backend: "kernel", Keys: r.hello.Keys}
		r.f.Tell(r.hello, full)
		r.eventually("the first report", 11*time.Second, func(control.View) bool { return len(r.reports()) == 1 })
		if got := r.reports()[0]; got.Revision != 4 || got.Backend != "kernel" || got.Problems == nil || len(got.Keys) > 0 {
			t.Errorf("the first report is %+v, want it complete, without the keys of the hello", got)
		}
		time.Sleep(time.Minute)
		full.Revision = 5
		r.f.Tell(r.hello, full)
		full.Revision = 6
		r.f.Tell(r.hello, full)
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := len(r.reports()); n != 2 {
			t.Errorf("%d reports, want two revisions in one", n)
		}
		time.Sleep(time.Minute)
		some := []peers.Problem{{Code: "route-conflict"}}
		full.Problems = &some
		r.f.Tell(r.hello, full)
		synctest.Wait()
		if n := len(r.reports()); n != 3 {
			t.Errorf("%d reports, want the problem at once", n)
		}
	})
}

// TestNewEndpointsAreToldAtOnce: a host that was renumbered says hello again.
func TestNewEndpointsAreToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.follows()
		time.Sleep(time.Minute)
		hello := r.hello
		hello.Endpoints = []peers.Endpoint{{Kind: peers.EndpointLocal, Address: netip.MustParseAddrPort("192.0.2.9:51820")}}
		r.f.Tell(hello, wire.Report{})
		r.eventually("a second hello", time.Second, func(control.View) bool { return len(r.hellos()) == 2 })
		r.follows()
		if got := r.hellos()[1].Endpoints; len(got) != 1 {
			t.Errorf("endpoints %v", got)
		}
		for _, line := range r.log.lines() {
			if strings.Contains(line, "no connection") {
				t.Errorf("logged as a loss: %s", line)
			}
		}
	})
}

// TestAddressesInTurn: one address is dead, another is somebody else's, the third is right.
func TestAddressesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := controltest.Start(t)
		var right *controltest.Controller
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			switch {
			case strings.HasPrefix(address, "dead"):
				return nil, controltest.Refused()
			case strings.HasPrefix(address, "other"):
				return other.Dial(ctx, network, address)
			}
			return right.Dial(ctx, network, address)
		}
		r := newRig(t)
		right = r.c
		r.follows()
		r.stop()
		follow := func(addresses ...string) *control.Follower {
			client, err := control.NewClient(r.who, r.c.Pin(), addresses, dial)
			if err != nil {
				t.Fatal(err)
			}
			return control.NewFollower(control.Following{
				Client: client, Self: r.id, Mesh: "meshid", Hello: r.hello, Log: slog.New(slog.DiscardHandler),
			})
		}
		r.f = follow("dead:1", "other:1", "right:1")
		r.run()
		r.eventually("the right one", time.Second, func(v control.View) bool { return v.Connected && v.Address == "right:1" })
		r.stop()
		r.f = follow("dead:1", "other:1")
		r.run()
		r.eventually("another controller is told apart", time.Second, func(v control.View) bool {
			return v.Fault != nil && v.Fault.Code == control.CodeMismatch && strings.Contains(v.Fault.Detail, "other:1")
		})
	})
}

func TestControllersAreLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.follows()
		r.c.Say(wire.Down{Kind: wire.DownPing, Controllers: []string{"new:7443"}})
		synctest.Wait()
		if got := strings.Join(r.f.View().Controllers, " "); got != "new:7443 c:7443" {
			t.Errorf("controllers %q, want the new one first and the old one kept", got)
		}
	})
}

func TestCalls(t *testing.T) {
	check := func(c *control.Client) (*wire.Fault, control.Answer) {
		_, a, err := c.Check(context.Background(), wire.EnrollCheck{Protocol: wire.Protocol})
		f, _ := err.(*wire.Fault)
		return f, a
	}
	cases := map[string]struct {
		prepare func(*rig) *control.Client
		code    string
	}{
		"unreachable": {func(r *rig) *control.Client { r.c.Down(true); return r.client("a:1", "b:1") }, control.CodeUnreachable},
		"no answer": {func(r *rig) *control.Client {
			r.c.Blackhole(true)
			return r.client("a:1")
		}, control.CodeUnreachable},
		"another pin": {func(r *rig) *control.Client {
			c, err := control.NewClient(r.who, key.Identity{1}, []string{"a:1"}, r.c.Dial)
			if err != nil {
				r.t.Fatal(err)
			}
			return c
		}, control.CodeMismatch},
		"refused": {func(r *rig) *control.Client { return r.client("a:1") }, "token-unknown"},
		"a fault of the controller": {func(r *rig) *control.Client {
			r.c.Refuse(wire.PathEnrollCheck, wire.NewFault(503, "busy", "busy", ""))
			return r.client("a:1")
		}, "busy"},
		"no reason": {func(r *rig) *control.Client {
			r.c.Refuse(wire.PathEnrollCheck, &wire.Fault{Status: 500})
			return r.client("a:1")
		}, control.CodeStream},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.stop()
				began := time.Now()
				f, _ := check(c.prepare(r))
				if f == nil || f.Code != c.code || f.Detail == "" && c.code != "" {
					t.Errorf("fault %+v, want %s", f, c.code)
				}
				if took := time.Since(began); took > 40*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}
