package agent_test

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// update is how golden files are written anew: go test -update.
func update() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files anew")
	os.Exit(m.Run())
}

// TestStatusGolden has the JSON of every state that a host can be in, as `warren status -o json` shows it.
func TestStatusGolden(t *testing.T) {
	cases := map[string]func(r *rig){
		"unenrolled": func(r *rig) { r.start() },
		"ok": func(r *rig) {
			r.member()
			r.eventually("all is well", 10*time.Second, func() bool { return r.status().State == wire.StateOK })
		},
		"connecting": func(r *rig) {
			r.silence("warehouse")
			r.member()
		},
		"peer-down": func(r *rig) {
			r.silence("warehouse")
			r.member()
			time.Sleep(time.Minute)
		},
		"controller-gone": func(r *rig) {
			r.member()
			r.eventually("all is well", 10*time.Second, func() bool { return r.status().State == wire.StateOK })
			r.c.Down(true)
			time.Sleep(time.Minute)
		},
		"bare": func(r *rig) {
			r.kernel.SetIPv6(false)
			r.kernel.WithoutRules("this kernel has no nf_tables")
			r.member()
			r.eventually("all is well", 10*time.Second, func() bool { return r.status().State == wire.StateOK })
		},
		"pending": func(r *rig) {
			r.start()
			token := r.c.Token(func(op *peers.CreateToken) { op.Approve = true })
			if _, err := r.enroll(token.Encode(), func(o *wire.LocalEnroll) { o.Timeout = 1 }); err != nil {
				r.t.Fatal(err)
			}
		},
		"revoked": func(r *rig) {
			r.member()
			r.c.Apply(peers.SetHostState{ID: r.status().ID, State: peers.HostRevoked})
			time.Sleep(time.Second)
		},
		"no-plan-and-no-controller": func(r *rig) {
			r.member()
			r.c.Down(true)
			r.restart(func() {
				r.damage("plan")
				r.kernel = newLivelyKernel()
			})
			time.Sleep(time.Second)
		},
		"unfinished-enrolment": func(r *rig) {
			r.start()
			r.c.Refuse(wire.PathEnroll, wire.NewFault(http.StatusServiceUnavailable, "busy", "busy", ""))
			_, err := r.enroll(r.c.Token().Encode(), func(o *wire.LocalEnroll) { o.Timeout = 1 })
			if err == nil {
				r.t.Fatal("enrolled")
			}
		},
	}
	for name, prepare := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.c.AddHost("warehouse", "198.51.100.2:51820")
				prepare(r)
				synctest.Wait()
				golden(t, name, r.status())
			})
		})
	}
}

// golden compares the JSON of a value, in which keys and ids are made stable.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range []string{"interfaces", "peers", "problems", "allowed_ips"} {
		if strings.Contains(string(raw), `"`+list+`": null`) {
			t.Errorf("%s is null", list)
		}
	}
	text := regexp.MustCompile(`"[A-Za-z0-9+/]{43}="`).ReplaceAllString(string(raw), `"PUBLIC KEY"`)
	text = regexp.MustCompile(`"[a-z2-7]{16}"`).ReplaceAllString(text, `"HOST ID"`)
	text = regexp.MustCompile(`/[^ "]*/(plan|membership)`).ReplaceAllString(text, `DIR/$1`)
	text += "\n"
	path := filepath.Join("testdata", "status", name+".json")
	if update() {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with -update", err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("is another one:\n%s", diff)
	}
}

func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.c.AddHost("warehouse", "198.51.100.2:51820")
		r.start()
		ping := func(host string) (string, *wire.PingSummary) {
			var sum *wire.PingSummary
			err := r.agent.Ping(t.Context(), host, 1, func(p wire.PingReply) { sum = p.Summary })
			if f, ok := err.(*wire.Fault); ok {
				return f.Code, nil
			}
			return "", sum
		}
		if code, _ := ping("warehouse"); code != "unenrolled" {
			t.Errorf("before enrolment: %q", code)
		}
		if _, err := r.enroll(r.c.Token().Encode()); err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"warehouse", "10.90.0.1", "fd42:1:2::1"} {
			code, sum := ping(host)
			if code != "" || sum.Host != "warehouse" || sum.Interface != "wrn1" || sum.Generation != 1 || sum.PathMTU != 1420 {
				t.Errorf("%s: %q, %+v", host, code, sum)
			}
		}
		for _, host := range []string{"nobody", "shop1", "10.90.0.9"} {
			if code, _ := ping(host); code != "host-unknown" {
				t.Errorf("%s: %q", host, code)
			}
		}
		if found, err := r.agent.Doctor(t.Context()); err != nil || len(found) != 1 {
			t.Errorf("doctor: %v, %v", found, err)
		}
		r.stop()
		if _, err := r.agent.Status(t.Context()); err == nil {
			t.Error("an agent that has ended answers")
		}
	})
}
