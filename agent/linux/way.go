package linux

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

const (
	wayKept    = time.Minute // what the kernel has learned of a way by ICMP comes without an event
	waySettled = time.Second // while routes keep changing, a way is looked up no more often
)

// ways knows the MTUs of the ways to endpoints, as the routes of the host tell them. With hundreds of peers
// it is too much to look all of them up at each observation, so they are kept until a route or a link
// changes. Where no route is left, what was there last holds: an uplink that goes and comes back is no
// reason to change a tunnel.
type ways struct {
	rt      *netlink.Handle
	changes atomic.Uint64 // of routes and links of others
	known   map[netip.Addr]way
}

type way struct {
	mtu     int
	at      time.Time
	changes uint64
}

// newWays has a handle of its own, because kernels that check strictly refuse its question in IPv6.
func newWays() (*ways, error) {
	rt, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %v", err)
	}
	return &ways{rt: rt, known: map[netip.Addr]way{}}, nil
}

// to is the MTU of the way to an address; 0 where it is not known.
func (w *ways) to(a netip.Addr) int {
	now, changes := time.Now(), w.changes.Load()
	was, ok := w.known[a]
	age := now.Sub(was.at)
	if ok && age < wayKept && (was.changes == changes || age < waySettled) {
		return was.mtu
	}
	if mtu := w.look(a); mtu != 0 {
		was.mtu = mtu
	}
	was.at, was.changes = now, changes
	w.known[a] = was
	return was.mtu
}

// look asks for the route that packets to an address take. One through a tunnel of ours is no way.
func (w *ways) look(a netip.Addr) int {
	routes, err := w.rt.RouteGet(a.AsSlice())
	if err != nil || len(routes) == 0 {
		return 0
	}
	link, err := w.rt.LinkByIndex(routes[0].LinkIndex)
	if err != nil || isOurName(link.Attrs().Name) || routes[0].Protocol == peers.RouteProtocol {
		return 0
	}
	if mtu := routes[0].MTU; mtu != 0 {
		return min(mtu, link.Attrs().MTU)
	}
	return link.Attrs().MTU
}

// forget drops what nobody has asked for lately: endpoints of peers that are gone.
func (w *ways) forget(now time.Time) {
	for a, was := range w.known {
		if now.Sub(was.at) > 2*wayKept {
			delete(w.known, a)
		}
	}
}
