package linux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// Settings of links that bear on forwarding, beside those of settings.go. The tag of a link is a number which the
// kernel keeps for whoever has a use for it (ip-sysctl(7), net.ipv4.conf.*.tag): there we note what we have turned on.
const (
	devconfForwarding = 1  // in iflaInetConf
	devconfTag        = 12 // in iflaInetConf
	devconfForce6     = 59 // force_forwarding in iflaInet6Conf, of Linux 6.17
)

// What our tags look like.
const (
	tagOurs = 0x77720000 // "wr"
	tagIPv4 = 1          // we have turned forwarding on
	tagIPv6 = 2
	tagMask = tagIPv4 | tagIPv6
)

const skipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS

// forwarding reads what comes in by which links is forwarded.
func (k *Kernel) forwarding(s *peers.State) error {
	all6 := isOn("net/ipv6/conf/all/forwarding")
	s.Forward6 = peers.Forward6None
	rows, err := dump(func() ([][]byte, error) {
		request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
		request.AddData(linkMessage(0))
		request.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats)))
		return request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	})
	if err != nil {
		return fmt.Errorf("read settings of interfaces: %v", err)
	}
	for _, row := range rows {
		if len(row) < unix.SizeofIfInfomsg {
			continue
		}
		index := nl.DeserializeIfInfomsg(row).Index
		row = row[unix.SizeofIfInfomsg:]
		spec := attribute(row, unix.IFLA_AF_SPEC)
		four := attribute(attribute(spec, unix.AF_INET), iflaInetConf)
		if index == loopback {
			s.Redirects = isRedirects(four)
			continue
		}
		six := attribute(attribute(spec, unix.AF_INET6), iflaInet6Conf)
		f := peers.Forwarding{
			Link: nl.BytesToString(attribute(row, unix.IFLA_IFNAME)),
			IPv4: setting(four, devconfForwarding-1) != 0, IPv6: all6 || setting(six, devconfForce6) != 0,
		}
		if len(six) > 4*devconfForce6 {
			s.Forward6 = peers.Forward6Each
		}
		if tag := setting(four, devconfTag-1); tag&^tagMask == tagOurs {
			f.Ours4, f.Ours6 = tag&tagIPv4 != 0, tag&tagIPv6 != 0
		}
		s.Forwarding = append(s.Forwarding, f)
	}
	if all6 {
		s.Forward6 = peers.Forward6All
	}
	return nil
}

// setting is one of an array of settings; 0 where the kernel does not have it.
func setting(conf []byte, at int) uint32 {
	if len(conf) < 4*(at+1) {
		return 0
	}
	return binary.NativeEndian.Uint32(conf[4*at:])
}

// isOn reads a switch below /proc/sys; one that cannot be read is off.
func isOn(name string) bool {
	value, err := os.ReadFile(filepath.Join("/proc/sys", name))
	return err == nil && !bytes.Equal(bytes.TrimSpace(value), []byte("0"))
}

// setForwarding turns forwarding on for a link, and notes that, or takes it back. IPv6 has its switch below /proc/sys
// alone. The note comes first and goes last: what is noted and was not done is nothing to take back.
func (k *Kernel) setForwarding(s peers.SetForwarding) error {
	link, err := k.lookup(s.Link)
	if err != nil || link == nil {
		return err // one that has gone has taken its settings along
	}
	index := link.Attrs().Index
	conf, err := inetConf(index)
	if err != nil {
		return err
	}
	tag, bit := setting(conf, devconfTag-1), uint32(tagIPv4)
	if s.IPv6 {
		bit = tagIPv6
	}
	if tag != 0 && tag&^tagMask != tagOurs {
		return fmt.Errorf("net.ipv4.conf.%s.tag is %d, which somebody else needs; it is where is noted what to restore", s.Link, tag)
	}
	on := uint32(0)
	next := tag &^ bit
	if s.On {
		on, next = 1, tag|tagOurs|bit
	}
	if next&tagMask == 0 {
		next = 0
	}
	if s.IPv6 {
		return k.setForwarding6(index, s, tag, next)
	}
	if !s.On && isOn("net/ipv4/ip_forward") {
		on = 1 // by now it is on for the whole host
	}
	return explain(k.wrote(setInetConf(index, map[int]uint32{devconfForwarding: on, devconfTag: next})))
}

func (k *Kernel) setForwarding6(index int, s peers.SetForwarding, tag, next uint32) error {
	value := []byte("0")
	if s.On {
		value = []byte("1")
		if err := k.wrote(setInetConf(index, map[int]uint32{devconfTag: next})); err != nil {
			return explain(err)
		}
	}
	path := filepath.Join("/proc/sys/net/ipv6/conf", s.Link, "force_forwarding")
	if err := os.WriteFile(path, value, 0); err != nil {
		if s.On {
			err = errors.Join(err, k.wrote(setInetConf(index, map[int]uint32{devconfTag: tag})))
		}
		return err
	}
	if s.On {
		return nil
	}
	return explain(k.wrote(setInetConf(index, map[int]uint32{devconfTag: next})))
}

// inetConf is the array of IPv4 settings of a link.
func inetConf(index int) ([]byte, error) {
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	request.AddData(linkMessage(index))
	answers, err := request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil || len(answers) == 0 || len(answers[0]) < unix.SizeofIfInfomsg {
		return nil, errors.Join(errors.New("its settings cannot be read"), err)
	}
	spec := attribute(answers[0][unix.SizeofIfInfomsg:], unix.IFLA_AF_SPEC)
	return attribute(attribute(spec, unix.AF_INET), iflaInetConf), nil
}

// setInetConf changes IPv4 settings of a link in one message.
func setInetConf(index int, values map[int]uint32) error {
	request := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	request.AddData(linkMessage(index))
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	conf := spec.AddRtAttr(unix.AF_INET, nil).AddRtAttr(iflaInetConf, nil)
	for which, value := range values {
		conf.AddRtAttr(which, nl.Uint32Attr(value))
	}
	request.AddData(spec)
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
