package peers

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// GuardTable is the one nftables table that is ours, of the family inet.
const GuardTable = "warren"

// guardEdition goes up when the same Guard is made into other rules than before, so that a newer agent
// replaces the table that an older one has left.
const guardEdition = 6

// A Guard is what must be in the nftables table of a host. The table is replaced as a whole and at once.
// An empty guard has no table.
type Guard struct {
	// Clamp lowers the segment size that the ends of forwarded TCP connections agree on to what fits into
	// one packet of the tunnel, in both directions and both families: they learn of its MTU by ICMP only,
	// which is often dropped.
	Clamp bool
	// Knocks are the UDP ports of the slots, 0 for none, at which it notes from where handshakes are begun. Both are there
	// at all times, so that a guard is the same before, in and after a rotation.
	Knocks [2]uint16
	// Wall lets packets pass or not; nil lets all pass.
	Wall *Wall
}

// A Table is the nftables table as it is.
type Table struct {
	There  bool
	Digest string // of the Guard that it was made from; empty where somebody has changed the table since
	Fault  string // why there can be none, for people; then the host does without
}

// Guard is the guard of a host with this plan: the one that it was given, or one without options.
func (p Plan) Guard() Guard {
	if p.Guarded != nil {
		return *p.Guarded
	}
	return p.CompileGuard(GuardOptions{})
}

// IsEmpty reports whether the guard needs no table.
func (g Guard) IsEmpty() bool { return !g.Clamp && !g.notes() && g.Wall == nil }

// notes reports whether the guard notes where handshakes are begun.
func (g Guard) notes() bool { return g.Knocks != [2]uint16{} }

// knockRules recognise the first message of a handshake by its length, reserved bytes and port: by the length first, which
// few packets have.
func (g Guard) knockRules() []string {
	var ports []string
	for _, port := range g.Knocks {
		if port != 0 {
			ports = append(ports, fmt.Sprint(port))
		}
	}
	switch len(ports) {
	case 0:
		return nil
	case 1:
		return []string{"udp length 156 @th,64,32 0x1000000 udp dport " + ports[0] + " jump knocked"}
	}
	return []string{"udp length 156 @th,64,32 0x1000000 udp dport { " + strings.Join(ports, ", ") + " } jump knocked"}
}

// KnockKept is how long the guard remembers where a handshake was begun. It is begun again every 5 s.
const KnockKept = 12 * time.Second

// MostKnocks bounds what the guard remembers: who sends from many made up addresses fills it, and then nobody
// is cured.
const MostKnocks = 4096

// Digest tells guards apart. It is kept in the table, so that an agent which finds one knows what it is.
func (g Guard) Digest() string {
	wall := g.Wall.digest()
	g.Wall = nil
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\n%s\n%s", guardEdition, g.text(""), wall))
	return hex.EncodeToString(sum[:8])
}

// SetEnd is the end of the names of all that rules of the guard look things up in, so that those of two guards can be in the
// table at once.
func (g Guard) SetEnd() string { return "." + g.Digest()[:8] }

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
