package peers

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/warren-mesh/warren/peers/key"
)

// A Revision counts the changes of a mesh: 1 is the one that created it, 0 is before.
type Revision uint64

// A Generation numbers one mesh-wide set of WireGuard keys: 1, 2, 3 …; 0 is none.
type Generation uint64

// Slot is the interface that a generation lives on: 0 for wrn0, 1 for wrn1.
func (g Generation) Slot() int { return int(g % 2) }

// Link is the name of the interface that a generation lives on.
func (g Generation) Link() string {
	if g.Slot() == 0 {
		return "wrn0"
	}
	return "wrn1"
}

// A HostID is the fingerprint of a host's identity (key.Identity.Fingerprint).
type HostID string

// An Inventory is all that the ledger adds up to at one revision. It is immutable: nobody may write to
// what it holds. The zero Inventory is the one before the mesh was created.
type Inventory struct {
	Revision Revision
	Head     Hash // of the entry that led to this revision
	Mesh     Mesh
	Hosts    map[HostID]*Host
	Sites    map[string]*Site
	Tokens   map[string]*Token
	Admins   map[string]*Admin
	Buried   map[HostID]*Tombstone
	Policy   *Policy  // nil: there never was one, everybody may talk to everybody
	Pending  *Pending // nil: no change waits to be confirmed
}

// A Mesh is what holds for all hosts.
type Mesh struct {
	ID          string           `json:"id"`
	Name        string           `json:"name"`
	Overlay     netip.Prefix     `json:"overlay"`  // IPv4
	Overlay6    netip.Prefix     `json:"overlay6"` // IPv6, unique local (RFC 4193)
	MTU         int              `json:"mtu"`      // of the tunnel interfaces, bytes
	Keepalive   int              `json:"keepalive"`
	Created     time.Time        `json:"created"`
	Dropped     *DroppedMark     `json:"dropped,omitempty"`  // the rotation that was given up last
	Generations []GenerationMark `json:"generations"`        // one, or two while a rotation runs, ascending
	NextIndex   uint32           `json:"next_index"`         // where the search for a free address begins
	Schedule    *Schedule        `json:"schedule,omitempty"` // of rotations
	Pin         key.Identity     `json:"pin,omitzero"`       // of the controller, where it is not the first one that it had
	Heir        *Succession      `json:"heir,omitempty"`     // the next identity of the controller
	// Grace is for how long a rotation waits for hosts that are away, in seconds; 0 is DefaultGrace.
	Grace int `json:"grace,omitempty"`
}

// A GenerationMark says since when a generation exists.
type GenerationMark struct {
	Number  Generation `json:"number"`
	Started time.Time  `json:"started"`
	// Held is the revision at which it was held, so that no more traffic moves to it; 0 while it is not.
	Held Revision `json:"held,omitempty"`
	// Grace is for how many seconds the rotation to it waits for hosts that are away; 0: as long as the mesh has it.
	Grace int `json:"grace,omitempty"`
}

// A HostState says whether a host takes part.
type HostState string

// The states of a host. Only an active host is in anybody's plan.
const (
	HostPending   HostState = "pending"   // enrolled, waits for an admin's approval
	HostActive    HostState = "active"    // takes part
	HostSuspended HostState = "suspended" // taken out by an admin, may be resumed
	HostRevoked   HostState = "revoked"   // its identity never comes back
)

// A Host is an enrolled machine.
type Host struct {
	ID        HostID       `json:"id"`
	Name      string       `json:"name"`
	Site      string       `json:"site"`
	Identity  key.Identity `json:"identity"`
	State     HostState    `json:"state"`
	Address   netip.Addr   `json:"address"`
	Address6  netip.Addr   `json:"address6"`
	Enrolled  time.Time    `json:"enrolled"`
	Joined    Revision     `json:"joined"` // the revision that enrolled it
	Token     string       `json:"token"`  // the id of the token it came with
	Port      uint16       `json:"port"`   // UDP, of slot 0; slot 1 uses the next one
	Endpoints []Endpoint   `json:"endpoints"`
	Keys      []HostKey    `json:"keys"`             // by generation, ascending
	Former    []Handover   `json:"former,omitempty"` // the identities before this one, the first one first
	Rekey     *time.Time   `json:"rekey,omitempty"`  // since when an admin wants it to have a new identity
	// Draining says that it is to be left by everybody, as a gateway.
	Draining bool `json:"draining,omitempty"`
	// Labels are what selectors of a policy may ask for.
	Labels map[string]string `json:"labels,omitempty"`
}

// Addresses are the overlay addresses of the host as single-address prefixes, IPv4 first.
func (h *Host) Addresses() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(h.Address, 32), netip.PrefixFrom(h.Address6, 128)}
}

// An EndpointKind says where a candidate comes from; the kinds are tried in this order.
type EndpointKind string

// The kinds of endpoint candidates.
const (
	EndpointPinned   EndpointKind = "pinned"   // given by the operator of the host
	EndpointObserved EndpointKind = "observed" // the address from which the host reaches the controller
	EndpointLocal    EndpointKind = "local"    // an address of one of the host's interfaces
)

// An Endpoint is a candidate for where a host may be reached from outside. The port is that of slot 0;
// slot 1 is at the next one.
type Endpoint struct {
	Kind    EndpointKind   `json:"kind"`
	Address netip.AddrPort `json:"address"`
}

// At is the address at which the interface of generation g answers.
func (e Endpoint) At(g Generation) netip.AddrPort {
	return netip.AddrPortFrom(e.Address.Addr(), e.Address.Port()+uint16(g.Slot()))
}

// A HostKey is a host's WireGuard public key of one generation, signed by the host's identity.
type HostKey struct {
	Generation Generation `json:"generation"`
	Public     key.Public `json:"public"`
	Signature  []byte     `json:"signature"` // see SignKey
}

// A Site is a place with hosts, and with LAN prefixes behind its gateways.
type Site struct {
	Name     string       `json:"name"`
	Prefixes []SitePrefix `json:"prefixes,omitempty"`
	Gateways []string     `json:"gateways,omitempty"` // host names, in order of priority
	// Virtual and Virtual6 are the addresses, on the LAN, of whichever gateway acts, by family; invalid for none. They
	// are for LANs that cannot learn by themselves which gateway to send to.
	Virtual  netip.Addr `json:"virtual_ip,omitzero"`
	Virtual6 netip.Addr `json:"virtual_ip6,omitzero"`
	// LANCheck are addresses of the LAN that each gateway asks whether they are there. One that hears of none of them has
	// lost its LAN, whatever the carrier of its link says.
	LANCheck []netip.Addr `json:"lan_check,omitempty"`
}

// A Token lets hosts of one site enrol.
type Token struct {
	ID      string    `json:"id"`
	Hash    Hash      `json:"hash"` // SHA-256 of the secret, which has 256 random bits
	Site    string    `json:"site"`
	Name    string    `json:"name,omitempty"` // the only host name it admits, where set
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Uses    int       `json:"uses"`              // how often it may be used
	Used    int       `json:"used"`              // how often it was; the hosts say by whom
	Approve bool      `json:"approve,omitempty"` // hosts start pending
	Revoked bool      `json:"revoked,omitempty"`
}

// An Admin may do everything from elsewhere, known by an identity key.
type Admin struct {
	Name     string       `json:"name"`
	Identity key.Identity `json:"identity"`
	Added    time.Time    `json:"added"`
}

// A Tombstone keeps an identity out that was revoked, when its host was removed from the inventory, or
// given up for a new one.
type Tombstone struct {
	ID     HostID    `json:"id"`
	Name   string    `json:"name"`
	Buried time.Time `json:"buried"`
	Heir   HostID    `json:"heir,omitempty"` // of the same host, which has a new identity
}

// HostNamed finds a host by its name.
func (inv *Inventory) HostNamed(name string) (*Host, bool) {
	for _, h := range inv.Hosts {
		if h.Name == name {
			return h, true
		}
	}
	return nil, false
}

// SortedHosts are all hosts in the order of their names.
func (inv *Inventory) SortedHosts() []*Host {
	return slices.SortedFunc(maps.Values(inv.Hosts), func(a, b *Host) int { return strings.Compare(a.Name, b.Name) })
}

// sortedSites are all sites in the order of their names.
func (inv *Inventory) sortedSites() []*Site {
	return slices.SortedFunc(maps.Values(inv.Sites), func(a, b *Site) int { return strings.Compare(a.Name, b.Name) })
}

// sortedTokens are all tokens in the order of their ids.
func (inv *Inventory) sortedTokens() []*Token {
	return slices.SortedFunc(maps.Values(inv.Tokens), func(a, b *Token) int { return strings.Compare(a.ID, b.ID) })
}

// AdminWith finds the admin with an identity.
func (inv *Inventory) AdminWith(id key.Identity) (*Admin, bool) {
	for _, a := range inv.Admins {
		if a.Identity == id {
			return a, true
		}
	}
	return nil, false
}

// Current is the newest generation, 0 before the mesh was created.
func (m *Mesh) Current() Generation {
	if len(m.Generations) == 0 {
		return 0
	}
	return m.Generations[len(m.Generations)-1].Number
}

// RotationGrace is for how long the rotation that runs waits for hosts that are away, or the next one will.
func (m *Mesh) RotationGrace() time.Duration {
	if n := len(m.Generations); n == 2 && m.Generations[1].Grace != 0 {
		return time.Duration(m.Generations[1].Grace) * time.Second
	}
	return m.GraceTime()
}

// GraceTime is for how long rotations wait for hosts that are away, those aside that were begun otherwise.
func (m *Mesh) GraceTime() time.Duration {
	if m.Grace == 0 {
		return DefaultGrace
	}
	return time.Duration(m.Grace) * time.Second
}

// HasGeneration reports whether keys of generation g are in use.
func (m *Mesh) HasGeneration(g Generation) bool {
	return slices.ContainsFunc(m.Generations, func(mark GenerationMark) bool { return mark.Number == g })
}
