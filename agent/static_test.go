package agent_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/agent"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// two makes a member with two peers that answer.
func two(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.c.AddHost("warehouse", "198.51.100.2:51820")
	r.c.AddHost("accounting", "198.51.100.3:51820")
	r.member()
	r.eventually("all is well", 10*time.Second, func() bool { return r.status().State == wire.StateOK })
	r.kernel.taken()
	return r
}

// sum is a hash over all files of the agent, but for the one that says how late it is.
func (r *rig) sum() string {
	r.t.Helper()
	h := sha256.New()
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "clock" {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(r.dir, e.Name()))
		if err != nil {
			r.t.Fatal(err)
		}
		h.Write([]byte(e.Name()))
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestFailStatic: an hour without the controller changes nothing on the host, not even in a file.
func TestFailStatic(t *testing.T) {
	for name, lose := range map[string]func(r *rig){
		"down":      func(r *rig) { r.c.Down(true) },
		"blackhole": func(r *rig) { r.c.Blackhole(true) },
		"flapping": func(r *rig) {
			for range 600 {
				r.c.Down(true)
				time.Sleep(3 * time.Second)
				r.c.Down(false)
				time.Sleep(3 * time.Second)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := two(t)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				sum, lines := r.sum(), strings.Count(r.log.String(), "\n")
				runtime.GC()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				lose(r)
				time.Sleep(time.Hour)
				synctest.Wait()
				runtime.GC()
				runtime.ReadMemStats(&after)
				if got := r.kernel.taken(); len(got) > 0 {
					t.Errorf("changed the host: %q", got)
				}
				if r.sum() != sum {
					t.Error("changed its files")
				}
				if n := strings.Count(r.log.String(), "\n") - lines; name != "flapping" && n > 3 {
					t.Errorf("%d log lines:\n%s", n, r.log)
				}
				if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 2<<20 {
					t.Errorf("the heap has grown by %d bytes", grown)
				}
				s := r.status()
				if name != "flapping" && (s.State != wire.StateDegraded || s.Controller.Connected || s.Controller.Error == "") {
					t.Errorf("state %s, controller %+v", s.State, s.Controller)
				}
				for _, p := range s.Peers {
					if p.State != wire.PeerUp {
						t.Errorf("%s is %s", p.Host, p.State)
					}
				}
			})
		})
	}
}

// TestRestart: an agent that starts again finds everything right and touches nothing.
func TestRestart(t *testing.T) {
	for _, dead := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := two(t)
			time.Sleep(2 * time.Second) // the plan is kept by now
			r.c.Down(dead)
			r.restart()
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := r.kernel.taken(); len(got) > 0 {
				t.Errorf("controller dead %v: changed the host: %q", dead, got)
			}
			want := wire.StateOK
			if dead {
				want = wire.StateDegraded
			}
			if s := r.status(); s.State != want || s.Revision == 0 {
				t.Errorf("controller dead %v: state %s, revision %d", dead, s.State, s.Revision)
			}
		})
	}
}

// TestReboot: the host has lost all its interfaces, the controller is dead, and before it is even asked
// everything is as it was.
func TestReboot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		before := r.kernel.String()
		time.Sleep(2 * time.Second)
		r.c.Down(true)
		dials := r.c.Dials()
		r.restart(func() { r.kernel = newLivelyKernel() })
		if got := r.kernel.String(); got != before && !equalButForHandshakes(got, before) {
			t.Errorf("after the reboot:\n%s\nbefore:\n%s", got, before)
		}
		if r.c.Dials() > dials+1 {
			t.Errorf("asked the controller %d times first", r.c.Dials()-dials)
		}
		r.eventually("the peers answer", 10*time.Second, func() bool {
			s := r.status()
			return s.Peers[0].State == wire.PeerUp && s.Peers[1].State == wire.PeerUp
		})
	})
}

// equalButForHandshakes compares two networks without the keepalives that follow handshakes.
func equalButForHandshakes(a, b string) bool {
	strip := func(s string) string { return strings.ReplaceAll(s, " persistent-keepalive 25", "") }
	return strip(a) == strip(b)
}

// TestOlderPlanOnDisk: the agent was killed before it could keep the last plan. What the kernel has of that
// one stays until the controller says otherwise.
func TestOlderPlanOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		time.Sleep(2 * time.Second)
		path := filepath.Join(r.dir, "plan")
		older, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		r.c.AddHost("branch", "198.51.100.4:51820")
		r.eventually("all is well", 10*time.Second, func() bool { return r.status().State == wire.StateOK })
		r.kernel.taken()
		r.c.Down(true)
		r.restart(func() {
			if err := errors.Join(os.Remove(path), os.WriteFile(path, older, 0o600)); err != nil {
				t.Fatal(err)
			}
		})
		time.Sleep(time.Hour)
		if got := r.kernel.taken(); len(got) > 0 {
			t.Errorf("changed the host: %q", got)
		}
		r.c.Down(false)
		r.eventually("all is well", time.Minute, func() bool { return r.status().State == wire.StateOK })
		if got := r.kernel.taken(); len(got) > 0 || len(r.status().Peers) != 3 {
			t.Errorf("changed the host: %q, which has %d peers", got, len(r.status().Peers))
		}
	})
}

func TestIdleTakesNoSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		for range 20 {
			r.kernel.SetForeign() // an event
			time.Sleep(31 * time.Second)
			r.status()
		}
		if got := r.kernel.taken(); len(got) > 0 {
			t.Errorf("20 idle reconciles took %q", got)
		}
	})
}

func TestWhatOthersUndoIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		before := r.kernel.String()
		r.kernel.Delete("wrn1")
		r.eventually("the interface is back", time.Second, func() bool { return r.kernel.String() == before })
		if !strings.Contains(r.log.String(), "restoring what somebody else has changed") {
			t.Errorf("nobody was told:\n%s", r.log)
		}
	})
}

// TestEventStorm: somebody changes addresses a thousand times a second.
func TestEventStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		r.kernel.set(func() { r.kernel.looks = 0 })
		for range 10_000 {
			r.kernel.SetForeign()
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		r.kernel.set(func() {
			if r.kernel.looks > 60 {
				t.Errorf("looked %d times in ten seconds", r.kernel.looks)
			}
		})
	})
}

// TestDamagedFiles: what a host needs to carry traffic is kept going with what is left.
func TestDamagedFiles(t *testing.T) {
	cases := map[string]struct {
		damage   func(r *rig)
		reboot   bool
		codes    string
		state    string
		revision bool // a plan is in force
		connects bool
		heals    bool
	}{
		"plan": {func(r *rig) { r.damage("plan") }, true, "plan-previous", wire.StateOK, true, true, true},
		"both plans": {func(r *rig) {
			r.damage("plan")
			r.damage("plan.previous")
		}, false, "plan-damaged", wire.StateOK, false, true, true},
		"identity":   {func(r *rig) { r.damage("identity") }, true, "identity-damaged", wire.StateDegraded, true, false, false},
		"membership": {func(r *rig) { r.damage("membership") }, true, "membership-damaged", wire.StateDegraded, true, false, false},
		"membership gone": {func(r *rig) {
			if err := os.Remove(filepath.Join(r.dir, "membership")); err != nil {
				r.t.Fatal(err)
			}
		}, true, "membership-damaged", wire.StateDegraded, true, false, false},
		"identity of another": {func(r *rig) {
			other, err := store.Open(r.t.TempDir())
			if err != nil {
				r.t.Fatal(err)
			}
			defer other.Close()
			if _, err := other.MakeIdentity(); err != nil {
				r.t.Fatal(err)
			}
			raw, err := os.ReadFile(filepath.Join(other.Path(), "identity"))
			if err != nil {
				r.t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(r.dir, "identity"), raw, 0o600); err != nil {
				r.t.Fatal(err)
			}
		}, true, "identity-damaged", wire.StateDegraded, true, false, false},
		"key, interface up": {func(r *rig) { r.damage("key-1") }, false, "key-damaged", wire.StateDegraded, true, true, false},
		"key after reboot":  {func(r *rig) { r.damage("key-1") }, true, "key-damaged", wire.StateDown, true, true, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := two(t)
				time.Sleep(2 * time.Second)
				r.c.AddHost("branch", "198.51.100.4:51820") // a second plan
				r.eventually("all is well", 10*time.Second, func() bool { return r.status().State == wire.StateOK })
				time.Sleep(2 * time.Second)
				identity, err := os.ReadFile(filepath.Join(r.dir, "identity"))
				if err != nil {
					t.Fatal(err)
				}
				before := r.kernel.String()
				dials := r.c.Dials()
				r.c.Down(true)
				r.restart(func() {
					c.damage(r)
					if identity, err = os.ReadFile(filepath.Join(r.dir, "identity")); err != nil {
						t.Fatal(err)
					}
					if c.reboot {
						r.kernel = newLivelyKernel()
					}
				})
				s := r.status()
				if got := codes(s); !strings.HasPrefix(got, c.codes) || (s.Revision > 0) != c.revision && c.state != wire.StateDown {
					t.Errorf("problems %q, revision %d; want %s, plan in force %v", got, s.Revision, c.codes, c.revision)
				}
				for _, p := range s.Problems {
					if p.Hint == "" {
						t.Errorf("no hint for %s", p.Code)
					}
				}
				if !c.reboot && r.kernel.String() != before {
					t.Errorf("the host was changed:\n%s", r.kernel)
				}
				r.c.Down(false)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if connected := r.c.Dials() > dials; connected != c.connects {
					t.Errorf("asked the controller: %v, want %v", connected, c.connects)
				}
				s = r.status()
				if s.State != c.state || c.heals != (codes(s) == "") {
					t.Errorf("in the end: state %s, problems %q; want %s, healed %v\n%s", s.State, codes(s), c.state, c.heals, r.log)
				}
				if now, err := os.ReadFile(filepath.Join(r.dir, "identity")); err != nil || string(now) != string(identity) {
					t.Errorf("the identity was replaced, %v", err)
				}
			})
		})
	}
}

// TestDiskFails: a plan that cannot be kept is applied all the same, shown as a problem, and kept later.
func TestDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		time.Sleep(5 * time.Second)
		block(r, "plan.tmp")
		r.c.AddHost("branch", "198.51.100.4:51820")
		r.eventually("it is applied", time.Second, func() bool { return len(r.status().Peers) == 3 })
		r.eventually("it is shown", time.Second, func() bool { return codes(r.status()) == "disk" })
		lines := strings.Count(r.log.String(), "\n")
		time.Sleep(time.Hour)
		if n := strings.Count(r.log.String(), "\n") - lines; n > 0 {
			t.Errorf("%d more log lines", n)
		}
		if err := os.Remove(filepath.Join(r.dir, "plan.tmp")); err != nil {
			t.Fatal(err)
		}
		r.eventually("it is kept", 11*time.Second, func() bool { return r.status().State == wire.StateOK })
		r.c.Down(true)
		r.restart()
		if n := len(r.status().Peers); n != 3 {
			t.Errorf("%d peers after a restart", n)
		}
	})
}

// TestRevokedHost: the others have removed it. Here nothing is touched, so that nothing leaves outside of a
// tunnel, and people are told.
func TestRevokedHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		id := r.status().ID
		r.c.Apply(peers.SetHostState{ID: id, State: peers.HostSuspended})
		r.eventually("it is told", time.Second, func() bool { return r.status().State == wire.StateDown })
		s := r.status()
		if codes(s) != "host-revoked" || s.Problems[0].Hint == "" {
			t.Errorf("problems %+v", s.Problems)
		}
		time.Sleep(time.Hour)
		if got := r.kernel.taken(); len(got) > 0 {
			t.Errorf("changed the host: %q", got)
		}
		r.c.Apply(peers.SetHostState{ID: id, State: peers.HostActive})
		r.eventually("it is back", 61*time.Second, func() bool { return r.status().State == wire.StateOK })
	})
}

// TestStopLeavesEverything: SIGTERM is no reason to touch a tunnel.
func TestStopLeavesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		before := r.kernel.String()
		r.stop()
		if got := r.kernel.String(); got != before || len(r.kernel.taken()) > 0 {
			t.Errorf("after the end:\n%s", got)
		}
	})
}

// TestControllerMoves: addresses that the controller names are kept, as soon as the disk lets them, and used after a
// restart, when the old one leads nowhere.
func TestControllerMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		gone := "" // the address at which nobody is any more
		r.edit = func(c *agent.Config) {
			dial := c.Dial
			c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == gone {
					<-ctx.Done() // as a firewall or a name server that swallows everything
					return nil, ctx.Err()
				}
				return dial(ctx, network, address)
			}
		}
		r.member()
		block(r, "membership.tmp")
		r.c.Say(wire.Down{Kind: wire.DownPing, Controllers: []string{"moved.test:7443"}})
		r.eventually("that they cannot be kept is shown", time.Second, func() bool { return codes(r.status()) == "disk" })
		if err := os.Remove(filepath.Join(r.dir, "membership.tmp")); err != nil {
			t.Fatal(err)
		}
		r.eventually("they are kept", time.Minute, func() bool { return r.status().State == wire.StateOK })
		r.stop()
		gone = "controller.test:7443"
		began := time.Now()
		r.start()
		if took := time.Since(began); took > 0 {
			t.Errorf("it was ready after %v only", took)
		}
		r.eventually("it finds the controller at the new address", 30*time.Second, func() bool {
			c := r.status().Controller
			return c.Connected && c.Address == "moved.test:7443"
		})
	})
}
