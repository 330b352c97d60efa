package peers_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// TestBuildAfter: each host has its own moment, which never changes, and all of them are within a second.
func TestBuildAfter(t *testing.T) {
	plan := func(self string, g peers.Generation, n int) *peers.Plan {
		return &peers.Plan{
			Self: peers.Self{ID: idOf(self)}, Peers: make([]peers.Peer, n),
			Interfaces: []peers.Interface{{Generation: g - 1}, {Generation: g}},
		}
	}
	tenths := map[time.Duration]int{}
	moved := 0
	for i := range 10 {
		name := fmt.Sprintf("host%d", i)
		at := plan(name, 2, 9).BuildAfter()
		if at < 0 || at >= 900*time.Millisecond || at != plan(name, 2, 9).BuildAfter() {
			t.Errorf("%s begins after %v", name, at)
		}
		if at != plan(name, 3, 9).BuildAfter() {
			moved++
		}
		if soon := plan(name, 2, 1).BuildAfter(); soon >= 100*time.Millisecond {
			t.Errorf("%s, with one peer, begins after %v", name, soon)
		}
		if late := plan(name, 2, 1000).BuildAfter(); late >= time.Second {
			t.Errorf("%s, with many peers, begins after %v", name, late)
		}
		tenths[at.Truncate(100*time.Millisecond)]++
	}
	if len(tenths) < 5 {
		t.Errorf("ten hosts begin in the same moments: %v", tenths)
	}
	if moved < 9 {
		t.Errorf("only %d of 10 hosts have another turn in the next rotation", moved)
	}
	alone, quiet := plan("shop", 2, 0), plan("shop", 2, 9)
	quiet.Interfaces = quiet.Interfaces[1:]
	if alone.BuildAfter() != 0 || quiet.BuildAfter() != 0 {
		t.Error("a host waits for nothing")
	}
}
