package linux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// devconfDisable is the place of disable_ipv6 in the array IFLA_INET6_CONF (DEVCONF_DISABLE_IPV6 of
// linux/ipv6.h).
const (
	iflaInet6Conf  = 2
	devconfDisable = 26
)

// hasIPv6 says whether the kernel does IPv6 at all.
func hasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return !errors.Is(err, unix.EAFNOSUPPORT)
	}
	unix.Close(fd)
	return true
}

// mayIPv6 says whether our links, and those that are still to be made, may have IPv6 addresses. A sandbox
// can hide the setting for new links; then the loopback stands in, which has it unless all are switched.
func (k *Kernel) mayIPv6(links []int) bool {
	value, err := os.ReadFile("/proc/sys/net/ipv6/conf/default/disable_ipv6")
	if err != nil {
		if lo, err := k.rt.LinkByName("lo"); err == nil {
			links = append(links, lo.Attrs().Index)
		}
	}
	if bytes.Equal(bytes.TrimSpace(value), []byte("1")) {
		return false
	}
	return !slices.ContainsFunc(links, disabled)
}

// disabled asks whether IPv6 is switched off on a link, in a way that works where /proc/sys is hidden.
func disabled(index int) bool {
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	about := nl.NewIfInfomsg(unix.AF_UNSPEC)
	about.Index = int32(index)
	request.AddData(about)
	answers, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil || len(answers) == 0 || len(answers[0]) < unix.SizeofIfInfomsg {
		return false
	}
	spec := attribute(answers[0][unix.SizeofIfInfomsg:], unix.IFLA_AF_SPEC)
	conf := attribute(attribute(spec, unix.AF_INET6), iflaInet6Conf)
	if len(conf) < 4*(devconfDisable+1) {
		return len(spec) > 0 && len(conf) == 0 // the link is known, and not to IPv6
	}
	return binary.NativeEndian.Uint32(conf[4*devconfDisable:]) != 0
}

// attribute finds one of a row of netlink attributes.
func attribute(row []byte, kind uint16) []byte {
	all, err := nl.ParseRouteAttr(row)
	if err != nil {
		return nil
	}
	for _, a := range all {
		if a.Attr.Type&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == kind {
			return a.Value
		}
	}
	return nil
}
