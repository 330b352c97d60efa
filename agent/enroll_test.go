package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/agent"
	"github.com/warren-mesh/warren/agent/control/controltest"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

func steps(told []wire.Progress) string {
	var out []string
	for _, p := range told {
		if len(out) == 0 || out[len(out)-1] != p.Step {
			out = append(out, p.Step)
		}
	}
	return strings.Join(out, " ")
}

func TestEnroll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.c.AddHost("warehouse", "198.51.100.2:51820")
		r.c.AddHost("accounting", "198.51.100.3:51820")
		r.start()
		began := time.Now()
		told, err := r.enroll(r.c.Token().Encode())
		if err != nil {
			t.Fatalf("%v\n%s", err, r.log)
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("took %v of waiting, want hardly any", took)
		}
		if got, want := steps(told), "token controller keys enrolled plan peers"; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
		last := told[len(told)-1]
		if !last.Done || last.Message != "2 of 2 peers answer" || last.Status == nil || last.Status.State != wire.StateOK {
			t.Errorf("the last word is %+v, status %+v", last, last.Status)
		}
		s := r.status()
		if s.Host != "shop1" || s.Mesh != "orders" || s.State != wire.StateOK || len(s.Peers) != 2 || !s.Controller.Connected {
			t.Errorf("status %+v", s)
		}
		if used := r.c.Inventory().Hosts[s.ID]; used == nil || len(used.Endpoints) != 1 ||
			used.Endpoints[0].Address != netip.AddrPortFrom(netip.MustParseAddr("192.0.2.10"), r.port) {
			t.Errorf("the controller has %+v", used)
		}
		if left, err := os.ReadDir(r.dir); err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return e.Name() == "enrolment" }) {
			t.Errorf("the token is still on disk: %v, %v", left, err)
		}
	})
}

// TestEnrollNamesTheSilent: one peer answers, one does not, and nobody waits for it for ever.
func TestEnrollNamesTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.c.AddHost("warehouse", "198.51.100.2:51820")
		r.c.AddHost("accounting", "198.51.100.3:51820")
		r.silence("accounting")
		r.start()
		began := time.Now()
		told, err := r.enroll(r.c.Token().Encode())
		if err != nil {
			t.Fatal(err)
		}
		last := told[len(told)-1]
		if took := time.Since(began); took < 6*time.Second || took > 10*time.Second {
			t.Errorf("gave up after %v, want when its one candidate was tried", took)
		}
		if last.Message != "1 of 2 peers answer; not yet: accounting" || last.Status.State != wire.StateDegraded {
			t.Errorf("the last word is %q, state %s", last.Message, last.Status.State)
		}
	})
}

func TestApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		token := r.c.Token(func(op *peers.CreateToken) { op.Approve = true })
		told, err := r.enroll(token.Encode(), func(o *wire.LocalEnroll) { o.Timeout = 30 })
		if err != nil {
			t.Fatal(err)
		}
		last := told[len(told)-1]
		if last.Step != "approval" || !last.Done || !strings.Contains(last.Message, "warren host approve shop1") {
			t.Errorf("the last word is %+v", last)
		}
		if s := r.status(); s.State != wire.StateDown || codes(s) != "approval-pending" {
			t.Errorf("state %s, problems %s", s.State, codes(s))
		}
		if n := r.kernel.Steps(); n != 0 {
			t.Errorf("%d steps before approval", n)
		}
		r.c.Apply(peers.SetHostState{ID: r.status().ID, State: peers.HostActive})
		r.eventually("the plan", time.Second, func() bool { return r.status().State == wire.StateOK })
	})
}

// badEnrolments are the ways in which it cannot work, with what must be said.
func badEnrolments() map[string]struct {
	code    string
	prepare func(r *rig) (token string, edit func(*wire.LocalEnroll))
} {
	type prepared = func(r *rig) (string, func(*wire.LocalEnroll))
	before := func(f func(r *rig)) prepared {
		return func(r *rig) (string, func(*wire.LocalEnroll)) {
			f(r)
			t := r.c.Token()
			return t.Encode(), nil
		}
	}
	return map[string]struct {
		code    string
		prepare func(r *rig) (string, func(*wire.LocalEnroll))
	}{
		"no token": {"token-malformed", func(*rig) (string, func(*wire.LocalEnroll)) { return "hello", nil }},
		"mangled token": {"token-malformed", func(r *rig) (string, func(*wire.LocalEnroll)) {
			t := r.c.Token()
			s := []byte(t.Encode())
			s[30] ^= 1
			return string(s), nil
		}},
		"expired": {"token-expired", func(r *rig) (string, func(*wire.LocalEnroll)) {
			t := r.c.Token(func(op *peers.CreateToken) { op.Expires = time.Now().Add(time.Minute) })
			time.Sleep(2 * time.Minute)
			return t.Encode(), nil
		}},
		"used up": {"token-used-up", func(r *rig) (string, func(*wire.LocalEnroll)) {
			t := r.c.Token()
			other := newRig(r.t)
			other.c = r.c
			other.edit = func(c *agent.Config) { c.Hostname = "other" }
			other.start()
			if _, err := other.enroll(t.Encode()); err != nil {
				r.t.Fatal(err)
			}
			other.stop()
			return t.Encode(), nil
		}},
		"unknown": {"token-unknown", func(r *rig) (string, func(*wire.LocalEnroll)) {
			t := r.c.Token()
			t.ID = "elsewhere"
			return t.Encode(), nil
		}},
		"wrong secret": {"token-unknown", func(r *rig) (string, func(*wire.LocalEnroll)) {
			t := r.c.Token()
			t.Secret[0] ^= 1
			return t.Encode(), nil
		}},
		"for another name": {"token-name", func(r *rig) (string, func(*wire.LocalEnroll)) {
			t := r.c.Token(func(op *peers.CreateToken) { op.Name = "warehouse" })
			return t.Encode(), func(o *wire.LocalEnroll) { o.Name = "shop" }
		}},
		"name taken": {"name-taken", before(func(r *rig) { r.c.AddHost("shop1", "198.51.100.2:51820") })},
		"of another controller": {"controller-mismatch", func(r *rig) (string, func(*wire.LocalEnroll)) {
			t := controltest.Start(r.t).Token()
			return t.Encode(), nil
		}},
		"controller down":   {"controller-unreachable", before(func(r *rig) { r.c.Down(true) })},
		"controller silent": {"controller-unreachable", before(func(r *rig) { r.c.Blackhole(true) })},
		"protocol too new": {"protocol", before(func(r *rig) {
			r.c.Refuse(wire.PathEnrollCheck, wire.NewFault(http.StatusBadRequest, "protocol", "too new", "upgrade the controller first"))
		})},
		"overlay on the host": {"route-conflict", before(func(r *rig) {
			r.kernel.SetForeign(peers.Foreign{Prefix: netip.MustParsePrefix("10.90.7.0/24"), Link: "eth1"})
		})},
		"overlay6 on the host": {"route-conflict", before(func(r *rig) {
			r.kernel.SetForeign(peers.Foreign{Prefix: netip.MustParsePrefix("fd42:1::/32"), Link: "eth1"})
		})},
		"port taken":           {"port-taken", before(func(r *rig) { occupy(r, 0) })},
		"port of slot 1 taken": {"port-taken", before(func(r *rig) { occupy(r, 1) })},
		"no backend": {"backend", before(func(r *rig) {
			r.kernel.set(func() { r.kernel.fail = errors.New("there is no /dev/net/tun") })
		})},
		"disk refuses the enrolment": {"disk", before(func(r *rig) { block(r, "enrolment.tmp") })},
		"disk refuses the identity":  {"disk", before(func(r *rig) { block(r, "identity.tmp") })},
		"already enrolled": {"already-enrolled", before(func(r *rig) {
			t := r.c.Token()
			if _, err := r.enroll(t.Encode()); err != nil {
				r.t.Fatal(err)
			}
			r.kernel.taken()
		})},
		"identity damaged": {"identity-damaged", before(func(r *rig) {
			if err := os.WriteFile(filepath.Join(r.dir, "identity"), []byte("?"), 0o600); err != nil {
				r.t.Fatal(err)
			}
		})},
		"identity damaged before the start": {"identity-damaged", before(func(r *rig) {
			r.restart(func() {
				if err := os.WriteFile(filepath.Join(r.dir, "identity"), nil, 0o600); err != nil {
					r.t.Fatal(err)
				}
			})
		})},
	}
}

// occupy takes one of the agent's ports.
func occupy(r *rig, slot uint16) {
	r.t.Helper()
	var config net.ListenConfig
	conn, err := config.ListenPacket(context.Background(), "udp4", fmt.Sprintf("127.0.0.1:%d", r.port+slot))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
}

// block makes a write fail.
func block(r *rig, name string) {
	r.t.Helper()
	if err := os.Mkdir(filepath.Join(r.dir, name), 0o700); err != nil {
		r.t.Fatal(err)
	}
}

// TestBadEnrolments: a clear error with a hint, nothing done to the host, no use of the token.
func TestBadEnrolments(t *testing.T) {
	for name, c := range badEnrolments() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.start()
				token, edit := c.prepare(r)
				before := r.c.Inventory()
				if edit == nil {
					edit = func(*wire.LocalEnroll) {}
				}
				_, err := r.enroll(token, edit)
				var f *wire.Fault
				if !errors.As(err, &f) || f.Code != c.code || f.Detail == "" || f.Hint == "" {
					t.Fatalf("got %+v, want %s with a hint", err, c.code)
				}
				t.Logf("%s | %s", f.Detail, f.Hint)
				if got := r.kernel.taken(); len(got) > 0 {
					t.Errorf("the host was changed: %q", got)
				}
				r.c.Down(false)
				r.c.Blackhole(false)
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				if r.c.Inventory() != before {
					t.Error("the mesh was changed")
				}
			})
		})
	}
}

// TestLostReply: the controller has admitted the host, and the host does not know.
func TestLostReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		token := r.c.Token()
		r.c.LoseReplies(wire.PathEnroll, 3)
		if _, err := r.enroll(token.Encode()); err != nil {
			t.Fatal(err)
		}
		if told, err := r.enroll(token.Encode()); err != nil || !told[len(told)-1].Done {
			t.Errorf("asked again: %v, %+v", err, told)
		}
		inv := r.c.Inventory()
		if len(inv.Hosts) != 1 || inv.Tokens[token.ID].Used != 1 {
			t.Errorf("%d hosts, token used %d times", len(inv.Hosts), inv.Tokens[token.ID].Used)
		}
	})
}

// TestCrashInTheMiddle: the agent ends between request and reply; the next one knows what to do.
func TestCrashInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		token := r.c.Token()
		r.c.LoseReplies(wire.PathEnroll, 1000)
		_, err := r.enroll(token.Encode(), func(o *wire.LocalEnroll) { o.Timeout = 5 })
		var f *wire.Fault
		if !errors.As(err, &f) || f.Code != "controller-unreachable" {
			t.Fatalf("got %+v", err)
		}
		r.restart()
		if s := r.status(); s.State != wire.StateUnenrolled || codes(s) != "enrolment-unfinished" {
			t.Errorf("state %s, problems %s", s.State, codes(s))
		}
		r.c.LoseReplies(wire.PathEnroll, 0)
		r.eventually("the enrolment is finished", 2*time.Minute, func() bool { return r.status().State == wire.StateOK })
		inv := r.c.Inventory()
		if len(inv.Hosts) != 1 || inv.Tokens[token.ID].Used != 1 {
			t.Errorf("%d hosts, token used %d times", len(inv.Hosts), inv.Tokens[token.ID].Used)
		}
	})
}

// TestReasonOutlivesTheTime: what the controller said is told, not that the last attempt was cut short.
func TestReasonOutlivesTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		r.c.Refuse(wire.PathEnroll, wire.NewFault(507, "disk-full", "no room", "make room"))
		time.AfterFunc(2*time.Second, func() { r.c.Blackhole(true) })
		_, err := r.enroll(r.c.Token().Encode(), func(o *wire.LocalEnroll) { o.Timeout = 4 })
		var f *wire.Fault
		if !errors.As(err, &f) || f.Code != "disk-full" {
			t.Errorf("got %v", err)
		}
	})
}

// TestAnotherTokenAfterLostReply: somebody loses patience and takes another token; the host is a member
// already, and the second token stays unused.
func TestAnotherTokenAfterLostReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		r.c.LoseReplies(wire.PathEnroll, 1000)
		if _, err := r.enroll(r.c.Token().Encode(), func(o *wire.LocalEnroll) { o.Timeout = 5 }); err == nil {
			t.Fatal("enrolled without an answer")
		}
		r.c.LoseReplies(wire.PathEnroll, 0)
		second := r.c.Token()
		_, err := r.enroll(second.Encode())
		var f *wire.Fault
		if err != nil && (!errors.As(err, &f) || f.Code != "already-enrolled") { // the agent itself may have been faster
			t.Fatal(err)
		}
		r.eventually("it is a member", time.Minute, func() bool { return r.status().State == wire.StateOK })
		if inv := r.c.Inventory(); len(inv.Hosts) != 1 || inv.Tokens[second.ID].Used != 0 {
			t.Errorf("%d hosts, second token used %d times", len(inv.Hosts), inv.Tokens[second.ID].Used)
		}
	})
}

// TestRefusedWhileAway: the token was revoked before the answer could come. The agent stops asking and says so.
func TestRefusedWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		token := r.c.Token()
		r.c.Refuse(wire.PathEnroll, wire.NewFault(http.StatusServiceUnavailable, "busy", "busy", ""))
		if _, err := r.enroll(token.Encode(), func(o *wire.LocalEnroll) { o.Timeout = 5 }); err == nil {
			t.Fatal("enrolled without an answer")
		}
		r.c.Apply(peers.RevokeToken{ID: token.ID})
		r.c.Refuse(wire.PathEnroll, nil)
		r.eventually("the refusal", 2*time.Minute, func() bool { return codes(r.status()) == "token-revoked" })
		dials := r.c.Dials()
		time.Sleep(time.Hour)
		if n := r.c.Dials() - dials; n > 0 {
			t.Errorf("asked %d more times", n)
		}
		if _, err := r.enroll(r.c.Token().Encode()); err != nil {
			t.Errorf("with a good token: %v", err)
		}
	})
}

// TestWrongClock: a host whose clock is a day off is told and gets in.
func TestWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.c.Ahead(24 * time.Hour)
		r.start()
		told, err := r.enroll(r.c.Token().Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(told, func(p wire.Progress) bool { return strings.Contains(p.Message, "24h0m0s behind") }) {
			t.Errorf("not told: %+v", told)
		}
	})
}

// TestHangUp: whoever has begun the enrolment goes away; the agent goes on.
func TestHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		token := r.c.Token()
		ctx, cancel := context.WithCancel(t.Context())
		err := r.agent.Enroll(ctx, wire.LocalEnroll{Token: token.Encode()}, func(p wire.Progress) {
			if p.Step == "keys" {
				cancel()
			}
		})
		if err == nil {
			t.Error("told of success to nobody")
		}
		r.eventually("it is a member", time.Minute, func() bool { return r.status().State == wire.StateOK })
	})
}

func TestOnlyOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		r.c.Blackhole(true)
		first := make(chan error, 1)
		go func() {
			_, err := r.enroll(r.c.Token().Encode())
			first <- err
		}()
		synctest.Wait()
		_, err := r.enroll(r.c.Token().Encode(), func(o *wire.LocalEnroll) { o.Timeout = 2 })
		var f *wire.Fault
		if !errors.As(err, &f) || f.Code != "enrolment-running" {
			t.Errorf("got %v", err)
		}
		<-first
	})
}
