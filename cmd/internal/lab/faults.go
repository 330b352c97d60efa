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
