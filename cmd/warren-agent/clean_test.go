package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/cmd/internal/daemon"
	"github.com/warren-mesh/warren/peers"
)

// cleaned runs clean and gives what it says.
func cleaned(t *testing.T, o *options) string {
	t.Helper()
	var out bytes.Buffer
	if err := clean(t.Context(), o, false, &out); err != nil {
		t.Errorf("clean: %v\n%s", err, &out)
	}
	return out.String()
}

// TestCleanNothing: where there is nothing, nothing happens, and that is no error.
func TestCleanNothing(t *testing.T) {
	nettest.Alone(t)
	o := settings(t.TempDir())
	for range 2 {
		if said := cleaned(t, o); said != "" {
			t.Errorf("it did: %s", said)
		}
	}
	for _, path := range []string{o.dataDir, filepath.Dir(o.socket)} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("it made %s", path)
		}
	}
}

// TestCleanSpares: an interface in our name that is none of ours stays, and so does a file.
func TestCleanSpares(t *testing.T) {
	nettest.Alone(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "wrn0"
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		t.Fatal(err)
	}
	o := settings(t.TempDir())
	notes := filepath.Join(o.dataDir, "notes")
	if err := errors.Join(os.MkdirAll(o.dataDir, 0o700), os.WriteFile(notes, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	said := cleaned(t, o)
	if !strings.Contains(said, "link del wrn0") || !strings.Contains(said, notes) {
		t.Errorf("it says nothing of what stays: %s", said)
	}
	if _, err := netlink.LinkByName("wrn0"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(notes); err != nil {
		t.Error(err)
	}
}

// TestCleanKeepsFiles: with them the host is a member again when an agent comes back.
func TestCleanKeepsFiles(t *testing.T) {
	nettest.Alone(t)
	o := settings(t.TempDir())
	files, err := store.Open(o.dataDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(files.PutPins(peers.Pins{}), files.Close()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadDir(o.dataDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := clean(t.Context(), o, true, &bytes.Buffer{}); err != nil {
		t.Error(err)
	}
	after, err := os.ReadDir(o.dataDir)
	if err != nil || len(after) != len(before) || len(before) == 0 {
		t.Errorf("%d files are left of %d: %v", len(after), len(before), err)
	}
	cleaned(t, o)
	if _, err := os.Stat(o.dataDir); err == nil {
		t.Error("and without the flag the directory is still there")
	}
}

// TestCleanSockets: that of an agent that was killed goes; beside one that answers nothing is done.
func TestCleanSockets(t *testing.T) {
	nettest.Alone(t)
	o := settings(t.TempDir())
	if err := os.MkdirAll(filepath.Dir(o.socket), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: o.socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	o.dataDir += "-of-another" // as of an agent with other settings
	if err := clean(t.Context(), o, false, &bytes.Buffer{}); err == nil {
		t.Error("an agent that answers was overlooked")
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	cleaned(t, o)
	if _, err := os.Lstat(o.socket); err == nil {
		t.Error("the socket is still there")
	}
}

// TestCleanRunning: an agent that runs keeps everything.
func TestCleanRunning(t *testing.T) {
	o := settings(t.TempDir())
	start(t, o)
	waitFor(t, o.socket)
	err := clean(t.Context(), o, false, &bytes.Buffer{})
	var h daemon.Hinted
	if !errors.As(err, &h) || !strings.Contains(h.Hint(), "warren leave") {
		t.Errorf("got %v, want a hint with warren leave", err)
	}
}

// TestCleanLocked: an agent that does not answer any more, or not here, still has its data directory.
func TestCleanLocked(t *testing.T) {
	nettest.Alone(t)
	_, overlay, _ := net.ParseCIDR("10.90.0.0/16")
	ours := &netlink.Route{Dst: overlay, Type: unix.RTN_UNREACHABLE, Protocol: peers.RouteProtocol}
	if err := netlink.RouteAdd(ours); err != nil {
		t.Fatal(err)
	}
	routes := func() int {
		t.Helper()
		all, err := netlink.RouteListFiltered(netlink.FAMILY_V4, ours, netlink.RT_FILTER_PROTOCOL)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	o := settings(t.TempDir())
	files, err := store.Open(o.dataDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := files.PutPins(peers.Pins{}); err != nil {
		t.Fatal(err)
	}
	err = clean(t.Context(), o, false, &bytes.Buffer{})
	var h daemon.Hinted
	if !errors.As(err, &h) || !strings.Contains(h.Hint(), "systemctl stop warren-agent") {
		t.Errorf("got %v, want a hint to stop the agent", err)
	}
	if _, err := os.Stat(filepath.Join(o.dataDir, "pins")); err != nil || routes() != 1 {
		t.Errorf("it was cleaned under the agent: %v, %d routes", err, routes())
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	cleaned(t, o)
	if _, err := os.Stat(o.dataDir); err == nil || routes() != 0 {
		t.Errorf("without the lock it is not cleaned: %v, %d routes", err, routes())
	}
}
