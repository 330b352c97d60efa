package peers

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// DoubleTable is the nftables table of each of the families ip and ip6 while packets are sent a second time: the
// kernel does not do that in a table of both.
const DoubleTable = "warren-double"

// DoubleMark is on the second copy of a packet while it leaves, by which the guard knows it.
const DoubleMark = 0x77726e32

// A second copy that waits does so in a queue of the kernel (NFQUEUE), from where it goes on after HoldFor.
const (
	HoldQueue = 0x7772
	HoldFor   = 200 * time.Millisecond
)

// A Doubling says which packets are sent a second time, and to whom. A gateway that hands its site over to another
// one sends each packet from its LAN into the mesh, and to the LAN address of the other one. A host takes packets of
// the site from one of the two at a time (an allowed IP belongs to one peer), so it takes exactly one copy, at
// whatever moment it changes from the one to the other: the earlier one before it changes and the later one after. So the
// copy that goes by the other gateway has to be the later one, also where that way is faster.
type Doubling struct {
	Link  string         // to the LAN
	From  []netip.Prefix // networks on the LAN
	Near  netip.Addr     // the other gateway, IPv4; invalid for none
	Near6 netip.Addr
	Held  bool // copies wait before they leave; else they may overtake the packets themselves
}

// IsEmpty reports whether nothing is sent a second time.
func (g Doubling) IsEmpty() bool { return !g.Near.IsValid() && !g.Near6.IsValid() }

// Digest tells doublings apart; empty for none.
func (g Doubling) Digest() string {
	if g.IsEmpty() {
		return ""
	}
	sum := sha256.Sum256([]byte(g.String()))
	return hex.EncodeToString(sum[:8])
}

// Of are the networks of a family, and to whom packets from there go.
func (g Doubling) Of(ipv6 bool) (from []netip.Prefix, to netip.Addr) {
	to = g.Near
	if ipv6 {
		to = g.Near6
	}
	for _, p := range g.From {
		if p.Addr().Is6() == ipv6 {
			from = append(from, p)
		}
	}
	return from, to
}

// String prints the rules in the manner of nft(8), one line for each family.
func (g Doubling) String() string {
	var b strings.Builder
	for _, ipv6 := range []bool{false, true} {
		family := map[bool]string{false: "ip", true: "ip6"}[ipv6]
		if from, to := g.Of(ipv6); to.IsValid() && len(from) > 0 {
			fmt.Fprintf(&b, "table %s %s: oifname wrn* %s saddr %v dup to %v device %s", family, DoubleTable, family, from, to, g.Link)
			if g.Held {
				fmt.Fprintf(&b, ", held for %v", HoldFor)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// SetDoubling sends packets a second time, as a Doubling says and no others; an empty one sends none.
type SetDoubling struct{ Doubling Doubling }

func (SetDoubling) step() {}

// String prints the step.
func (s SetDoubling) String() string {
	if s.Doubling.IsEmpty() {
		return "nft delete tables ip, ip6 " + DoubleTable
	}
	return "nft replace " + strings.TrimSuffix(strings.ReplaceAll(s.Doubling.String(), "\n", "; "), "; ")
}

// double makes the doubling right. It is among the first steps: it is there before anybody is told to change.
func (d *differ) double() {
	have, want := d.state.Doubling, d.plan.Doubling
	if have.Fault == "" && (have.Digest != want.Digest() || have.There == want.IsEmpty()) {
		d.build = append(d.build, SetDoubling{Doubling: want})
	}
}
