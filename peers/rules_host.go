package peers

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/peers/key"
)

const maxEndpoints = 16

func (op EnrollHost) apply(d *draft) {
	id := HostID(op.Identity.Fingerprint())
	at := "host/" + op.Name
	d.checkName(at, op.Name)
	if op.Identity.IsZero() {
		d.refuse("identity-missing", at, "", "the host has no identity")
	}
	if h := d.next.Hosts[id]; h != nil {
		d.refuse("identity-enrolled", at, "on the host: warren status",
			"this identity is enrolled as %q, which is %s", h.Name, h.State)
	}
	if b := d.next.Buried[id]; b != nil {
		d.refuse("identity-revoked", at,
			"on the host: warren leave --force, then warren enroll TOKEN",
			"this identity was revoked when the host was named %q", b.Name)
	}
	if a, ok := d.next.AdminWith(op.Identity); ok {
		d.refuse("identity-taken", at, "enrol the host with an identity of its own", "admin %q has the same identity", a.Name)
	}
	if h, taken := d.next.HostNamed(op.Name); taken && h.ID != id {
		d.refuse("name-taken", at, "choose another with --name, or remove the old host: warren host rm "+op.Name,
			"there is a host %q already, it is %s", h.Name, h.State)
	}
	h := Host{
		ID: id, Name: op.Name, Identity: op.Identity, State: HostActive, Enrolled: d.change.At,
		Joined: d.prev.Revision + 1, Token: op.Token, Port: op.Port, Endpoints: slices.Clone(op.Endpoints),
	}
	d.useToken(op, &h)
	h.Keys = d.mergeKeys(&h, op.Keys)
	if !hasKey(h.Keys, d.next.Mesh.Current()) {
		d.refuse("key-missing", at, "", "the host has no WireGuard key of generation %d", d.next.Mesh.Current())
	}
	d.checkReach(at, h.Port, h.Endpoints)
	d.allocate(&h)
	d.putHost(h)
}

func (d *draft) useToken(op EnrollHost, h *Host) {
	t := d.next.Tokens[op.Token]
	if t == nil {
		d.refuse("token-unknown", "token/"+op.Token, "ask an admin for a new one: warren token create",
			"there is no such token")
		return
	}
	d.problems = append(d.problems, t.problems(op.Name, d.change.At)...)
	h.Site = t.Site
	if t.Approve {
		h.State = HostPending
	}
	used := *t
	used.Used++
	d.putToken(used)
}

// allocate gives the host the next free index of the overlay. The search goes on where the last one
// ended, so an address is not given to somebody else soon after its host was removed.
func (d *draft) allocate(h *Host) {
	m := d.next.Mesh
	var used map[netip.Addr]bool
	size := uint32(1) << (32 - m.Overlay.Bits())
	for range size {
		index := m.NextIndex
		if m.NextIndex++; m.NextIndex >= size-1 { // the last address is the subnet's broadcast address
			m.NextIndex = 1
		}
		if index < 1 || index >= size-1 {
			continue
		}
		h.Address, h.Address6 = nth(m.Overlay, index), nth(m.Overlay6, index)
		if used == nil && d.addressFree(h.Address) || used != nil && !used[h.Address] {
			d.putMesh(m)
			return
		}
		if used == nil {
			used = d.usedAddresses()
		}
	}
	d.refuse("overlay-full", "mesh/overlay", "remove hosts that are gone: warren host rm NAME",
		"no free address is left in %v", m.Overlay)
}

// addressFree is for the first try, which nearly always succeeds: it costs less than usedAddresses.
func (d *draft) addressFree(a netip.Addr) bool {
	for _, other := range d.next.Hosts {
		if other.Address == a {
			return false
		}
	}
	return true
}

func (d *draft) usedAddresses() map[netip.Addr]bool {
	used := make(map[netip.Addr]bool, len(d.next.Hosts))
	for _, other := range d.next.Hosts {
		used[other.Address] = true
	}
	return used
}

// nth is the address at an index of a prefix.
func nth(p netip.Prefix, index uint32) netip.Addr {
	b := p.Addr().AsSlice()
	for i := len(b) - 1; index > 0; i-- {
		sum := uint32(b[i]) + index&0xff
		b[i] = byte(sum)
		index = index>>8 + sum>>8
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func (op UpdateHost) apply(d *draft) {
	h, ok := d.host(op.ID)
	if !ok {
		return
	}
	at := "host/" + h.Name
	if h.State == HostRevoked {
		d.refuse("identity-revoked", at, "", "the host is revoked")
	}
	if op.Port != nil {
		h.Port = *op.Port
	}
	if op.Endpoints != nil {
		h.Endpoints = slices.Clone(op.Endpoints)
	}
	d.checkReach(at, h.Port, h.Endpoints)
	if op.Keys != nil {
		h.Keys = d.mergeKeys(&h, op.Keys)
	}
	d.putHost(h)
}

// mergeKeys is the host's keys with new ones, less those of generations that are gone.
func (d *draft) mergeKeys(h *Host, keys []HostKey) []HostKey {
	at := "host/" + h.Name + "/keys"
	merged := slices.Clone(h.Keys)
	for i, k := range keys {
		if slices.ContainsFunc(keys[:i], func(o HostKey) bool { return o.Generation == k.Generation }) {
			d.refuse("key-twice", at, "", "generation %d has two keys", k.Generation)
		}
		if !d.next.Mesh.HasGeneration(k.Generation) {
			d.refuse("key-generation", at, "", "generation %d is not in use", k.Generation)
		}
		if !VerifyKey(d.next.Mesh.ID, h.Identity, k) {
			d.refuse("key-signature", at, "", "the key of generation %d is not signed by the host's identity", k.Generation)
		}
		d.checkKeyFree(at, h.ID, k.Public)
		merged = slices.DeleteFunc(merged, func(old HostKey) bool { return old.Generation == k.Generation })
		if slices.ContainsFunc(merged, func(o HostKey) bool { return o.Public == k.Public }) {
			d.refuse("key-reused", at, "", "the key of generation %d is that of another generation too", k.Generation)
		}
		merged = append(merged, k)
	}
	merged = slices.DeleteFunc(merged, func(k HostKey) bool { return !d.next.Mesh.HasGeneration(k.Generation) })
	slices.SortFunc(merged, func(a, b HostKey) int { return cmp.Compare(a.Generation, b.Generation) })
	return merged
}

func (d *draft) checkKeyFree(at string, id HostID, public key.Public) {
	for _, other := range d.next.Hosts {
		for _, k := range other.Keys {
			if k.Public == public && other.ID != id {
				d.refuse("key-taken", at, "", "host %q has the same WireGuard key", other.Name)
			}
		}
	}
}

func hasKey(keys []HostKey, g Generation) bool {
	return slices.ContainsFunc(keys, func(k HostKey) bool { return k.Generation == g })
}

func (d *draft) checkReach(at string, port uint16, endpoints []Endpoint) {
	if port == 0 || port == 65535 {
		d.refuse("port-invalid", at+"/port", "", "%d is no usable port: two are needed, from 1 to 65534", port)
	}
	if len(endpoints) > maxEndpoints {
		d.refuse("endpoint-invalid", at+"/endpoints", "", "%d endpoints: %d at most", len(endpoints), maxEndpoints)
	}
	for i, e := range endpoints {
		if why := d.unusable(e); why != "" {
			d.refuse("endpoint-invalid", fmt.Sprintf("%s/endpoints/%d", at, i), "", "%v %s", e.Address, why)
		}
	}
}

// unusable says why nobody can reach a host at an endpoint; empty where they can.
func (d *draft) unusable(e Endpoint) string {
	a := e.Address.Addr()
	switch {
	case e.Kind.rank() < 0:
		return fmt.Sprintf("is of unknown kind %.20q", e.Kind)
	case !e.Address.IsValid() || a.Is4In6() || a.Zone() != "":
		return "is no plain address with a port"
	case e.Address.Port() == 0 || e.Address.Port() == 65535:
		return "has a port with no room for a second one behind it"
	case a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() || a == broadcast():
		return "cannot be reached from other hosts"
	case d.next.Mesh.Overlay.Contains(a) || d.next.Mesh.Overlay6.Contains(a):
		return "lies within the overlay: the tunnel would run through itself"
	}
	return ""
}

// broadcast is the limited broadcast address (RFC 919 §7).
func broadcast() netip.Addr { return netip.AddrFrom4([4]byte{255, 255, 255, 255}) }

func (d *draft) host(id HostID) (Host, bool) {
	h := d.next.Hosts[id]
	if h == nil {
		d.refuse("host-unknown", "host/"+string(id), "warren host ls", "there is no such host")
		return Host{}, false
	}
	return *h, true
}

func (op SetHostState) apply(d *draft) {
	h, ok := d.host(op.ID)
	if !ok {
		return
	}
	at := "host/" + h.Name
	switch {
	case h.State == op.State:
		d.refuse("state-same", at, "", "it is %s already", h.State)
	case h.State == HostRevoked:
		d.refuse("state-revoked", at, "enrol the machine anew with a token", "a revoked host stays revoked")
	case op.State == HostActive || op.State == HostRevoked:
	case op.State == HostSuspended && h.State == HostActive:
	case op.State == HostSuspended:
		d.refuse("state-order", at, "warren host approve "+h.Name, "a %s host cannot be suspended", h.State)
	default:
		d.refuse("state-invalid", at, "", "%.40q is no state that a host can be set to", op.State)
	}
	h.State = op.State
	d.putHost(h)
}

func (op RemoveHost) apply(d *draft) {
	h, ok := d.host(op.ID)
	if !ok {
		return
	}
	for _, s := range d.next.sortedSites() {
		if slices.Contains(s.Gateways, h.Name) {
			d.refuse("host-used", "host/"+h.Name, "take it out of the site first", "it is a gateway of site %q", s.Name)
		}
	}
	if h.State == HostRevoked {
		d.bury(Tombstone{ID: h.ID, Name: h.Name, Buried: d.change.At})
	}
	d.dropHost(h.ID)
}
