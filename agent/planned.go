package agent

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// planned is the plan that the loop works towards.
type planned struct {
	want     peers.Plan // checked: without peers that must not be believed
	received peers.Plan // as it came
	head     peers.Hash
	fresh    bool // it came from the controller, not from disk
	since    time.Time
	applied  bool         // at least once without a failure
	pins     peers.Pins   // to keep with the plan; nil where nothing is new
	unkept   bool         // it is to be kept on disk with its turn
	guarded  *guarded     // nil until it is compiled
	byName   []int        // the peers of want in the order in which they are shown
	known    []netip.Addr // the addresses of these peers
}

// list notes what every turn asks for and only the plan decides.
func (n *planned) list() {
	ps := n.want.Peers
	n.byName = make([]int, len(ps))
	for i := range ps {
		n.byName[i] = i
		for _, prefix := range ps[i].Prefixes {
			if prefix.IsSingleIP() {
				n.known = append(n.known, prefix.Addr())
			}
		}
	}
	slices.SortFunc(n.byName, func(a, b int) int { return strings.Compare(ps[a].Name, ps[b].Name) })
}

// A memo remembers which signatures of WireGuard keys were found good or bad, so that a plan of a thousand
// hosts costs a thousand verifications once. It forgets what the last plan did not have.
type memo map[[sha256.Size]byte]bool

// check verifies the peers of a plan and gives the memo for the next one.
func (m memo) check(p peers.Plan) (peers.Plan, peers.Problems, memo) {
	next := make(memo, len(m))
	checked, problems := p.Check(func(mesh string, identity key.Identity, k peers.HostKey) bool {
		id := memoKey(mesh, identity, k)
		good, known := m[id]
		if !known {
			good = peers.VerifyKey(mesh, identity, k)
		}
		next[id] = good
		return good
	})
	return checked, problems, next
}

func memoKey(mesh string, identity key.Identity, k peers.HostKey) [sha256.Size]byte {
	b := make([]byte, 0, 256)
	b = append(append(b, byte(len(mesh))), mesh...)
	b = append(b, identity[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(k.Generation))
	b = append(b, k.Public[:]...)
	return sha256.Sum256(append(b, k.Signature...))
}

// adopt makes a plan the one to work towards. The turn that follows applies it.
func (l *loop) adopt(p peers.Plan, head peers.Hash, fresh bool) {
	if l.plan != nil {
		p = p.WithMoved(p.Moved, l.plan.received.Moved)
	}
	if fresh {
		l.watch(&p)
	}
	checked, problems, next := l.health.memo.check(p)
	l.health.memo = next
	for _, problem := range problems {
		l.Log.Error("a peer is kept out", "error", problem.Message)
	}
	l.trouble.set(fromPlan, problems...)
	now := time.Now()
	n := &planned{want: checked.Remaining(), received: p, head: head, fresh: fresh, since: now}
	n.list()
	kept := l.plan != nil && l.plan.head == head && l.plan.want.Revision == p.Revision && len(l.trouble[fromFiles]) == 0 &&
		l.plan.received.Moved.Equal(p.Moved) && store.NetworksOf(&l.plan.received).Equal(store.NetworksOf(&p))
	l.compare(l.plan, n)
	before := l.plan
	if known := l.plan != nil && samePlaces(l.plan.want.Interfaces, p.Interfaces); !known {
		l.health.eager = now
	}
	l.plan = n
	l.makeKeys()
	l.makeHeir()
	l.learnPin()
	n.pins = l.pin(p.Mesh.ID, checked.Peers, now)
	n.unkept = fresh && (!kept || n.pins != nil)
	n.inherit(before)
}

// inherit takes on what is still to be kept of the plan before, where that has had no turn.
func (n *planned) inherit(before *planned) {
	if before == nil || !before.unkept {
		return
	}
	n.unkept = true
	if n.pins == nil {
		n.pins = before.pins
	}
}

// keepPlan has the plan kept on disk where that was not done yet.
func (l *loop) keepPlan() {
	if p := l.plan; p.unkept {
		p.unkept = false
		l.saver.offer(p.received, p.head, p.pins)
	}
}

// pin holds the identities of peers against those met before under their names, and gives the pins to keep
// where there are new ones.
func (l *loop) pin(mesh string, ps []peers.Peer, now time.Time) peers.Pins {
	pins, isNew := l.me.pins.Note(mesh, ps, now)
	l.me.pins = pins
	found := pins.Problems(ps, now)
	l.trouble.set(fromPins, found...)
	if !isNew {
		return nil
	}
	for _, p := range found {
		l.Log.Warn("a peer has another identity", "host", p.At, "problem", p.Message)
	}
	return pins
}

// samePlaces reports whether two plans have the same generations.
func samePlaces(a, b []peers.Interface) bool {
	return slices.EqualFunc(a, b, func(a, b peers.Interface) bool { return a.Generation == b.Generation })
}

// compare says in the log what is worth a line about a change of plans.
func (l *loop) compare(old, n *planned) {
	was := 0
	if old != nil {
		n.applied = old.applied
		was = len(old.want.Peers)
		if n.want.Revision < old.want.Revision {
			l.Log.Warn("the controller went back: was it restored from a backup?",
				"from_revision", old.want.Revision, "to_revision", n.want.Revision)
		}
	}
	is := len(n.want.Peers)
	if gone := countGone(old, n); gone >= 2 && gone*2 >= was {
		l.Log.Warn("the new plan removes most peers", "removed", gone, "before", was, "after", is,
			"revision", n.want.Revision)
		return
	}
	if old != nil && old.head == n.head {
		return
	}
	l.Log.Info("plan", "revision", n.want.Revision, "peers", is, "interfaces", len(n.want.Interfaces), "from_disk", !n.fresh)
}

// countGone counts the peers of the old plan that the new one is without.
func countGone(old, n *planned) (gone int) {
	if old == nil {
		return 0
	}
	for _, p := range old.want.Peers {
		if _, still := slices.BinarySearchFunc(n.want.Peers, p, peers.ComparePeers); !still {
			gone++
		}
	}
	return gone
}
