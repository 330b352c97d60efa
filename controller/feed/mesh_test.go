package feed_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/warren-mesh/warren/controller/feed"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// A mesh is an inventory with all entries that led to it, and the identities behind its hosts.
type mesh struct {
	t          testing.TB
	random     *rand.ChaCha8
	inv        *peers.Inventory
	entries    []peers.Entry
	identities map[peers.HostID]key.IdentityKey
	secrets    map[peers.Generation]key.Secret
	tick       int
}

func newMesh(t testing.TB) *mesh {
	t.Helper()
	m := &mesh{
		t: t, random: rand.NewChaCha8([32]byte{1}), inv: &peers.Inventory{},
		identities: map[peers.HostID]key.IdentityKey{}, secrets: map[peers.Generation]key.Secret{},
	}
	for g := range peers.Generation(3) {
		s, err := key.NewSecret(m.random)
		if err != nil {
			t.Fatal(err)
		}
		m.secrets[g+1] = s
	}
	m.must(peers.CreateMesh{
		ID: "mesh", Name: "orders", Overlay: netip.MustParsePrefix("10.90.0.0/16"),
		Overlay6: netip.MustParsePrefix("fd00:1::/64"),
	})
	m.must(peers.CreateToken{
		ID: "token", Hash: peers.Hash{1}, Site: "shop", Uses: 1000, Expires: m.now().Add(300 * 24 * time.Hour),
	})
	m.must(peers.CreateToken{
		ID: "asking", Hash: peers.Hash{2}, Site: "warehouse", Uses: 1000, Approve: true,
		Expires: m.now().Add(300 * 24 * time.Hour),
	})
	return m
}

func (m *mesh) now() time.Time {
	m.tick++
	return time.Date(2026, 11, 23, 0, 0, m.tick, 0, time.UTC)
}

// try makes a change and reports whether the rules allow it.
func (m *mesh) try(op peers.Op) (peers.Entry, bool) {
	next, e, err := m.inv.Record(peers.Change{At: m.now(), By: "test", Op: op})
	if err != nil {
		return e, false
	}
	m.inv = next
	m.entries = append(m.entries, e)
	return e, true
}

func (m *mesh) must(op peers.Op) peers.Entry {
	m.t.Helper()
	e, ok := m.try(op)
	if !ok {
		_, _, err := m.inv.Record(peers.Change{At: m.now(), By: "test", Op: op})
		m.t.Fatal(err)
	}
	return e
}

// enrol makes a host of a new identity.
func (m *mesh) enrol(name, token string) peers.EnrollHost {
	id, err := key.NewIdentityKey(m.random)
	if err != nil {
		m.t.Fatal(err)
	}
	m.identities[peers.HostID(id.Identity().Fingerprint())] = id
	return peers.EnrollHost{
		Token: token, Identity: id.Identity(), Name: name, Port: 51820,
		Keys: []peers.HostKey{m.key(id, m.inv.Mesh.Current())},
	}
}

// heir gives a host a new identity.
func (m *mesh) heir(h *peers.Host) peers.SucceedHost {
	id, err := key.NewIdentityKey(m.random)
	if err != nil {
		m.t.Fatal(err)
	}
	m.identities[peers.HostID(id.Identity().Fingerprint())] = id
	op := peers.SucceedHost{
		ID: h.ID, Identity: id.Identity(),
		Signature: peers.SignHandover(m.inv.Mesh.ID, m.identities[h.ID], id.Identity()).Signature,
	}
	for _, k := range h.Keys {
		op.Keys = append(op.Keys, peers.SignKey(m.inv.Mesh.ID, id, k.Generation, k.Public))
	}
	return op
}

func (m *mesh) key(id key.IdentityKey, g peers.Generation) peers.HostKey {
	private, err := key.NewPrivate(m.random)
	if err != nil {
		m.t.Fatal(err)
	}
	return peers.SignKey(m.inv.Mesh.ID, id, g, private.Public())
}

func (m *mesh) feed(size int) *feed.Feed {
	m.t.Helper()
	f, err := feed.New(m.inv, m.secrets, nil, size)
	if err != nil {
		m.t.Fatal(err)
	}
	return f
}

// A follower is an agent: it knows nothing but what it is told.
type follower struct {
	id   peers.HostID
	told peers.Revision
	head peers.Hash
	plan peers.Plan
	psks peers.PSKs
}

// take applies one message to what the follower knows.
func (fo *follower) take(line []byte) error {
	var d wire.Down
	if err := json.Unmarshal(line, &d); err != nil {
		return fmt.Errorf("%v in %s", err, line)
	}
	psks, err := d.ParsePSKs()
	if err != nil {
		return err
	}
	switch d.Kind {
	case wire.DownSnapshot:
		fo.plan, fo.psks = peers.Plan{}, peers.PSKs{}
	case wire.DownDelta, wire.DownCurrent:
	default:
		return fmt.Errorf("message of kind %q", d.Kind)
	}
	known := fo.plan.Peers
	for _, id := range d.Remove {
		if !slices.ContainsFunc(known, func(p peers.Peer) bool { return p.ID == id }) {
			return fmt.Errorf("host %s, which is not known, is taken away", id)
		}
	}
	if d.Plan != nil {
		fo.plan = *d.Plan
	}
	gone := slices.Clone(d.Remove)
	for _, p := range d.Peers {
		gone = append(gone, p.ID)
	}
	known = slices.DeleteFunc(slices.Clone(known), func(p peers.Peer) bool { return slices.Contains(gone, p.ID) })
	fo.plan.Peers = slices.SortedFunc(slices.Values(append(known, d.Peers...)), peers.ComparePeers)
	fo.plan.Revision, fo.told, fo.head = d.Revision, d.Revision, d.Head
	for _, id := range gone {
		for g := range fo.psks {
			delete(fo.psks[g], id)
		}
	}
	for g, byHost := range psks {
		for id, psk := range byHost {
			fo.psks.Put(g, id, psk)
		}
	}
	maps.DeleteFunc(fo.psks, func(_ peers.Generation, m map[peers.HostID]key.Preshared) bool { return len(m) == 0 })
	return nil
}

// check holds what the follower knows against the inventory that it was computed from.
func (fo *follower) check(m *mesh) error {
	want, err := m.inv.Plan(fo.id)
	if err != nil {
		return err
	}
	want = want.WithPSKs(m.secrets)
	if got, want := asJSON(fo.plan), asJSON(want); got != want {
		return fmt.Errorf("host %s knows\n%s\nand must have\n%s", fo.id, got, want)
	}
	if got, want := texts(fo.psks), texts(want.PSKs); !maps.Equal(got, want) {
		return fmt.Errorf("host %s has the pre-shared keys\n%v\nand must have\n%v", fo.id, got, want)
	}
	return nil
}

func asJSON(p peers.Plan) string {
	if len(p.Peers) == 0 {
		p.Peers = nil
	}
	raw, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func texts(psks peers.PSKs) map[string]string {
	out := map[string]string{}
	for g, byHost := range psks {
		for id, psk := range byHost {
			out[fmt.Sprintf("%d/%s", g, id)] = psk.Expose()
		}
	}
	return out
}
