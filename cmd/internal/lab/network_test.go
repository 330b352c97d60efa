package lab_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/lab/labtest"
)

// reach is whether a host gets an answer from an address, as whom it is seen there, or why not.
func reach(t *testing.T, from *lab.Host, network string, to netip.Addr, timeout string) (string, error) {
	t.Helper()
	return runRole(t, from, "probe", network, to.String(), timeout)
}

// pairWithEcho is a lab whose warehouse answers.
func pairWithEcho(t *testing.T) (shop, warehouse *lab.Host) {
	t.Helper()
	l := labtest.New(t, twoHosts())
	shop, warehouse = l.Host("shop"), l.Host("warehouse")
	startReady(t, warehouse, "echo")
	return shop, warehouse
}

func TestHostsReachEachOtherThroughTheRouter(t *testing.T) {
	shop, warehouse := pairWithEcho(t)
	for _, c := range []struct {
		network  string
		from, to netip.Addr
	}{
		{"tcp4", shop.IPv4(), warehouse.IPv4()},
		{"udp4", shop.IPv4(), warehouse.IPv4()},
		{"tcp6", shop.IPv6(), warehouse.IPv6()},
		{"udp6", shop.IPv6(), warehouse.IPv6()},
	} {
		seen, err := reach(t, shop, c.network, c.to, "10s")
		if err != nil || seen != c.from.String() {
			t.Errorf("%s to %v: seen as %q (%v), want %v", c.network, c.to, seen, err, c.from)
		}
		if hop := nextHop(t, shop, c.to); hop == c.to || !hop.IsValid() {
			t.Errorf("%v is on the shop's own subnet (next hop %v): the lab must route", c.to, hop)
		}
	}
}

// nextHop is the gateway by way of which a host reaches an address.
func nextHop(t *testing.T, h *lab.Host, to netip.Addr) (hop netip.Addr) {
	t.Helper()
	err := h.Do(func() error {
		routes, err := netlink.RouteGet(to.AsSlice())
		if err == nil && len(routes) == 1 {
			hop, _ = netip.AddrFromSlice(routes[0].Gw)
			hop = hop.Unmap()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hop
}

// TestAddressesAreUsableAtOnce: asking on the link whether an address is taken costs the first packet at least 1 s.
func TestAddressesAreUsableAtOnce(t *testing.T) {
	l := labtest.New(t, twoHosts())
	built := time.Now()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for _, on := range []func(func() error) error{func(f func() error) error { return f() }, l.Host("shop").Do} {
		for unusable := -1; unusable != 0; <-ticker.C {
			if err := on(func() (err error) { unusable, err = tentative(); return err }); err != nil {
				t.Fatal(err)
			}
			if time.Since(built) > 900*time.Millisecond {
				t.Fatalf("%d addresses are tentative", unusable)
			}
		}
	}
}

// tentative counts the addresses of the calling thread's namespace that cannot be used yet.
func tentative() (count int, err error) {
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_V6)
	for _, address := range addresses {
		if address.Flags&unix.IFA_F_TENTATIVE != 0 {
			count++
		}
	}
	return count, err
}

func TestCutAndRestore(t *testing.T) {
	shop, warehouse := pairWithEcho(t)
	both := map[string]netip.Addr{"udp4": warehouse.IPv4(), "udp6": warehouse.IPv6()}
	for _, cut := range []*lab.Host{shop, warehouse} {
		for range 2 { // twice: a fault that is there already is no error
			if err := cut.Cut(); err != nil {
				t.Fatal(err)
			}
		}
		for network, address := range both {
			if seen, err := reach(t, shop, network, address, "300ms"); err == nil {
				t.Errorf("%s cut, yet %s answers %q", cut.Name(), network, seen)
			} else if !isTimeout(seen) {
				t.Errorf("%s cut: %s says %q, want silence", cut.Name(), network, seen)
			}
		}
		for range 2 {
			if err := cut.Restore(); err != nil {
				t.Fatal(err)
			}
		}
		for network, address := range both {
			if seen, err := reach(t, shop, network, address, "10s"); err != nil {
				t.Errorf("%s restored, yet %s: %v %s", cut.Name(), network, err, seen)
			}
		}
	}
}

func TestBlockIsOneAddressOneWay(t *testing.T) {
	shop, warehouse := pairWithEcho(t)
	prefix := netip.PrefixFrom(warehouse.IPv4(), 32)
	if err := shop.Block(prefix); err != nil {
		t.Fatal(err)
	}
	if out, err := reach(t, shop, "udp4", warehouse.IPv4(), "300ms"); err == nil || !isTimeout(out) {
		t.Errorf("blocked, yet: %q %v", out, err)
	}
	if out, err := reach(t, shop, "udp6", warehouse.IPv6(), "10s"); err != nil {
		t.Errorf("IPv6 was not blocked, yet: %q %v", out, err)
	}
	if err := shop.Unblock(prefix); err != nil {
		t.Fatal(err)
	}
	if out, err := reach(t, shop, "udp4", warehouse.IPv4(), "10s"); err != nil {
		t.Errorf("unblocked, yet: %q %v", out, err)
	}
}

func TestLabsFollowEachOther(t *testing.T) {
	rules := len(ruleList(t))
	for round := range 2 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			shop, warehouse := pairWithEcho(t)
			if out, err := reach(t, shop, "tcp4", warehouse.IPv4(), "10s"); err != nil {
				t.Errorf("%v %s", err, out)
			}
			// What a test leaves behind is none of the next one's business.
			if err := shop.Cut(); err != nil {
				t.Error(err)
			}
		})
	}
	if left := ruleList(t); len(left) != rules {
		t.Errorf("rules are left: %v", left)
	}
	if links, err := netlink.LinkList(); err != nil || len(links) > 1 {
		t.Errorf("%d links are left: %v (%v)", len(links), links, err)
	}
}

func ruleList(t *testing.T) []netlink.Rule {
	t.Helper()
	rules, err := netlink.RuleList(netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func TestOneLabAtATime(t *testing.T) {
	labtest.New(t, twoHosts())
	if l, err := lab.New(twoHosts()); err == nil {
		t.Errorf("a second lab was built (closing it: %v)", l.Close())
	}
}

// isTimeout tells silence from an error that the network reported.
func isTimeout(out string) bool { return strings.Contains(out, "timeout") }
