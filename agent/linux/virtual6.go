package linux

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// Attributes of an address (linux/if_addr.h).
const (
	ifaFlags    = 8
	ifaPriority = 9 // the metric of the route to its network
)

// Times of giving a link a virtual address of IPv6.
const (
	usableWithin = time.Second // the kernel takes milliseconds, in a queue of its own
	usableLook   = 2 * time.Millisecond
)

// setVirtual6 is setVirtual for IPv6. The address is deprecated from the beginning, so that it is nobody's source.
//
// The LAN learns where it is by a neighbour advertisement that nobody has asked for. Only the kernel can send one, as the
// agent has no CAP_NET_RAW, and it does (ndisc_notify) for an address that has just passed for nobody else's. An address
// that was never in doubt (nodad) is not told of; one that is in doubt is looked for on the LAN for a second or two, and
// lost where the gateway before has it still. So the link does not doubt (accept_dad 0) in the moment of adding it.
// Both settings are put back before anything else happens.
func (k *Kernel) setVirtual6(link netlink.Link, a netip.Addr) error {
	flags := uint32(unix.IFA_F_NOPREFIXROUTE)
	restore, err := advertise(link.Attrs().Name)
	defer restore()
	if err != nil {
		k.log.Warn("the LAN is not told of the virtual address", "address", a, "error", err)
		flags |= unix.IFA_F_NODAD
	}
	msg := &nl.IfAddrmsg{IfAddrmsg: unix.IfAddrmsg{
		Family: unix.AF_INET6, Prefixlen: 128, Index: uint32(link.Attrs().Index),
	}}
	forever := binary.NativeEndian.AppendUint32(make([]byte, 4), ^uint32(0)) // preferred for 0 s
	forever = append(forever, make([]byte, 8)...)
	req := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, net.IP(a.AsSlice())))
	req.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, forever))
	req.AddData(nl.NewRtAttr(ifaFlags, nl.Uint32Attr(flags)))
	req.AddData(nl.NewRtAttr(ifaPriority, nl.Uint32Attr(peers.VirtualMetric)))
	_, err = req.Execute(unix.NETLINK_ROUTE, 0)
	if err := k.wrote(err); err != nil {
		return explain(err)
	}
	return k.awaitUsable(link, a)
}

// awaitUsable waits until an address is in no doubt.
func (k *Kernel) awaitUsable(link netlink.Link, a netip.Addr) error {
	give, look := time.NewTimer(usableWithin), time.NewTicker(usableLook)
	defer give.Stop()
	defer look.Stop()
	for {
		all, err := dump(func() ([]netlink.Addr, error) { return k.rt.AddrList(link, netlink.FAMILY_V6) })
		if err != nil {
			return fmt.Errorf("read addresses: %v", err)
		}
		for i := range all {
			if all[i].IP.Equal(a.AsSlice()) && all[i].Flags&unix.IFA_F_TENTATIVE == 0 {
				return nil
			}
		}
		select {
		case <-give.C:
			return fmt.Errorf("the kernel still doubts whether %v is nobody else's: is the link up?", a)
		case <-look.C:
		}
	}
}

// advertise has a link tell of addresses that it gets. restore puts its settings back, and is never nil.
func advertise(link string) (restore func(), err error) {
	folder := filepath.Join("/proc/sys/net/ipv6/conf", link)
	var undo []func()
	restore = func() {
		for _, f := range undo {
			f()
		}
	}
	if isOn("net/ipv6/conf/all/accept_dad") {
		return restore, fmt.Errorf("net.ipv6.conf.all.accept_dad is on, for all links")
	}
	for name, value := range map[string]string{"ndisc_notify": "1", "accept_dad": "0"} {
		path := filepath.Join(folder, name)
		was, err := os.ReadFile(path)
		if err != nil {
			return restore, err
		}
		if was = bytes.TrimSpace(was); string(was) == value {
			continue
		}
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			return restore, err
		}
		undo = append(undo, func() { _ = os.WriteFile(path, was, 0) }) // it could be written a moment ago
	}
	return restore, nil
}

func (k *Kernel) delVirtual6(link netlink.Link, a netip.Addr) error {
	return gone(k.wrote(k.rt.AddrDel(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, 128))})))
}

// mayBeVirtual6 says whether an address looks like a virtual one; whether it is, its metric tells.
func mayBeVirtual6(a *netlink.Addr, p netip.Prefix) bool {
	const flags = unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_PERMANENT
	return p.Addr().Is6() && p.IsSingleIP() && a.Flags&flags == flags
}

// A metred address is one on a link.
type metred struct {
	link    int
	address netip.Addr
}

// virtual6 are the addresses with our metric. It is a question of its own, because the reader of all addresses does not
// know metrics.
func virtual6() (map[metred]bool, error) {
	rows, err := dump(func() ([][]byte, error) {
		req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		req.AddData(nl.NewIfAddrmsg(unix.AF_INET6))
		return req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
	})
	if err != nil {
		return nil, fmt.Errorf("read addresses: %v", err)
	}
	out := map[metred]bool{}
	for _, row := range rows {
		if len(row) < unix.SizeofIfAddrmsg {
			continue
		}
		index := int(nl.DeserializeIfAddrmsg(row).Index)
		row = row[unix.SizeofIfAddrmsg:]
		metric := attribute(row, ifaPriority)
		a, ok := netip.AddrFromSlice(attribute(row, unix.IFA_ADDRESS))
		if ok && len(metric) == 4 && binary.NativeEndian.Uint32(metric) == peers.VirtualMetric {
			out[metred{index, a}] = true
		}
	}
	return out, nil
}
