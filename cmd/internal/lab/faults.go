package lab

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// faultPriority is where the router's routing rules of faults are, before those that route.
const faultPriority = 100

// Cut drops every packet between the host and the internet, both ways and without a sign: no carrier loss, no ICMP,
// and a tap on the router's link still sees what the host sends. It stays through a reboot.
func (h *Host) Cut() error { return h.eachCut(netlink.RuleAdd, unix.EEXIST) }

// Restore undoes Cut.
func (h *Host) Restore() error { return h.eachCut(netlink.RuleDel, unix.ENOENT) }

func (h *Host) eachCut(change func(*netlink.Rule) error, done error) error {
	for _, own := range h.eachFamily(netip.Prefix.Masked) {
		from, to := blackhole(own), blackhole(own)
		from.IifName, from.Dst = h.spec.Name, nil
		for _, rule := range []*netlink.Rule{from, to} {
			if err := change(rule); err != nil && !errors.Is(err, done) {
				return fmt.Errorf("cutting or restoring %s: rule %v: %v", h.Name(), rule, err)
			}
		}
	}
	return nil
}

// Block drops packets from the host to the prefix inside the internet, in this direction only and without a sign.
func (h *Host) Block(to netip.Prefix) error { return h.eachBlock(to, netlink.RuleAdd, unix.EEXIST) }

// Unblock undoes Block of the same prefix.
func (h *Host) Unblock(to netip.Prefix) error { return h.eachBlock(to, netlink.RuleDel, unix.ENOENT) }

func (h *Host) eachBlock(to netip.Prefix, change func(*netlink.Rule) error, done error) error {
	rule := blackhole(to.Masked())
	rule.IifName = h.spec.Name
	if err := change(rule); err != nil && !errors.Is(err, done) {
		return fmt.Errorf("blocking or unblocking %v for %s: %v", to, h.Name(), err)
	}
	return nil
}

// blackhole is a rule that drops packets to a prefix.
func blackhole(to netip.Prefix) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Priority = faultPriority
	rule.Type = unix.RTN_BLACKHOLE
	rule.Family = unix.AF_INET
	if to.Addr().Is6() {
		rule.Family = unix.AF_INET6
	}
	rule.Dst = ipNet(to)
	return rule
}

// removeFaults takes all faults away: a program may build another lab.
func removeFaults() error {
	rules, err := netlink.RuleList(netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("listing the internet's faults: %v", err)
	}
	for _, rule := range rules {
		if rule.Priority != faultPriority {
			continue
		}
		if err := netlink.RuleDel(&rule); err != nil {
			return fmt.Errorf("removing fault %v: %v", rule, err)
		}
	}
	return nil
}

// SetMTU sets what a packet between the host and the internet may have, at the host's end and at the router's. Where the
// router's is smaller, larger packets are lost, and the host knows only by ICMP, if at all.
func (h *Host) SetMTU(own, router int) error {
	set := func(name string, mtu int) error {
		link, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetMTU(link, mtu)
		}
		if err != nil {
			return fmt.Errorf("setting the MTU of %s for %s: %v", name, h.Name(), err)
		}
		return nil
	}
	return errors.Join(set(h.spec.Name, router), h.Do(func() error { return set(uplink, own) }))
}

// DeleteLink deletes a link of the host, as ip link del does.
func (h *Host) DeleteLink(name string) error {
	err := h.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	})
	if err != nil {
		return fmt.Errorf("deleting link %s of %s: %v", name, h.Name(), err)
	}
	return nil
}

// DropICMP has the router say nothing of packets that it cannot pass on. Neighbours still find each other.
func (l *Lab) DropICMP() error {
	protocols := map[int]int{unix.AF_INET: unix.IPPROTO_ICMP}
	if haveIPv6() {
		protocols[unix.AF_INET6] = unix.IPPROTO_ICMPV6
	}
	for family, protocol := range protocols {
		rule := netlink.NewRule()
		rule.Priority, rule.Type, rule.Family = faultPriority, unix.RTN_BLACKHOLE, family
		rule.IifName, rule.IPProto = "lo", protocol
		if err := netlink.RuleAdd(rule); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("dropping the router's ICMP: %v", err)
		}
	}
	return nil
}
