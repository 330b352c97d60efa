package control

import (
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

func TestChanges(t *testing.T) {
	none, one := []peers.Problem{}, []peers.Problem{{Code: "x"}}
	base := func(edit ...func(*wire.Report)) wire.Report {
		r := wire.Report{
			Revision: 5, Problems: &none, Generation: 1, Backend: "kernel",
			Keys:  []peers.HostKey{{Generation: 1, Public: key.Public{1}}},
			Peers: []wire.PeerReport{{ID: "a", Generation: 1, State: wire.PeerUp}, {ID: "b", Generation: 1, State: wire.PeerDown}},
		}
		for _, f := range edit {
			f(&r)
		}
		return r
	}
	cases := map[string]struct {
		now   wire.Report
		level news
		check func(wire.Report) bool
	}{
		"nothing":  {base(), nothing, func(r wire.Report) bool { return r.Revision == 0 && r.Problems == nil }},
		"revision": {base(func(r *wire.Report) { r.Revision = 6 }), routine, func(r wire.Report) bool { return r.Revision == 6 && r.Problems == nil && r.Peers == nil }},
		"problem": {base(func(r *wire.Report) { r.Problems = &one }), urgent, func(r wire.Report) bool {
			return r.Problems == &one && r.Revision == 5
		}},
		"key": {base(func(r *wire.Report) { r.Keys = append(r.Keys, peers.HostKey{Generation: 2}) }), pressing, func(r wire.Report) bool {
			return len(r.Keys) == 1 && r.Keys[0].Generation == 2
		}},
		"peer down": {base(func(r *wire.Report) {
			r.Peers = []wire.PeerReport{{ID: "a", Generation: 1, State: wire.PeerDown}, r.Peers[1]}
		}), urgent, func(r wire.Report) bool { return len(r.Peers) == 1 && r.Peers[0].ID == "a" }},
		"peer new": {base(func(r *wire.Report) {
			r.Peers = append(r.Peers, wire.PeerReport{ID: "c", Generation: 1, State: wire.PeerConnecting})
		}), routine, func(r wire.Report) bool { return len(r.Peers) == 1 && r.Peers[0].ID == "c" }},
		"peer new and another down": {base(func(r *wire.Report) {
			r.Peers = []wire.PeerReport{
				{ID: "a", Generation: 1, State: wire.PeerDown}, r.Peers[1], {ID: "c", Generation: 1, State: wire.PeerConnecting},
			}
		}), urgent, func(r wire.Report) bool { return len(r.Peers) == 2 }},
		"peer routed on the next generation": {base(func(r *wire.Report) {
			r.Peers = append(r.Peers, wire.PeerReport{ID: "a", Generation: 2, State: wire.PeerUp, Routed: true})
		}), pressing, func(r wire.Report) bool { return len(r.Peers) == 1 && r.Peers[0].Routed }},
		"generation": {base(func(r *wire.Report) { r.Generation = 2 }), urgent, func(r wire.Report) bool { return r.Generation == 2 }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := base()
			got, level := changes(&before, &c.now)
			if level != c.level || !c.check(got) {
				t.Errorf("level %d, %+v; want level %d", level, got, c.level)
			}
		})
	}
}

// TestPacer: what is new goes out at once after a quiet time, and never floods.
func TestPacer(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var p pacer
	p.want(start, urgent, 0)
	if !p.due.Equal(start) {
		t.Errorf("the first is due after %v, want at once", p.due.Sub(start))
	}
	p.sent(start)
	p.want(start, nothing, 0)
	if !p.due.IsZero() {
		t.Error("nothing is due")
	}
	count, now := 0, start
	for end := start.Add(time.Hour); now.Before(end); now = now.Add(50 * time.Millisecond) {
		p.want(now, urgent, 0)
		if !p.due.After(now) {
			p.sent(now)
			count++
		}
	}
	if count < 300 || count > 420 {
		t.Errorf("%d reports in an hour of constant news, want about one in ten seconds", count)
	}
	quiet := now.Add(time.Minute)
	p.sent(now)
	p.want(quiet, urgent, 0)
	if p.due.After(quiet) {
		t.Errorf("after a quiet minute it is due after %v, want at once", p.due.Sub(quiet))
	}
}

func TestPacerCoalescesRoutine(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var p pacer
	p.want(start, routine, 0)
	due := p.due
	if late := due.Sub(start); late < 0 || late > routineWithin {
		t.Errorf("due after %v, want within %v", late, routineWithin)
	}
	for range 100 {
		p.want(start, routine, 0)
	}
	if !p.due.Equal(due) {
		t.Error("asking again changed when it is due")
	}
	p.want(start, urgent, 0)
	if !p.due.Equal(start) {
		t.Error("something urgent has to wait for the routine")
	}
}

func TestBackoff(t *testing.T) {
	refused := wire.NewFault(403, "suspended", "", "")
	busy := wire.NewFault(503, "busy", "", "")
	busy.RetryAfter = 7
	cases := map[string]struct {
		failures  int
		lived     time.Duration
		why       *wire.Fault
		low, high time.Duration
	}{
		"first":                 {0, 0, nil, 0, 250 * time.Millisecond},
		"second":                {1, 0, nil, 0, 500 * time.Millisecond},
		"many":                  {100, 0, nil, 0, 15 * time.Second},
		"after a long stream":   {100, time.Minute, nil, 0, 250 * time.Millisecond},
		"refused":               {0, time.Hour, refused, 30 * time.Second, time.Minute},
		"told when":             {0, 0, busy, 7 * time.Second, 14 * time.Second},
		"unreachable like none": {3, 0, wire.NewFault(502, CodeUnreachable, "", ""), 0, 2 * time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, draw := range []func(time.Duration) time.Duration{
				func(time.Duration) time.Duration { return 0 },
				func(most time.Duration) time.Duration { return most },
				uniform,
			} {
				b := backoff{failures: c.failures, draw: draw}
				if got := b.next(c.lived, c.why); got < c.low || got > c.high {
					t.Errorf("waits %v, want %v to %v", got, c.low, c.high)
				}
			}
			b := backoff{failures: c.failures, draw: func(most time.Duration) time.Duration { return most }}
			if got := b.next(c.lived, c.why); got != c.high {
				t.Errorf("waits at most %v, want %v", got, c.high)
			}
		})
	}
}
