package linux

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// Neighbours asks hosts on the host's own links whether they are there, by ARP and neighbour discovery, which each host
// answers, whatever its firewall says to a ping. The zero value is ready.
//
// Neither is sent by us: that would need a packet socket, and CAP_NET_RAW, which the agent has not got; and sockets for
// ping are open only to the groups in net.ipv4.ping_group_range, which a host may have set to none. But whoever has
// CAP_NET_ADMIN may tell the kernel that it should make sure of a neighbour (the state NUD_PROBE): it asks at once, the
// one that it knows and nobody else, and again after a second, and meanwhile packets go on to it as before. After
// three questions without an answer it forgets where the neighbour was, as it does by itself for one that is used, and
// asks all. It is not told to begin anew before: a neighbour that has got another network card would never be found.
type Neighbours struct{ rt *netlink.Handle }

// Why an address cannot be asked, or is out of reach.
var (
	errNoWay    = errors.New("there is no way to it by a link of the LAN")
	errOwn      = errors.New("it is this host's own address")
	errStatic   = errors.New("where it is was set by hand on this host, so that nobody asks for it")
	errOldAsk   = errors.New("this kernel cannot be asked for one neighbour: it is older than Linux 5.0")
	errNoAdmin  = errors.New("CAP_NET_ADMIN is missing")
	errNoAnswer = errors.New("the kernel does not say how the neighbour is")
)

// Ask asks an address, or the router by which it is reached, and tells what has become of the question before.
func (n *Neighbours) Ask(a netip.Addr) (peers.Answer, error) {
	if n.rt == nil {
		rt, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return peers.AnswerUnknown, fmt.Errorf("open rtnetlink: %v", err)
		}
		n.rt = rt
	}
	link, hop, err := n.way(a)
	switch {
	case errors.Is(err, errNoWay):
		return peers.AnswerNone, err
	case err != nil:
		return peers.AnswerUnknown, err
	}
	is, err := neighbourState(link, hop)
	if err != nil {
		return peers.AnswerUnknown, err
	}
	answer := peers.AnswerNone
	switch {
	case is&(unix.NUD_PERMANENT|unix.NUD_NOARP) != 0:
		return peers.AnswerUnknown, errStatic
	case is&unix.NUD_REACHABLE != 0: // it was in another state when it was asked
		answer = peers.AnswerHeard
		err = n.set(link, hop, unix.NUD_PROBE, 0)
	case is&(unix.NUD_STALE|unix.NUD_DELAY) != 0:
		err = n.set(link, hop, unix.NUD_PROBE, 0)
	case is&(unix.NUD_PROBE|unix.NUD_INCOMPLETE) != 0: // the kernel is about it
	default:
		err = n.set(link, hop, unix.NUD_NONE, unix.NTF_USE) // as if somebody had a packet for it
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return peers.AnswerUnknown, errNoAdmin
	}
	return answer, nil // what else can fail is that the neighbour or the link has gone meanwhile
}

// way is the link by which an address is reached, and the neighbour on it. A default route is no way to a LAN.
func (n *Neighbours) way(a netip.Addr) (link int, hop netip.Addr, err error) {
	routes, err := n.rt.RouteGetWithOptions(a.AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
	if err != nil || len(routes) == 0 {
		return 0, hop, errNoWay
	}
	r := &routes[0]
	if r.Type == unix.RTN_LOCAL {
		return 0, hop, errOwn
	}
	ones := 0
	if r.Dst != nil {
		ones, _ = r.Dst.Mask.Size()
	}
	gateway := r.Gw
	link = r.LinkIndex
	if len(r.MultiPath) > 0 {
		link, gateway = r.MultiPath[0].LinkIndex, r.MultiPath[0].Gw
	}
	if ones == 0 || link == 0 || r.Type != unix.RTN_UNICAST || r.Protocol == peers.RouteProtocol {
		return 0, hop, errNoWay
	}
	if hop, ok := netip.AddrFromSlice(gateway); ok {
		return link, hop.Unmap(), nil
	}
	return link, a, nil
}

// set tells the kernel what to do about a neighbour.
func (n *Neighbours) set(link int, a netip.Addr, state, flags int) error {
	return n.rt.NeighSet(&netlink.Neigh{LinkIndex: link, IP: a.AsSlice(), State: state, Flags: flags})
}

// neighbourState is what the kernel knows of a neighbour: its state (NUD_*), 0 for one that it does not know. Only the
// one is asked for: there may be thousands, and this happens four times a second.
func neighbourState(link int, a netip.Addr) (int, error) {
	family := unix.AF_INET
	if a.Is6() {
		family = unix.AF_INET6
	}
	req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, 0)
	req.AddData(&netlink.Ndmsg{Family: uint8(family), Index: uint32(link)})
	req.AddData(nl.NewRtAttr(netlink.NDA_DST, net.IP(a.AsSlice())))
	found, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
	switch {
	case errors.Is(err, unix.ENOENT):
		return 0, nil
	case errors.Is(err, unix.EOPNOTSUPP):
		return 0, errOldAsk
	case err != nil:
		return 0, fmt.Errorf("ask for a neighbour: %v", err)
	case len(found) == 0:
		return 0, errNoAnswer
	}
	n, err := netlink.NeighDeserialize(found[0])
	if err != nil {
		return 0, fmt.Errorf("ask for a neighbour: %v", err)
	}
	return n.State, nil
}
