package peers

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/warren-mesh/warren/peers/key"
)

// ErrNoPlan is returned for a host that is not active: it must have nothing.
var ErrNoPlan = errors.New("host has no plan because it is not active")

// A Plan is all that one host must have. It is computed from an inventory and nothing else, so it is the
// same whoever computes it. Secrets are added afterwards, by the controller (WithPSKs) and on the host
// (Private); neither marshals.
type Plan struct {
	Revision   Revision     `json:"revision"`
	Mesh       PlanMesh     `json:"mesh"`
	Self       Self         `json:"self"`
	Interfaces []Interface  `json:"interfaces"`      // one for each generation, ascending
	Peers      []Peer       `json:"peers,omitempty"` // by id, ascending: those that the host has a flow with
	Sites      []PlanSite   `json:"sites,omitempty"` // by name: those that the host may meet, and its own
	Gate       *Gate        `json:"gate,omitempty"`  // nil: of a controller that has no policies
	Guarded    *Guard       `json:"-"`               // the guard where it was compiled before: see CompileGuard
	PSKs       PSKs         `json:"-"`
	Private    PrivateByGen `json:"-"`
	Moved      Moved        `json:"moved,omitzero"`
	// Again is the newest generation whose interface the host had before. If it has to build that anew,
	// it starts the handshakes: the others still believe in sessions that are gone.
	Again Generation `json:"-"`
	// Found are the largest packets that were found to arrive at peers. Peers that were not tried have none.
	Found map[HostID]int `json:"-"`
	// Loose lets packets for other sites leave by any way while there is no tunnel: the host's operator wants no
	// leak guard.
	Loose bool `json:"-"`
	// Virtual and Virtual6 are the virtual addresses of the host's own site, while the host has to have them.
	Virtual  netip.Addr `json:"-"`
	Virtual6 netip.Addr `json:"-"`
	// Doubling is which packets the host sends a second time.
	Doubling Doubling `json:"-"`
	// Lost are peers that somebody else has removed from an interface of this host. It starts their handshakes, too.
	Lost map[AttemptKey]bool `json:"-"`
	// Acting are the gateways by which the host reaches other sites, by the names of these. Of sites that are not
	// here it is the first gateway that is in the plan: see GatewayOf.
	Acting map[string]HostID `json:"-"`
}

// PSKs are pre-shared keys by generation and peer.
type PSKs map[Generation]map[HostID]key.Preshared

// PrivateByGen are a host's own private keys.
type PrivateByGen map[Generation]key.Private

// A PlanMesh is what a host must know of the mesh itself.
type PlanMesh struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	Overlay   netip.Prefix `json:"overlay"`
	Overlay6  netip.Prefix `json:"overlay6"`
	Keepalive int          `json:"keepalive"` // seconds
	// Heir is the next identity of the controller, signed by the present one, while there is one. Pin is
	// the only one, where it has had another before.
	Heir *PinHeir     `json:"heir,omitempty"`
	Pin  key.Identity `json:"pin,omitzero"`
	// KeysUntil is when the next rotation must have begun by its schedule; zero for none.
	KeysUntil time.Time `json:"keys_until,omitzero"`
}

// A PinHeir is what hosts must know of the next identity of the controller.
type PinHeir struct {
	Handover
	To key.Identity `json:"to"`
}

// Self is what a host must know of itself.
type Self struct {
	ID       HostID     `json:"id"`
	Name     string     `json:"name"`
	Site     string     `json:"site"`
	Address  netip.Addr `json:"address"`
	Address6 netip.Addr `json:"address6"`
	Joined   Revision   `json:"joined"`
	Origin   HostID     `json:"origin,omitempty"` // with which it has enrolled, where that was another one
	Rekey    bool       `json:"rekey,omitempty"`  // it shall make a new identity now
	Draining bool       `json:"draining,omitempty"`
}

// origin is the id with which the host has enrolled.
func (s *Self) origin() HostID {
	if s.Origin != "" {
		return s.Origin
	}
	return s.ID
}

// An Interface is the tunnel interface of one generation.
type Interface struct {
	Generation Generation `json:"generation"`
	Name       string     `json:"name"`
	Port       uint16     `json:"port"`
	MTU        int        `json:"mtu"`
	// Public is the host's key as the controller knows it, zero until the host has reported one. The
	// key that counts is that of Plan.Private.
	Public key.Public `json:"public"`
	Since  time.Time  `json:"since,omitzero"` // when the generation began
	// Held has no more traffic move to the generation: the rotation to it may be given up.
	Held bool `json:"held,omitempty"`
}

// A Peer is another host as all hosts see it: the record does not depend on who reads it, so that it is
// encoded once for everybody.
type Peer struct {
	ID        HostID         `json:"id"`
	Name      string         `json:"name"`
	Site      string         `json:"site"`
	Identity  key.Identity   `json:"identity"`
	Joined    Revision       `json:"joined"`
	Prefixes  []netip.Prefix `json:"prefixes"` // allowed IPs and routes: overlay addresses; see also Plan.Behind
	Keys      []HostKey      `json:"keys"`
	Endpoints []Endpoint     `json:"endpoints"` // in the order in which to try them
	Former    []Handover     `json:"former,omitempty"`
	// Labels are there for the guard, which lets in by them.
	Labels map[string]string `json:"labels,omitempty"`
}

// Plan computes what a host must have; ErrNoPlan for one that is not active or does not exist.
func (inv *Inventory) Plan(id HostID) (Plan, error) {
	return inv.Planner().Plan(id)
}

// PlanAlone is Plan without the peers: the part that is of the host's own.
func (inv *Inventory) PlanAlone(id HostID) (Plan, error) {
	return inv.Planner().Alone(id)
}

// Peer is the record of a host as the others see it; false for one that is in nobody's plan.
func (inv *Inventory) Peer(id HostID) (Peer, bool) {
	h := inv.Hosts[id]
	if h == nil || !inv.planned(h) {
		return Peer{}, false
	}
	p := Peer{
		ID: h.ID, Name: h.Name, Site: h.Site, Identity: h.Identity, Joined: h.Joined,
		Prefixes: h.Addresses(), Former: h.Former, Labels: h.Labels,
	}
	for _, k := range h.Keys {
		if inv.Mesh.HasGeneration(k.Generation) {
			p.Keys = append(p.Keys, k)
		}
	}
	p.Endpoints = slices.Clone(h.Endpoints)
	slices.SortStableFunc(p.Endpoints, func(a, b Endpoint) int { return a.Kind.rank() - b.Kind.rank() })
	return p, true
}

// candidates are the endpoints that a host may try: those of an address family that it has, and outside of the
// networks that are behind tunnels, or all where that leaves none.
func (p *Peer) candidates(ipv6 bool, behind []netip.Prefix) []Endpoint {
	if ipv6 && len(behind) == 0 {
		return p.Endpoints
	}
	var out []Endpoint
	for _, e := range p.Endpoints {
		a := e.Address.Addr()
		if (a.Is4() || ipv6) && !slices.ContainsFunc(behind, func(n netip.Prefix) bool { return n.Contains(a) }) {
			out = append(out, e)
		}
	}
	if out == nil {
		return p.Endpoints
	}
	return out
}

// tunnelled are the networks that the host reaches through tunnels alone: what is sent to an endpoint in one of them
// would go into the tunnel that it is to make.
func (p *Plan) tunnelled() (out []netip.Prefix) {
	for i := range p.Sites {
		if p.Sites[i].Name != p.Self.Site {
			out = append(out, p.Sites[i].Prefixes...)
		}
	}
	return out
}

// planned reports whether a host is in the plans of others.
func (inv *Inventory) planned(h *Host) bool {
	return h.State == HostActive &&
		slices.ContainsFunc(h.Keys, func(k HostKey) bool { return inv.Mesh.HasGeneration(k.Generation) })
}

func (k EndpointKind) rank() int {
	return slices.Index([]EndpointKind{EndpointPinned, EndpointObserved, EndpointLocal}, k)
}

// Key is the host's key of a generation; zero where it has announced none.
func (h *Host) Key(g Generation) key.Public {
	for _, k := range h.Keys {
		if k.Generation == g {
			return k.Public
		}
	}
	return key.Public{}
}

// Key is the peer's key of a generation.
func (p *Peer) Key(g Generation) (key.Public, bool) {
	for _, k := range p.Keys {
		if k.Generation == g {
			return k.Public, true
		}
	}
	return key.Public{}, false
}

// DerivePSKs are the pre-shared keys between a host, named by its origin, and a peer, one for each generation
// that the peer has a key of and whose secret is known.
func DerivePSKs(secrets map[Generation]key.Secret, self HostID, peer *Peer) map[Generation]key.Preshared {
	out := make(map[Generation]key.Preshared, len(peer.Keys))
	for _, k := range peer.Keys {
		if s, ok := secrets[k.Generation]; ok {
			out[k.Generation] = s.Preshared(string(self), string(peer.Origin()))
		}
	}
	return out
}

// WithPSKs is the plan with the pre-shared keys that follow from the secrets of the generations.
func (p Plan) WithPSKs(secrets map[Generation]key.Secret) Plan {
	p.PSKs = PSKs{}
	for g, secret := range secrets {
		deriver := secret.Deriver()
		for i := range p.Peers {
			peer := &p.Peers[i]
			if _, ok := peer.Key(g); !ok {
				continue
			}
			if p.PSKs[g] == nil {
				p.PSKs[g] = make(map[HostID]key.Preshared, len(p.Peers))
			}
			p.PSKs[g][peer.ID] = deriver.Preshared(string(p.Self.origin()), string(peer.Origin()))
		}
	}
	return p
}

// Put adds the pre-shared key of a peer and generation.
func (k PSKs) Put(g Generation, id HostID, psk key.Preshared) {
	if k[g] == nil {
		k[g] = map[HostID]key.Preshared{}
	}
	k[g][id] = psk
}

// Check holds the plan against what a host must not believe even its controller: every peer's id is
// the fingerprint of its identity, and its keys are signed by that identity. Peers that fail are left
// out of the plan that is returned, each with a Problem.
func (p Plan) Check(verify func(mesh string, identity key.Identity, k HostKey) bool) (Plan, Problems) {
	var problems Problems
	good := make([]Peer, 0, len(p.Peers))
	for _, peer := range p.Peers {
		if why := peer.doubt(p.Mesh.ID, verify); why != "" {
			problems.addf("peer-refused", "peer/"+peer.Name, "the controller may be compromised: look at it, and at warren host ls",
				"host %s is kept out: %s", peer.Name, why)
			continue
		}
		good = append(good, peer)
	}
	p.Peers = good
	return p, problems
}

func (p *Peer) doubt(mesh string, verify func(string, key.Identity, HostKey) bool) string {
	if string(p.ID) != p.Identity.Fingerprint() {
		return "its id is not that of its identity"
	}
	for _, k := range p.Keys {
		if !verify(mesh, p.Identity, k) {
			return "its WireGuard key is not signed by its identity"
		}
	}
	return ""
}

// ComparePeers orders peers by id.
func ComparePeers(a, b Peer) int { return strings.Compare(string(a.ID), string(b.ID)) }
