package linux

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"

	"github.com/warren-mesh/warren/peers"
)

// heldTwin is a twin that sends copies later, in both families.
func heldTwin(t *testing.T) (*twin, peers.Doubling) {
	w := newTwin(t)
	d := peers.Doubling{
		Link: "lan1", From: []netip.Prefix{netip.MustParsePrefix("10.101.0.0/24"), netip.MustParsePrefix("fd65::/64")},
		Near: netip.MustParseAddr("10.102.0.2"), Near6: netip.MustParseAddr("fd66::2"), Held: true,
	}
	w.apply(t, peers.SetDoubling{Doubling: d})
	if got := w.state(t).Doubling; got.Digest != d.Digest() {
		t.Fatalf("%+v, want %s", got, d.Digest())
	}
	return w, d
}

// volley sends numbered packets, and gives when each was sent.
func (w *twin) volley(t *testing.T, to, name string, n int) map[string]time.Time {
	t.Helper()
	var c net.Conn
	w.host.Do(func() {
		var err error
		if c, err = net.Dial("udp", to); err != nil {
			t.Fatal(err)
		}
	})
	defer c.Close()
	sent := map[string]time.Time{}
	for i := range n {
		word := fmt.Sprintf("%s %d", name, i)
		sent[word] = time.Now()
		if _, err := c.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
	}
	return sent
}

// soonest waits until all have been heard, and gives the shortest time that one took.
func (w *twin) soonest(t *testing.T, sent map[string]time.Time) time.Duration {
	t.Helper()
	least := time.Hour
	for late := time.After(10 * time.Second); len(sent) > 0; {
		select {
		case word := <-w.got:
			if at, ok := sent[word]; ok {
				least = min(least, time.Since(at))
				delete(sent, word)
			}
		case <-late:
			t.Fatalf("%d copies have not come", len(sent))
		}
	}
	return least
}

// TestCopiesWait: each copy comes, none before its time, also while other rules take the place of those that have them
// wait. Without anybody who lets them go they do not wait.
func TestCopiesWait(t *testing.T) {
	w, d := heldTwin(t)
	for _, to := range []string{"10.99.0.5:7", "[fd63::5]:7"} {
		w.sends(t, to, "first "+to, true) // neighbours know each other
		if took := w.soonest(t, w.volley(t, to, "held "+to, 40)); took < peers.HoldFor {
			t.Errorf("%s: a copy came after %v", to, took)
		}
	}
	const to = "10.99.0.5:7"
	waiting := w.volley(t, to, "before", 40)
	other := d
	other.Held = false
	w.apply(t, peers.SetDoubling{Doubling: other})
	if got := w.state(t).Doubling; got.Digest != other.Digest() {
		t.Errorf("%+v, want %s", got, other.Digest())
	}
	if took := w.soonest(t, waiting); took < peers.HoldFor {
		t.Errorf("a copy that waited came after %v", took)
	}
	w.passes(t, to, "not held")
	w.apply(t, peers.SetDoubling{Doubling: d})
	if took := w.soonest(t, w.volley(t, to, "again", 40)); took < peers.HoldFor {
		t.Errorf("a copy came after %v", took)
	}
	w.Do(func() { w.kernel.guard.endHold() })
	w.passes(t, to, "nobody listens")
	w.apply(t, peers.SetDoubling{})
	if got := w.state(t).Doubling; got != (peers.Table{}) {
		t.Errorf("after it is over %+v", got)
	}
}

// passes waits for a copy that has not waited.
func (w *twin) passes(t *testing.T, to, name string) {
	t.Helper()
	for i := range 50 {
		if w.soonest(t, w.volley(t, to, fmt.Sprintf("%s %d", name, i), 1)) < peers.HoldFor {
			return
		}
	}
	t.Errorf("%s: copies wait", name)
}

// TestHoldIsRead: somebody who takes away the rule that has copies wait is noticed, and so is that nobody lets them go.
func TestHoldIsRead(t *testing.T) {
	w, d := heldTwin(t)
	w.Do(func() {
		g := w.kernel.guard
		for _, family := range doubleFamilies() {
			table := &nftables.Table{Name: peers.DoubleTable, Family: family}
			g.conn.FlushChain(&nftables.Chain{Name: holdChain, Table: table})
		}
		if err := g.conn.Flush(); err != nil {
			t.Fatal(err)
		}
	})
	if got := w.state(t).Doubling; got.Digest != "" || !got.There {
		t.Errorf("%+v", got)
	}
	w.apply(t, peers.SetDoubling{Doubling: d})
	if got := w.state(t).Doubling; got.Digest != d.Digest() {
		t.Errorf("%+v, want %s", got, d.Digest())
	}
	w.Do(func() { w.kernel = openKernel(t) }) // that of an agent that starts
	if got := w.state(t).Doubling; got.Digest != "" || !got.There {
		t.Errorf("nobody listens: %+v", got)
	}
}
