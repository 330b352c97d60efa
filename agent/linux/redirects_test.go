package linux

import (
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/peers"
)

const (
	redirectsSetting = "net/ipv4/conf/all/send_redirects"
	loopbackTag      = "net/ipv4/conf/lo/tag"
)

// testRedirects: the kernel's WireGuard turns redirects off as an interface comes up, tunnel processes do not. When
// there is no interface any more, the host sends them again if it did before, and only then.
func testRedirects(t *testing.T, s subject) {
	plan := planFor(1)
	turnsOff := s.kernel.Backend() == InKernel
	for _, on := range []bool{true, false} {
		s.redirect(on)
		s.apply(t, peers.Diff(s.observe(t), plan)...)
		if got := s.redirects(); got != (on && !turnsOff) {
			t.Fatalf("redirects were %v, and are %v with an interface", on, got)
		}
		s.delete("wrn0") // which takes nothing along that is still needed
		s.apply(t, peers.Diff(s.observe(t), plan)...)
		if got := s.observe(t).Redirects; got != (on && turnsOff) {
			t.Errorf("redirects were %v, and it is noted %v that they were on", on, got)
		}
		if steps := peers.Diff(s.observe(t), plan); len(steps) != 0 {
			t.Errorf("with the interface there is something to do: %v", steps)
		}
		s.apply(t, peers.Diff(s.observe(t), peers.Plan{})...)
		if got := s.redirects(); got != on {
			t.Errorf("redirects were %v, and are %v afterwards", on, got)
		}
		if state := s.observe(t); state.Redirects || len(peers.Diff(state, peers.Plan{})) != 0 {
			t.Errorf("left to do: %v", peers.Diff(state, peers.Plan{}))
		}
	}
}

// TestRedirectsNoted does by hand what the kernel's WireGuard does, which is not everywhere, with a note that is ours, one
// that is somebody else's, and without one.
func TestRedirectsNoted(t *testing.T) {
	for _, c := range []struct{ name, redirects, tag, noted, after, tagAfter string }{
		{"on", "1", "0", "2003959809", "1", "0"},
		{"off", "0", "0", "0", "0", "0"},
		{"on, and the tag is somebody else's", "1", "7", "7", "0", "7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKernel(t)
			s := subject{kernel: k}
			sysctl(t, redirectsSetting, c.redirects)
			sysctl(t, loopbackTag, c.tag)
			k.noteRedirects()
			sysctl(t, redirectsSetting, "0")
			k.noteRedirects() // the next interface
			if got := read(t, loopbackTag); got != c.noted {
				t.Errorf("the tag is %s, want %s", got, c.noted)
			}
			if got := s.observe(t).Redirects; got != (c.noted != c.tag) {
				t.Errorf("seen as noted: %v", got)
			}
			s.apply(t, peers.Diff(s.observe(t), peers.Plan{})...)
			if now, tag := read(t, redirectsSetting), read(t, loopbackTag); now != c.after || tag != c.tagAfter {
				t.Errorf("afterwards redirects are %s, the tag %s; want %s and %s", now, tag, c.after, c.tagAfter)
			}
		})
	}
}

// TestRedirectsOfOthers: who has a WireGuard interface beside ours keeps what the kernel did for it.
func TestRedirectsOfOthers(t *testing.T) {
	k := newKernel(t)
	s := subject{kernel: k}
	other := &netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: "wg-other"}}
	if err := netlink.LinkAdd(other); err != nil {
		t.Skipf("this kernel has no WireGuard: %v", err)
	}
	defer func() { _ = netlink.LinkDel(other) }()
	sysctl(t, redirectsSetting, "1")
	k.noteRedirects()
	if err := netlink.LinkSetUp(other); err != nil {
		t.Fatal(err)
	}
	s.apply(t, peers.Diff(s.observe(t), peers.Plan{})...)
	if now, tag := read(t, redirectsSetting), read(t, loopbackTag); now != "0" || tag != "0" {
		t.Errorf("redirects are %s, the tag %s", now, tag)
	}
}
