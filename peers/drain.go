package peers

import (
	"fmt"
	"slices"
)

// DrainHost has a gateway left by everybody, before work on it, or ends that. It stays in the mesh, and serves where no
// other gateway of its site is fit.
type DrainHost struct {
	ID    HostID `json:"id"`
	Drain bool   `json:"drain,omitempty"` // false: it serves again
}

// Kind is "host.drain".
func (DrainHost) Kind() string { return "host.drain" }

func (op DrainHost) apply(d *draft) {
	h, ok := d.host(op.ID)
	if !ok {
		return
	}
	at := "host/" + h.Name
	switch {
	case op.Drain == h.Draining && op.Drain:
		d.refuse("drain-already", at, "warren host undrain "+h.Name, "host %q is drained already", h.Name)
	case op.Drain == h.Draining:
		d.refuse("drain-not", at, "", "host %q is not drained", h.Name)
	case op.Drain:
		d.checkDrain(at, &h)
	}
	h.Draining = op.Drain
	d.putHost(h)
}

// checkDrain checks that somebody else can do what the host does.
func (d *draft) checkDrain(at string, h *Host) {
	site := d.next.Sites[h.Site]
	if site == nil || len(site.Prefixes) == 0 || !slices.Contains(site.Gateways, h.Name) {
		d.refuse("drain-useless", at, "warren site show "+h.Site, "host %q is no gateway: nothing of others goes through it", h.Name)
		return
	}
	for _, name := range site.Gateways {
		if other, ok := d.next.HostNamed(name); ok && name != h.Name && d.next.planned(other) && !other.Draining {
			return
		}
	}
	d.refuse("drain-last", at, fmt.Sprintf("give the site another one: warren site set %s --gateway HOST", site.Name),
		"site %q has no other gateway that could take over from host %q", site.Name, h.Name)
}

func (op DrainHost) tell(h *Host) string {
	if op.Drain {
		return fmt.Sprintf("host %s is drained: the other gateways of site %s take over", h.Name, h.Site)
	}
	return fmt.Sprintf("host %s serves again as a gateway of site %s", h.Name, h.Site)
}
