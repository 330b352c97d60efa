package linux

import (
	"os"
	"testing"
	"time"
)

// eventually waits for a condition, ten seconds at most.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("timed out: %s", what)
		case <-tick.C:
		}
	}
}

// awaitSockets waits until no tunnel process of ours is left.
func awaitSockets(t testing.TB) {
	t.Helper()
	eventually(t, "tunnel processes end with their interfaces", func() bool {
		for _, name := range linkNames() {
			if _, err := os.Lstat(socketPath(name)); err == nil {
				return false
			}
		}
		return true
	})
}
