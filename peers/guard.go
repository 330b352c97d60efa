package peers

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// GuardTable is the one nftables table that is ours, of the family inet.
const GuardTable = "warren"

// guardEdition goes up when the same Guard is made into other rules than before, so that a newer agent
// replaces the table that an older one has left.
const guardEdition = 1

// A Guard is what must be in the nftables table of a host. The table is replaced as a whole and at once.
// An empty guard has no table.
type Guard struct {
	// Clamp lowers the segment size that the ends of forwarded TCP connections agree on to what fits into
	// one packet of the tunnel, in both directions and both families: they learn of its MTU by ICMP only,
	// which is often dropped.
	Clamp bool
}

// A Table is the nftables table as it is.
type Table struct {
	There  bool
	Digest string // of the Guard that it was made from; empty where somebody has changed the table since
	Fault  string // why there can be none, for people; then the host does without
}

// Guard is the guard of a host with this plan.
func (p Plan) Guard() Guard { return Guard{Clamp: len(p.Interfaces) > 0} }

// IsEmpty reports whether the guard needs no table.
func (g Guard) IsEmpty() bool { return g == Guard{} }

// String prints the guard in the manner of nft(8).
func (g Guard) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", GuardTable)
	if g.Clamp {
		b.WriteString("\tchain clamp {\n\t\ttype filter hook forward priority mangle; policy accept;\n")
		for _, way := range []string{"iifname", "oifname"} {
			fmt.Fprintf(&b, "\t\t%s \"wrn*\" tcp flags syn / syn,rst tcp option maxseg size set rt mtu\n", way)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// Digest tells guards apart. It is kept in the table, so that an agent which finds one knows what it is.
func (g Guard) Digest() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\n%v", guardEdition, g))
	return hex.EncodeToString(sum[:8])
}

// guard makes the table right. It is the first of all steps: no packet takes a new way before it.
func (d *differ) guard() {
	have, want := d.state.Guard, d.plan.Guard()
	switch {
	case have.Fault != "":
	case want.IsEmpty():
		if have.There {
			d.shrink = append(d.shrink, DelGuard{})
		}
	case have.Digest != want.Digest():
		d.build = append(d.build, SetGuard{Guard: want})
	}
}
