package linux

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// xt holds a match of iptables against the packet. iptables-nft makes expressions of nftables of most by now.
func (m *match) xt(name string, info []byte) {
	protocols := map[string]byte{
		"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "icmp": unix.IPPROTO_ICMP, "icmp6": unix.IPPROTO_ICMPV6,
	}
	protocol, isProtocol := protocols[name]
	switch {
	case isProtocol && protocol != m.protocol:
		m.failed = true
	case name == "tcp" || name == "udp":
		m.xtPorts(name, info)
	case name == "conntrack":
		m.xtConnection(info)
	case name == "state" && len(info) >= 4: // struct xt_state_info
		m.failed = m.failed || binary.NativeEndian.Uint32(info)&newState == 0
	case name == "addrtype":
		m.xtAddress(info)
	case name == "comment":
	default:
		m.certain = false
	}
}

// xtPorts is a match of TCP or UDP. It begins with the ranges of both ports, from and to; what else is asked
// for, and what of it is inverted, comes after (struct xt_tcp and xt_udp of linux/netfilter/xt_tcpudp.h).
func (m *match) xtPorts(name string, info []byte) {
	size := map[string]int{"tcp": 12, "udp": 9}[name]
	if len(info) < size {
		m.certain = false
		return
	}
	all := func(at int) bool {
		return binary.NativeEndian.Uint16(info[at:]) == 0 && binary.NativeEndian.Uint16(info[at+2:]) == math.MaxUint16
	}
	for _, rest := range info[8:size] {
		if rest != 0 {
			m.certain = false
			return
		}
	}
	if !all(0) || m.port == 0 && !all(4) {
		m.certain = false // a port of the sender, or one that is not known
	}
	from, to := binary.NativeEndian.Uint16(info[4:]), binary.NativeEndian.Uint16(info[6:])
	m.failed = m.failed || m.port != 0 && (m.port < from || m.port > to)
}

// Where things are in a match of conntrack, revisions 2 and 3, and the flags of one that asks for nothing but states,
// also where it was written as a match of state (struct xt_conntrack_mtinfo3 of linux/netfilter/xt_conntrack.h). The
// bits of states are those of nftables.
const (
	ctFlags, ctInverted, ctStates = 146, 148, 150
	ctOfStates, ctWasState        = 1, 1 << 13
)

func (m *match) xtConnection(info []byte) {
	const revision2 = 154
	if len(info) < revision2 || binary.NativeEndian.Uint16(info[ctFlags:])&^ctWasState != ctOfStates {
		m.certain = false
		return
	}
	has := binary.NativeEndian.Uint16(info[ctStates:])&newState != 0
	inverted := binary.NativeEndian.Uint16(info[ctInverted:])&ctOfStates != 0
	m.failed = m.failed || has == inverted
}

// Types of addresses (linux/netfilter/xt_addrtype.h), and the flag of revision 1 that inverts what is asked of the receiver's.
const (
	unicastAddress, localAddress = 1 << 1, 1 << 2
	invertReceiver               = 1 << 1
)

// xtAddress is a match of the type of an address: that of the receiver is this host's, or one behind it.
func (m *match) xtAddress(info []byte) {
	const revision1 = 8 // u16 sender, receiver; u32 flags
	if len(info) != revision1 || binary.NativeEndian.Uint16(info) != 0 || binary.NativeEndian.Uint32(info[4:])&^invertReceiver != 0 {
		m.certain = false
		return
	}
	kind := uint16(unicastAddress)
	if slices.Contains(m.hooks, nftables.ChainHookInput) {
		kind = localAddress
	}
	has := binary.NativeEndian.Uint16(info[2:])&kind != 0
	inverted := binary.NativeEndian.Uint32(info[4:]) != 0
	m.failed = m.failed || has == inverted
}
