package peers_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// A roaming is a host whose one peer is to be found.
type roaming struct {
	t        *testing.T
	k        *kernel
	p        peers.Plan
	attempts map[peers.AttemptKey]peers.Attempt
	now      time.Time
}

func newRoaming(t *testing.T, endpoints ...peers.Endpoint) *roaming {
	t.Helper()
	inv := after(t, &peers.Inventory{}, createMesh(), createToken("t", "shop"), enroll("t", "shop"), enroll("t", "warehouse"),
		peers.UpdateHost{ID: idOf("warehouse"), Endpoints: endpoints})
	p := planOf(t, inv, "shop")
	return &roaming{t: t, p: p, k: applied(t, p), now: epoch}
}

func (r *roaming) peer() *peers.LinkPeer {
	return r.k.links["wrn1"].peers[privateOf("warehouse", 1).Public()]
}

// after lets time pass in steps of a second and gives the endpoints that were written, with the second.
func (r *roaming) after(d time.Duration) (written []string) {
	r.t.Helper()
	for range int(d / time.Second) {
		r.now = r.now.Add(time.Second)
		var steps []peers.Step
		steps, r.attempts = peers.Roam(r.k.state(), r.p, r.attempts, r.now)
		for _, s := range steps {
			set, ok := s.(peers.SetPeer)
			if !ok || set.New || set.PSK != nil || len(set.Allowed) > 0 {
				r.t.Fatalf("a step that is none of Roam's: %v", s)
			}
			if err := r.k.apply(s); err != nil {
				r.t.Fatal(err)
			}
			what := "keepalive"
			if set.Endpoint.IsValid() {
				what = set.Endpoint.Addr().String()
			}
			written = append(written, r.now.Sub(epoch).String()+" "+what)
		}
	}
	return written
}

func (r *roaming) expect(d time.Duration, want ...string) {
	r.t.Helper()
	if got := r.after(d); !slices.Equal(got, want) {
		r.t.Errorf("written %q, want %q", got, want)
	}
}

var three = []peers.Endpoint{
	observed("198.51.100.1:51820"), observed("198.51.100.2:51820"), observed("[2001:db8::3]:51820"),
}

// TestRoamCycles: each candidate gets its time, and after three rounds more of it.
func TestRoamCycles(t *testing.T) {
	r := newRoaming(t, three...)
	r.expect(60*time.Second,
		"7s 198.51.100.2", "13s 2001:db8::3", "19s 198.51.100.1", "25s 198.51.100.2", "31s 2001:db8::3",
		"37s 198.51.100.1", "43s 198.51.100.2", "49s 2001:db8::3", "55s 198.51.100.1")
	r.expect(60*time.Second, "1m25s 198.51.100.2", "1m55s 2001:db8::3")
}

// TestRoamAnswers: a peer that answers is never written, wherever it is; when it ceases to, the search
// begins anew and fast.
func TestRoamAnswers(t *testing.T) {
	r := newRoaming(t, three...)
	r.expect(10*time.Second, "7s 198.51.100.2")
	r.peer().LastHandshake = r.now
	r.peer().Endpoint = netip.MustParseAddrPort("192.0.2.9:9") // it has moved
	r.expect(149 * time.Second)
	if len(r.attempts) > 0 {
		t.Errorf("attempts are remembered: %v", r.attempts)
	}
	r.expect(10*time.Second, "2m46s 198.51.100.2")
}

// TestRoamFamily: without IPv6 its candidates are not tried.
func TestRoamFamily(t *testing.T) {
	r := newRoaming(t, three...)
	r.k.ipv6 = false
	r.expect(20*time.Second, "7s 198.51.100.2", "13s 198.51.100.1", "19s 198.51.100.2")
}

// TestRoamAlone: there is one candidate, which the kernel has; a keepalive is all that may help.
func TestRoamAlone(t *testing.T) {
	r := newRoaming(t, three[0])
	r.expect(300*time.Second, "7s keepalive")
	r = newRoaming(t)
	r.expect(300*time.Second, "7s keepalive")
}

// TestRoamTried: the candidate that is being tried is not tried again.
func TestRoamTried(t *testing.T) {
	r := newRoaming(t, three...)
	r.peer().Endpoint = three[1].At(1)
	r.expect(8*time.Second, "7s 2001:db8::3")
}

// TestRoamClock: the clock went back by a day. A handshake in the future is believed for a while only.
func TestRoamClock(t *testing.T) {
	r := newRoaming(t, three...)
	r.peer().LastHandshake = epoch.Add(24 * time.Hour)
	if !r.peer().Answers(epoch) {
		t.Error("a handshake in the future counts for nothing")
	}
	r.expect(150 * time.Second)
	r.expect(10*time.Second, "2m31s 198.51.100.2", "2m37s 2001:db8::3")
	r = newRoaming(t, three...)
	r.expect(5 * time.Second)
	r.now = epoch.Add(-24 * time.Hour)
	r.expect(7*time.Second, "-23h59m53s 198.51.100.2")
}

// TestRoamSkips: peers and interfaces that are not there yet are Diff's business.
func TestRoamSkips(t *testing.T) {
	r := newRoaming(t, three...)
	for name, s := range map[string]peers.State{"no link": {}, "no peer": {Links: []peers.Link{{Name: "wrn1"}}}} {
		if steps, attempts := peers.Roam(s, r.p, nil, epoch.Add(time.Hour)); len(steps)+len(attempts) > 0 {
			t.Errorf("%s: %v %v", name, steps, attempts)
		}
	}
}
