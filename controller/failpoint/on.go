//go:build failpoint

package failpoint

import (
	"os"
	"strings"
	"syscall"

	"github.com/warren-mesh/warren/peers"
)

// Reach kills the process at the point that WARREN_FAILPOINT names.
func Reach(point string) {
	if os.Getenv("WARREN_FAILPOINT") == point {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	}
}

// Recorded is called when the ledger has an entry.
func Recorded(e peers.Entry) { each(e, StartRecorded, KeyRecorded, EndRecorded, HoldRecorded) }

// Published is called when hosts can hear of an entry.
func Published(e peers.Entry) { each(e, StartPublished, KeyPublished, EndPublished, HoldPublished) }

func each(e peers.Entry, start, key, end, hold string) {
	switch {
	case e.Kind == (peers.StartGeneration{}).Kind():
		Reach(start)
	case e.Kind == (peers.UpdateHost{}).Kind() && strings.Contains(string(e.Op), `"keys"`):
		Reach(key)
	case e.Kind == (peers.RetireGeneration{}).Kind(), e.Kind == (peers.DropGeneration{}).Kind():
		Reach(end)
	case e.Kind == (peers.HoldGeneration{}).Kind():
		Reach(hold)
	}
}
