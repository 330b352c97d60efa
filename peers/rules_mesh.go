package peers

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Defaults of a mesh.
const (
	DefaultMTU       = 1420 // 1500 less 80 bytes: IPv6, UDP and WireGuard headers
	DefaultKeepalive = 25   // seconds, below the 30 s after which NAT tables forget UDP flows (RFC 4787 REQ-5 allows 120)
	DefaultPort      = 51820
	DefaultGrace     = 7 * 24 * time.Hour // a host that is away for longer is left behind by a rotation
	minMTU           = 1280               // RFC 8200 §5: IPv6 needs it
	maxMTU           = 9000
	minGrace         = 10 * time.Second
	maxGrace         = 90 * 24 * time.Hour
)

func (op CreateMesh) apply(d *draft) {
	if d.prev.Revision != 0 {
		d.refuse("mesh-exists", "mesh", "", "the mesh %q exists already", d.prev.Mesh.Name)
		return
	}
	d.checkName("mesh", op.Name)
	if !isHandle(op.ID, 64) {
		d.refuse("mesh-id", "mesh", "", "the mesh has no usable id")
	}
	d.checkOverlay(op.Overlay, 4, 8, 28)
	d.checkOverlay(op.Overlay6, 6, 32, 112)
	if op.Overlay.IsValid() && op.Overlay6.IsValid() && 128-op.Overlay6.Bits() < 32-op.Overlay.Bits() {
		d.refuse("overlay-invalid", "mesh/overlay6", fmt.Sprintf("use a /%d or larger", 96+op.Overlay.Bits()),
			"%v has fewer addresses than %v", op.Overlay6, op.Overlay)
	}
	d.putMesh(Mesh{
		ID: op.ID, Name: op.Name, Overlay: op.Overlay, Overlay6: op.Overlay6,
		MTU: DefaultMTU, Keepalive: DefaultKeepalive, Created: d.change.At,
		Generations: []GenerationMark{{Number: 1, Started: d.change.At}}, NextIndex: 1,
	})
}

// checkOverlay checks a prefix that addresses of hosts come from. Only private ranges (RFC 1918,
// RFC 6598, RFC 4193) are let in: anything else would take addresses away from the internet.
func (d *draft) checkOverlay(p netip.Prefix, family, shortest, longest int) {
	at, ranges := "mesh/overlay", "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10"
	if family == 6 {
		at, ranges = "mesh/overlay6", "fc00::/7"
	}
	switch {
	case !p.IsValid() || p.Addr().Is4() != (family == 4) || p.Addr().Is4In6():
		d.refuse("overlay-invalid", at, "", "%v is no IPv%d prefix", p, family)
	case p != p.Masked():
		d.refuse("overlay-invalid", at, fmt.Sprintf("write %v", p.Masked()), "%v has bits set behind its length", p)
	case p.Bits() < shortest || p.Bits() > longest:
		d.refuse("overlay-invalid", at, "", "%v must be between /%d and /%d", p, shortest, longest)
	case !slices.ContainsFunc(privateRanges(), func(r netip.Prefix) bool {
		return r.Bits() <= p.Bits() && r.Contains(p.Addr())
	}):
		d.refuse("overlay-public", at, "use a part of "+ranges, "%v is not a private range", p)
	}
}

func privateRanges() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
		netip.MustParsePrefix("fc00::/7"),
	}
}

func (op SetMesh) apply(d *draft) {
	m := d.next.Mesh
	if op.MTU == nil && op.Keepalive == nil && op.Grace == nil {
		d.refuse("change-empty", "mesh", "name a setting: mtu=1380, keepalive=25 or grace=7d", "nothing to set")
	}
	if op.MTU != nil {
		if m.MTU = *op.MTU; m.MTU < minMTU || m.MTU > maxMTU {
			d.refuse("mtu-invalid", "mesh/mtu", "", "%d is no MTU for a tunnel: want %d to %d bytes", m.MTU, minMTU, maxMTU)
		}
	}
	if op.Keepalive != nil {
		if m.Keepalive = *op.Keepalive; m.Keepalive < 5 || m.Keepalive > 120 {
			d.refuse("keepalive-invalid", "mesh/keepalive", "", "%d s is no keepalive: want 5 to 120 s", m.Keepalive)
		}
	}
	if op.Grace != nil {
		m.Grace = *op.Grace
		d.checkGrace(m.GraceTime(), "mesh/grace")
		if n := len(m.Generations); n > 0 { // what is said last counts, for a rotation that runs as well
			m.Generations = slices.Clone(m.Generations)
			m.Generations[n-1].Grace = 0
		}
	}
	d.putMesh(m)
}

// checkGrace holds a time to wait for hosts that are away against its bounds.
func (d *draft) checkGrace(grace time.Duration, at string) {
	if grace < minGrace || grace > maxGrace {
		d.refuse("grace-invalid", at, "for instance: 10m or 7d", "%s is no time to wait for hosts that are away: want %s to %s",
			FormatSpan(grace), FormatSpan(minGrace), FormatSpan(maxGrace))
	}
}

func (op StartGeneration) apply(d *draft) {
	m := d.next.Mesh
	at := fmt.Sprintf("generation/%d", op.Number)
	if len(m.Generations) != 1 {
		d.refuse("rotation-running", at, "warren rotate status", "a rotation to generation %d is running", m.Current())
	}
	if op.Number != m.NextGeneration() {
		d.refuse("generation-order", at, "", "generation %d does not follow on %d", op.Number, m.Current())
	}
	if op.Grace != 0 {
		d.checkGrace(time.Duration(op.Grace)*time.Second, at+"/grace")
	}
	m.Generations = append(slices.Clone(m.Generations), GenerationMark{Number: op.Number, Started: d.change.At, Grace: op.Grace})
	d.putMesh(m)
}

func (op RetireGeneration) apply(d *draft) {
	m := d.next.Mesh
	if len(m.Generations) != 2 || m.Generations[0].Number != op.Number {
		d.refuse("generation-order", fmt.Sprintf("generation/%d", op.Number), "warren rotate status",
			"generation %d is not the older one of two", op.Number)
		return
	}
	if m.Generations[1].Held != 0 {
		d.refuse("generation-held", fmt.Sprintf("generation/%d", m.Current()), "warren rotate status",
			"generation %d is held: it may be the one that goes", m.Current())
	}
	if op.Cut < 0 {
		d.refuse("cut-invalid", fmt.Sprintf("generation/%d", op.Number), "", "%d pairs cannot be cut off", op.Cut)
	}
	for i, id := range op.Behind {
		if h, ok := d.host(id); ok && hasKey(h.Keys, m.Current()) || slices.Contains(op.Behind[:i], id) {
			d.refuse("behind-invalid", "host/"+h.Name, "", "host %q is not behind, or is named twice", h.Name)
		}
	}
	m.Generations = slices.Clone(m.Generations[1:])
	d.putMesh(m)
}
