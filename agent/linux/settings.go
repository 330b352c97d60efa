package linux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// Settings of a link are in arrays within IFLA_AF_SPEC, by family. There they can be read and written where
// /proc/sys is hidden or read-only, as it is in the sandbox of the agent's unit. The IPv4 array begins with
// the setting that is called 1 (linux/ip.h), the IPv6 array with the one that is called 0 (linux/ipv6.h).
const (
	iflaInetConf   = 1
	iflaInet6Conf  = 2
	devconfFilter  = 8 // rp_filter in iflaInetConf
	devconfDisable = 26
)

// settings are those of a link that bear on us.
type settings struct {
	rpFilter int
	noIPv6   bool // IPv6 is switched off
}

// settingsOf asks for the settings of a link; zero where it is gone.
func settingsOf(index int) (s settings) {
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	request.AddData(linkMessage(index))
	answers, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil || len(answers) == 0 || len(answers[0]) < unix.SizeofIfInfomsg {
		return s
	}
	spec := attribute(answers[0][unix.SizeofIfInfomsg:], unix.IFLA_AF_SPEC)
	if conf := attribute(attribute(spec, unix.AF_INET), iflaInetConf); len(conf) >= 4*devconfFilter {
		s.rpFilter = int(binary.NativeEndian.Uint32(conf[4*(devconfFilter-1):]))
	}
	conf := attribute(attribute(spec, unix.AF_INET6), iflaInet6Conf)
	if len(conf) < 4*(devconfDisable+1) {
		s.noIPv6 = len(spec) > 0 && len(conf) == 0 // the link is known, and not to IPv6
	} else {
		s.noIPv6 = binary.NativeEndian.Uint32(conf[4*devconfDisable:]) != 0
	}
	return s
}

func linkMessage(index int) *nl.IfInfomsg {
	about := nl.NewIfInfomsg(unix.AF_UNSPEC)
	about.Index = int32(index)
	return about
}

// setRPFilter makes the reverse path filter of a link loose.
func (k *Kernel) setRPFilter(s peers.SetRPFilter) error {
	link, _, err := k.ours(s.Link)
	if err != nil {
		return err
	}
	request := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	request.AddData(linkMessage(link.Attrs().Index))
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	conf := spec.AddRtAttr(unix.AF_INET, nil).AddRtAttr(iflaInetConf, nil)
	conf.AddRtAttr(devconfFilter, nl.Uint32Attr(peers.LooseRPFilter))
	request.AddData(spec)
	_, err = request.Execute(unix.NETLINK_ROUTE, 0)
	return explain(k.wrote(err))
}

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
func (k *Kernel) mayIPv6(links []settings) bool {
	value, err := os.ReadFile("/proc/sys/net/ipv6/conf/default/disable_ipv6")
	if err != nil {
		if lo, err := k.rt.LinkByName("lo"); err == nil {
			links = append(links, settingsOf(lo.Attrs().Index))
		}
	}
	if bytes.Equal(bytes.TrimSpace(value), []byte("1")) {
		return false
	}
	return !slices.ContainsFunc(links, func(s settings) bool { return s.noIPv6 })
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

// textOf is what is in an attribute before its first zero, or all of it: the beginning of a name has none.
func textOf(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}
