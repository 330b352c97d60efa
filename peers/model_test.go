package peers_test

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"pgregory.net/rapid"
)

// A model is a mesh while keys are rotated: the rules, plans, steps and the bookkeeping are the real ones;
// kernels, the network between hosts and to the controller, and time are made up. Anything may happen to it.
type model struct {
	t        *rapid.T
	now      time.Time
	machines []*machine
	turns    []int // of machines: some have more of them

	// The controller.
	inv      *peers.Inventory // as in the ledger
	rotation *peers.Rotation  // soft

	// The network.
	said      []saying        // what agents have said, not heard yet or to be heard again
	told      []telling       // what the controller has said
	confirms  []func()        // first packets in new sessions that are under way
	cut       map[[2]int]bool // pairs that do not reach each other
	flowing   map[[2]int]bool // pairs whose traffic must not stop any more
	handshake int

	over              map[key.Public]bool // keys of generations that have gone
	dropped, released int                 // rotations that were to be given up
}

// saying is a report of an agent, telling a line of the controller.
type (
	saying struct {
		from  *machine
		says  []peers.Sighting
		keys  []peers.HostKey
		holds peers.Revision
	}
	telling struct {
		to      *machine
		g       peers.Generation
		retired []peers.HostID
	}
)

func newModel(t *rapid.T) *model {
	m := &model{t: t, now: epoch, inv: &peers.Inventory{}, cut: map[[2]int]bool{}, flowing: map[[2]int]bool{}, over: map[key.Public]bool{}}
	m.record(createMesh())
	m.record(createToken("t", "shop"))
	names := []string{"a", "b", "c", "d"}
	for _, name := range names[:rapid.SampledFrom([]int{2, 2, 3, 3, 4}).Draw(t, "hosts")] {
		h := newMachine(name)
		m.record(enroll("t", name))
		h.start()
		for range rapid.SampledFrom([]int{1, 1, 10}).Draw(t, "turns") {
			m.turns = append(m.turns, len(m.machines))
		}
		m.machines = append(m.machines, h)
	}
	m.settleDown("the mesh")
	return m
}

func (m *model) record(op peers.Op) {
	next, err := m.inv.Apply(peers.Change{At: m.now, By: "test", Op: op})
	if err != nil {
		m.t.Fatalf("%s: %v", op.Kind(), err)
	}
	for _, mark := range m.inv.Mesh.Generations {
		for _, h := range m.inv.Hosts {
			if k := h.Key(mark.Number); !next.Mesh.HasGeneration(mark.Number) && !k.IsZero() {
				m.over[k] = true
			}
		}
	}
	m.inv = next
	if !m.rotation.Is(&m.inv.Mesh) {
		m.rotation = peers.NewRotation(&m.inv.Mesh)
		for _, h := range m.machines {
			m.begin(h)
		}
	}
}

// meet lets the controller hear of an agent that has started anew, before anything else from it: that may be long after.
func (m *model) meet(h *machine) {
	if !h.met {
		m.begin(h)
	}
}

func (m *model) begin(h *machine) {
	h.met = true
	if m.rotation != nil {
		m.rotation.Begin(h.id, true)
	}
}

// tell lets a host hear the plan as it is now.
func (m *model) tell(h *machine) {
	if !h.runs {
		return
	}
	m.meet(h)
	p, err := m.inv.Plan(h.id)
	if err != nil {
		m.t.Fatal(err)
	}
	h.hear(p.WithPSKs(secretsOf(&m.inv.Mesh)))
}

// turn lets an agent do what is to do, up to a number of steps, after which it dies.
func (m *model) turn(h *machine, most int) {
	if !h.runs || h.plan == nil {
		return
	}
	h.makeKeys()
	steps, want := h.steps(m.now)
	for i, step := range steps {
		if i == most {
			h.crash()
			return
		}
		if err := h.take(step); err != nil {
			m.t.Fatalf("%s: %v: %v", h.name, step, err)
		}
		m.check("%s: %v", h.name, step)
	}
	h.done()
	h.note(want)
}

// report puts a report on its way.
func (m *model) report(h *machine) {
	if h.runs && h.plan != nil {
		m.meet(h)
		m.said = append(m.said, saying{from: h, says: h.sightings(), keys: h.announced(m.inv.Mesh.ID), holds: h.holds()})
	}
}

// listen lets the controller hear a report.
func (m *model) listen(s saying) {
	host := m.inv.Hosts[s.from.id]
	var fresh []peers.HostKey
	for _, k := range s.keys {
		if m.inv.Mesh.HasGeneration(k.Generation) && host.Key(k.Generation) != k.Public && !s.from.wiped[k.Public] {
			fresh = append(fresh, k)
		}
	}
	for _, k := range fresh {
		if m.over[k.Public] {
			m.t.Fatalf("%s announces a key of a generation that has gone for generation %d", s.from.name, k.Generation)
		}
	}
	if len(fresh) > 0 {
		replaced := !host.Key(m.inv.Mesh.Current()).IsZero()
		m.record(peers.UpdateHost{ID: s.from.id, Keys: fresh})
		if replaced && m.rotation != nil {
			m.rotation.Rekey(s.from.id)
		}
	}
	if m.rotation != nil {
		m.rotation.Hear(m.inv, s.from.id, s.says, m.now)
		m.rotation.Hold(s.from.id, s.holds)
	}
}

// settle lets the controller tell hosts of pairs that may retire, and end the rotation if it may.
func (m *model) settle() {
	if m.rotation == nil {
		return
	}
	for _, id := range m.rotation.Settle(m.now.Add(-3 * time.Second)) {
		m.retell(m.machine(id))
	}
	if newest := m.inv.Mesh.Generations[1]; newest.Held != 0 {
		m.giveUp(newest.Number)
		return
	}
	p := m.rotation.Progress(m.inv, func(peers.HostID) peers.Presence { return peers.Away })
	if p.Settled {
		m.record(peers.RetireGeneration{Number: m.inv.Mesh.Generations[0].Number})
	}
}

// retell puts all that a host must know of pairs that may retire on its way to it.
func (m *model) retell(h *machine) {
	if m.rotation == nil {
		return
	}
	if ids := m.rotation.Retired(h.id, 0); len(ids) > 0 {
		m.told = append(m.told, telling{to: h, g: m.rotation.From, retired: ids})
	}
}

func (m *model) machine(id peers.HostID) *machine {
	return m.machines[slices.IndexFunc(m.machines, func(h *machine) bool { return h.id == id })]
}

func (m *model) address(h *machine) netip.Addr { return m.inv.Hosts[h.id].Address }

// delivers reports whether a packet from one host to another arrives, as far as the hosts have a say.
func (m *model) delivers(from, to *machine) bool {
	l, p := from.peer(m.address(to))
	if p == nil {
		return false
	}
	there := to.kernel.links[m.kernelName(from, l)]
	if there == nil || !there.up || there.public != p.Key {
		return false
	}
	back := there.peers[l.public]
	own := m.address(from)
	return back != nil && there.owner[netip.PrefixFrom(own, own.BitLen())] == l.public &&
		to.with(back).understands(from.with(p).current)
}

func (m *model) kernelName(h *machine, l *kernelLink) string {
	for name, other := range h.kernel.links {
		if other == l {
			return name
		}
	}
	return ""
}

// check holds what must always be true: traffic that flows goes on, in both directions.
func (m *model) check(format string, args ...any) {
	for i, a := range m.machines {
		for j, b := range m.machines[:i] {
			both := m.delivers(a, b) && m.delivers(b, a)
			if m.flowing[[2]int{i, j}] && !both {
				m.t.Fatalf(format+": %s and %s are cut off", append(args, a.name, b.name)...)
			}
			if both && m.sincere(a, b) && m.sincere(b, a) {
				m.flowing[[2]int{i, j}] = true
			}
		}
	}
	for _, a := range m.machines {
		for _, b := range m.machines {
			if what := m.forgotten(a, b); what != "" {
				m.t.Fatalf(format+": %s and %s: %s", append(args, a.name, b.name, what)...)
			}
		}
	}
}

// forgotten says what one host may have forgotten of its way to another one, now or when it starts anew. Where traffic
// flows it shows later or never; and what was said, and what the other end has done because of it, cannot be taken back.
func (m *model) forgotten(a, b *machine) string {
	if a.plan != nil && a.plan.Leaving() != 0 && a.plan.Moved.HasRouted(b.id) &&
		a.kernel.route(m.address(b)) == a.plan.Leaving().Link() {
		return "traffic goes back"
	}
	if len(m.inv.Mesh.Generations) != 2 || b.plan == nil || b.plan.Leaving() != m.inv.Mesh.Generations[0].Number ||
		!slices.Contains(b.plan.Moved.Retired, a.id) {
		return ""
	}
	if s := a.saved; s == nil || s.Leaving() != 0 && !s.Moved.HasRouted(b.id) || s.Newest() != m.inv.Mesh.Current() {
		return "the other one has left the older generation, and nothing on disk says so"
	}
	return ""
}

// sincere reports whether what one host believes of its sessions with another one is true. It is not where the
// other one has lost an interface and did not start again yet: then traffic may still move to where it gets
// lost, and nobody could tell.
func (m *model) sincere(a, b *machine) bool {
	for name, here := range a.kernel.links {
		there := b.kernel.links[name]
		for _, p := range here.peers {
			if p.LastHandshake.IsZero() || !slices.Contains(allKeys(b), p.Key) {
				continue
			}
			if there == nil || there.public != p.Key || there.peers[here.public] == nil ||
				!b.with(there.peers[here.public]).understands(a.with(p).current) {
				return false
			}
		}
	}
	return true
}

// allKeys are the public keys that a host has had.
func allKeys(m *machine) []key.Public {
	return slices.Concat(slices.Collect(maps.Keys(m.wiped)), slices.Collect(maps.Values(m.own)))
}

// disturbed forgets that traffic of a host flows: something has happened that must stop it.
func (m *model) disturbed(h *machine) {
	for i, a := range m.machines {
		for j, b := range m.machines[:i] {
			if a == h || b == h {
				delete(m.flowing, [2]int{i, j})
			}
		}
	}
}

// shake lets a host start a handshake with another one on a link. How far it comes is drawn.
func (m *model) shake(from, to *machine, link string, answered, confirmed bool) {
	i, j := slices.Index(m.machines, from), slices.Index(m.machines, to)
	a, b := from.kernel.links[link], to.kernel.links[link]
	if m.cut[[2]int{max(i, j), min(i, j)}] || a == nil || b == nil || !a.up || !b.up {
		return
	}
	p, q := a.peers[b.public], b.peers[a.public]
	if p == nil || q == nil || !p.PSK.Equal(q.PSK) || !p.Endpoint.IsValid() {
		return
	}
	_, through := from.peer(m.address(to))
	if p.Keepalive == 0 && through != p {
		return // nothing is sent there
	}
	m.handshake++
	id := m.handshake
	// Who has a session has sent something in it, and that has arrived before there is another one.
	to.with(q).confirmed(from.with(p).current)
	from.with(p).confirmed(to.with(q).current)
	to.with(q).responded(id)
	if !answered {
		return
	}
	from.with(p).initiated(id)
	p.LastHandshake = m.now
	confirm := func() {
		if to.kernel.links[link] == b && b.peers[a.public] == q && to.with(q).confirmed(id) {
			q.LastHandshake = m.now
		}
	}
	// Where the other end still sends in a session that is forgotten here, the first packet follows at once.
	if confirmed || !from.with(p).understands(to.with(q).current) {
		confirm()
		return
	}
	m.confirms = append(m.confirms, confirm)
}

// settleDown lets the faults end and everything be heard, and wants the mesh on its newest generation.
func (m *model) settleDown(what string) {
	clear(m.cut)
	m.said, m.told, m.confirms = nil, nil, nil
	for range 40 {
		m.now = m.now.Add(2 * time.Second)
		for _, h := range m.machines {
			h.full = false
			if !h.runs {
				h.start()
				m.begin(h)
			}
			m.retell(h)
			m.tell(h)
			m.turn(h, -1)
			h.save()
			m.report(h)
		}
		m.quiesce()
		if m.rotation == nil && m.settled() == nil {
			m.check("%s has settled down", what)
			return
		}
	}
	m.t.Fatalf("%s does not settle down: %v", what, m.settled())
}

// quiesce lets everything arrive, and all shake hands who can and have not.
func (m *model) quiesce() {
	for _, s := range m.said {
		m.listen(s)
	}
	m.settle()
	for _, t := range m.told {
		t.to.retire(t.g, t.retired...)
	}
	m.said, m.told = nil, nil
	for _, from := range m.machines {
		for _, to := range m.machines {
			for _, link := range []string{"wrn0", "wrn1"} {
				if from != to {
					m.shakeIfDead(from, to, link)
				}
			}
		}
	}
	m.check("a quiet moment")
}

// shakeIfDead is what WireGuard does by itself: an end whose session the other one does not understand any more
// gets no answers, and starts another.
func (m *model) shakeIfDead(from, to *machine, link string) {
	a, b := from.kernel.links[link], to.kernel.links[link]
	if a == nil || b == nil || a.peers[b.public] == nil || b.peers[a.public] == nil {
		return
	}
	mine, theirs := from.with(a.peers[b.public]), to.with(b.peers[a.public])
	if !theirs.understands(mine.current) {
		m.shake(from, to, link, true, true)
	}
}

// settled says what is left of an older generation, or does not flow.
func (m *model) settled() error {
	newest := m.inv.Mesh.Current()
	for _, a := range m.machines {
		if len(a.kernel.links) != 1 || a.kernel.links[newest.Link()] == nil || len(a.keys) != 1 || a.keys[newest].IsZero() {
			return errors.New(a.name + " has not left the older generation")
		}
		for _, b := range m.machines {
			if a != b && !m.delivers(a, b) {
				return errors.New(a.name + " does not reach " + b.name)
			}
		}
	}
	return nil
}
