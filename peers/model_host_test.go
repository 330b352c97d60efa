package peers_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// A machine is a host in the model of rotations: a disk that outlives everything, a kernel that outlives
// the agent, and an agent that does what the real one does, with the same functions, and dies anywhere.
type machine struct {
	name string
	id   peers.HostID

	// The disk.
	keys  peers.PrivateByGen
	own   map[peers.Generation]key.Public // of keys
	saved *peers.Plan
	made  int
	full  bool                // nothing more can be written
	wiped map[key.Public]bool // keys that must never be seen again

	// The kernel.
	kernel   *kernel
	sessions map[*peers.LinkPeer]*sessions

	// The agent.
	runs     bool
	met      bool // by the controller
	plan     *peers.Plan
	fresh    bool
	kept     peers.Moved
	built    peers.Generation
	attempts map[peers.AttemptKey]peers.Attempt
}

// sessions are those of WireGuard with one peer; 0 is none. It sends in the current one and understands
// all three.
type sessions struct{ previous, current, next int }

// initiated is what the end does that started a session when the answer comes.
func (s *sessions) initiated(id int) {
	if s.next != 0 {
		s.previous, s.next = s.next, 0
	} else {
		s.previous = s.current
	}
	s.current = id
}

// responded is what the other end does.
func (s *sessions) responded(id int) { s.previous, s.next = 0, id }

// confirmed is what that end does when the first packet comes in the session; false if it has forgotten it.
func (s *sessions) confirmed(id int) bool {
	if id != 0 && s.next == id {
		s.previous, s.current, s.next = s.current, s.next, 0
	}
	return s.understands(id)
}

func (s *sessions) understands(id int) bool {
	return id != 0 && (id == s.previous || id == s.current || id == s.next)
}

func newMachine(name string) *machine {
	m := &machine{
		name: name, id: idOf(name), keys: peers.PrivateByGen{}, own: map[peers.Generation]key.Public{},
		wiped: map[key.Public]bool{},
	}
	m.put(1, privateOf(name, 1))
	m.reboot()
	return m
}

// reboot loses what is not on disk.
func (m *machine) reboot() {
	m.kernel, m.sessions = newKernel(), map[*peers.LinkPeer]*sessions{}
	m.crash()
}

// crash ends the agent and nothing else.
func (m *machine) crash() {
	m.runs, m.plan, m.fresh, m.kept, m.built, m.attempts = false, nil, false, peers.Moved{}, 0, nil
}

// start starts the agent with what is on disk.
func (m *machine) start() {
	m.crash()
	m.runs, m.met = true, false
	if m.saved != nil {
		p := *m.saved
		m.plan, m.built, m.kept = &p, p.Newest(), p.Moved
	}
}

// hear takes a plan over that has come from the controller.
func (m *machine) hear(p peers.Plan) {
	if m.plan != nil {
		p = p.WithMoved(m.plan.Moved)
	}
	m.plan, m.fresh = &p, true
}

// retire takes over that a generation is over with peers.
func (m *machine) retire(g peers.Generation, ids ...peers.HostID) {
	if m.plan != nil {
		p := m.plan.Retire(g, ids...)
		m.plan = &p
	}
}

// save keeps the plan, and what it says of how far the host is.
func (m *machine) save() {
	if m.plan != nil && !m.full {
		p := *m.plan
		m.saved, m.kept = &p, p.Moved
	}
}

// makeKeys makes the keys that the plan of a controller asks for.
func (m *machine) makeKeys() {
	for _, in := range m.plan.Interfaces {
		if _, have := m.keys[in.Generation]; !have && m.fresh && !m.full {
			m.made++
			m.put(in.Generation, privateOf(fmt.Sprintf("%s %d", m.name, m.made), in.Generation))
		}
	}
}

func (m *machine) put(g peers.Generation, private key.Private) {
	m.keys[g], m.own[g] = private, private.Public()
}

// steps are what the agent would do now, and the plan that it follows from.
func (m *machine) steps(now time.Time) ([]peers.Step, peers.Plan) {
	want := m.plan.Remaining()
	want.Private, want.Again = m.keys, m.built
	state := m.kernel.state()
	steps := peers.Diff(state, want)
	if !m.fresh {
		steps = peers.Building(steps)
	}
	roaming, attempts := peers.Roam(state, want, m.attempts, now)
	m.attempts = attempts
	return append(steps, roaming...), want
}

// take takes one step, as the kernel does.
func (m *machine) take(step peers.Step) error {
	set, isSet := step.(peers.SetDevice)
	if isSet && m.wiped[set.Private.Public()] {
		return fmt.Errorf("%s uses a key that was wiped", m.name)
	}
	if l := m.kernel.links[set.Link]; isSet && l != nil && l.public != set.Private.Public() {
		for _, p := range l.peers {
			delete(m.sessions, p)
		}
	}
	return m.kernel.apply(step)
}

// done is what the agent does when all steps were taken.
func (m *machine) done() {
	m.built = m.plan.Newest()
	if !m.fresh {
		return
	}
	for g, own := range m.own {
		planned := slices.ContainsFunc(m.plan.Interfaces, func(in peers.Interface) bool { return in.Generation == g })
		used := slices.ContainsFunc(slices.Collect(maps.Values(m.kernel.links)), func(l *kernelLink) bool {
			return l.public == own
		})
		if !planned && !used {
			m.wiped[own] = true
			delete(m.keys, g)
			delete(m.own, g)
		}
	}
}

// note notes whose traffic takes the newest generation.
func (m *machine) note(want peers.Plan) {
	if want.Leaving() == 0 {
		return
	}
	for id, g := range peers.Ways(m.kernel.state(), want) {
		if g == want.Newest() {
			p := m.plan.Route(id)
			m.plan = &p
		}
	}
}

// sightings are what the agent reports.
func (m *machine) sightings() (out []peers.Sighting) {
	want := m.plan.Remaining()
	state := m.kernel.state()
	for _, in := range want.Interfaces {
		link, ok := state.LinkNamed(in.Name)
		if !ok {
			continue
		}
		for _, peer := range want.Peers {
			k, _ := peer.Key(in.Generation)
			if p, ok := link.Peer(k); ok {
				out = append(out, peers.Sighting{
					Peer: peer.ID, Generation: in.Generation, Answers: !p.LastHandshake.IsZero(),
					Routed: m.kept.From == want.Leaving() && m.kept.HasRouted(peer.ID) && in.Generation == want.Newest(),
				})
			}
		}
	}
	return out
}

func (m *machine) hasMoved() bool { return m.plan != nil && len(m.plan.Moved.Routed) > 0 }

// holds is the revision of the plan on disk, where it holds the newer generation and the host does.
func (m *machine) holds() peers.Revision {
	want := m.plan.Remaining()
	if m.saved == nil || !m.fresh || !m.saved.Holds(m.kernel.state()) || !want.Holds(m.kernel.state()) {
		return 0
	}
	return m.saved.Revision
}

// announced are the keys that the agent reports, once it has interfaces with them.
func (m *machine) announced(mesh string) (out []peers.HostKey) {
	for g, own := range m.own {
		if l := m.kernel.links[g.Link()]; l != nil && l.public == own {
			out = append(out, peers.SignKey(mesh, identityOf(m.name), g, own))
		}
	}
	return out
}

// peer is the WireGuard peer through which packets to an address leave, and its interface.
func (m *machine) peer(to netip.Addr) (*kernelLink, *peers.LinkPeer) {
	l := m.kernel.links[m.kernel.route(to)]
	if l == nil || !l.up {
		return nil, nil
	}
	return l, l.peers[l.owner[netip.PrefixFrom(to, to.BitLen())]]
}

func (m *machine) with(p *peers.LinkPeer) *sessions {
	if m.sessions[p] == nil {
		m.sessions[p] = &sessions{}
	}
	return m.sessions[p]
}
