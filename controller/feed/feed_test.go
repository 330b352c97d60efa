package feed_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/controller/feed"
	"github.com/warren-mesh/warren/peers"
)

// TestFollowersKnowTheirPlan makes random changes and lets followers ask at random times: whatever
// they missed, in the end each has the plan that follows from the inventory, with its pre-shared keys.
func TestFollowersKnowTheirPlan(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMesh(t)
		f := m.feed(rapid.SampledFrom([]int{2, 5, 1000}).Draw(rt, "size"))
		var followers []*follower
		for step := range rapid.IntRange(1, 30).Draw(rt, "steps") {
			e, ok := m.try(randomOp(rt, m, step))
			if !ok {
				continue
			}
			if err := f.Publish(m.inv, e); err != nil {
				rt.Fatal(err)
			}
			followers = append(followers, newcomers(m, followers)...)
			for _, fo := range followers {
				if rapid.Bool().Draw(rt, "asks") {
					ask(rt, f, fo, m)
				}
			}
		}
		for _, fo := range followers {
			ask(rt, f, fo, m)
		}
	})
}

func newcomers(m *mesh, known []*follower) (out []*follower) {
	for id := range m.inv.Hosts {
		if !slices.ContainsFunc(known, func(fo *follower) bool { return fo.id == id }) {
			out = append(out, &follower{id: id, psks: peers.PSKs{}})
		}
	}
	return out
}

// ask brings a follower up to date as a stream does.
func ask(rt *rapid.T, f *feed.Feed, fo *follower, m *mesh) {
	if h := m.inv.Hosts[fo.id]; h == nil || h.State != peers.HostActive {
		return
	}
	var line bytes.Buffer
	ok := f.Knows(fo.told, fo.head)
	if ok {
		s, known, err := f.Since(&line, fo.id, fo.told, nil)
		if err != nil {
			rt.Fatal(err)
		}
		if ok = known; ok {
			fo.told, fo.plan.Revision, fo.head = s.To, s.To, m.inv.Head
		}
	}
	if !ok {
		line.Reset()
		if _, err := f.Snapshot(&line, fo.id, nil); err != nil {
			rt.Fatal(err)
		}
	}
	if line.Len() > 0 {
		if n := bytes.Count(line.Bytes(), []byte("\n")); n != 1 || line.Bytes()[line.Len()-1] != '\n' {
			rt.Fatalf("%d line ends in %q", n, line.String())
		}
		if err := fo.take(line.Bytes()); err != nil {
			rt.Fatal(err)
		}
	}
	if err := fo.check(m); err != nil {
		rt.Fatal(err)
	}
}

// randomOp draws a change, which the rules may refuse.
func randomOp(rt *rapid.T, m *mesh, step int) peers.Op {
	name := fmt.Sprintf("h%d", step)
	hosts := m.inv.SortedHosts()
	if len(hosts) < 2 {
		return m.enrol(name, "token")
	}
	h := rapid.SampledFrom(hosts).Draw(rt, "host")
	ops := []func() peers.Op{
		func() peers.Op { return m.enrol(name, "token") },
		func() peers.Op { return m.enrol(name, "asking") },
		func() peers.Op {
			states := []peers.HostState{peers.HostActive, peers.HostSuspended, peers.HostRevoked}
			return peers.SetHostState{ID: h.ID, State: rapid.SampledFrom(states).Draw(rt, "state")}
		},
		func() peers.Op { return peers.RemoveHost{ID: h.ID} },
		func() peers.Op { p := uint16(50000 + step); return peers.UpdateHost{ID: h.ID, Port: &p} },
		func() peers.Op {
			g := m.inv.Mesh.Current()
			return peers.UpdateHost{ID: h.ID, Keys: []peers.HostKey{m.key(m.identities[h.ID], g)}}
		},
		func() peers.Op { k := 20 + step; return peers.SetMesh{Keepalive: &k} },
		func() peers.Op { return peers.StartGeneration{Number: m.inv.Mesh.Current() + 1} },
		func() peers.Op { return peers.RetireGeneration{Number: m.inv.Mesh.Generations[0].Number} },
		func() peers.Op {
			s := peers.SetSite{Name: h.Site, Prefixes: []peers.SitePrefix{{Prefix: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/24", step))}}}
			for _, other := range hosts {
				if other.Site == h.Site {
					s.Gateways = append(s.Gateways, other.Name)
				}
			}
			return s
		},
		func() peers.Op { return peers.RevokeToken{ID: "asking"} },
		func() peers.Op {
			if h.Rekey == nil {
				return peers.OrderRekey{ID: h.ID}
			}
			return m.heir(h)
		},
		func() peers.Op { return peers.SetPolicy{Policy: randomPolicy(rt, hosts)} },
		func() peers.Op { return peers.SetPolicy{Policy: randomPolicy(rt, hosts)} },
		func() peers.Op { // the same step takes it back, which may leave no policy at all
			if p := m.inv.Pending; p != nil {
				return peers.TakeBack{Revision: p.Revision}
			}
			return peers.Apply{Within: 60, Ops: peers.Ops{peers.SetPolicy{Policy: randomPolicy(rt, hosts)}}}
		},
		func() peers.Op {
			return peers.LabelHost{ID: h.ID, Set: map[string]string{"role": rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "role")}}
		},
	}
	return rapid.SampledFrom(ops).Draw(rt, "op")()
}

func randomPolicy(rt *rapid.T, hosts []*peers.Host) (p peers.Policy) {
	all := []peers.Selector{
		{Kind: peers.SelectAll},
		{Kind: peers.SelectSite, Name: "shop"},
		{Kind: peers.SelectLabel, Name: "role", Value: "a"},
		{Kind: peers.SelectLabel, Name: "role", Value: "b"},
		{Kind: peers.SelectPrefix, Prefix: netip.MustParsePrefix("10.90.0.0/30")},
	}
	for _, h := range hosts {
		all = append(all, peers.Selector{Kind: peers.SelectHost, Name: h.Name})
	}
	some := rapid.SliceOfN(rapid.SampledFrom(all), 1, 2)
	for range rapid.IntRange(0, 3).Draw(rt, "flows") {
		p.Flows = append(p.Flows, peers.Flow{
			From: some.Draw(rt, "from"), To: some.Draw(rt, "to"), Allow: []peers.Service{{Protocol: peers.ICMP}},
		})
	}
	return p
}

// TestPolicyTellsNobodyElse: whom a host has no flow with, it hears nothing of, neither when they come nor when
// they change nor when they go; and a flow that closes costs a word to those at its ends.
func TestPolicyTellsNobodyElse(t *testing.T) {
	m := newMesh(t)
	var ids []peers.HostID
	for i := range 4 {
		op := m.enrol(fmt.Sprintf("h%d", i), "token")
		m.must(op)
		ids = append(ids, peers.HostID(op.Identity.Fingerprint()))
	}
	f := m.feed(100)
	host := func(i int) []peers.Selector {
		return []peers.Selector{{Kind: peers.SelectHost, Name: fmt.Sprintf("h%d", i)}}
	}
	ping := []peers.Service{{Protocol: peers.ICMP}}
	publish := func(op peers.Op) (from peers.Revision) {
		from = m.inv.Revision
		e := m.must(op)
		if err := f.Publish(m.inv, e); err != nil {
			t.Fatal(err)
		}
		return from
	}
	hears := func(reader int, since peers.Revision) string {
		var line bytes.Buffer
		if _, ok, err := f.Since(&line, ids[reader], since, nil); !ok || err != nil {
			t.Fatalf("a snapshot is needed: %v", err)
		}
		return line.String()
	}
	since := publish(peers.SetPolicy{Policy: peers.Policy{Flows: []peers.Flow{
		{From: host(0), To: host(1), Allow: ping}, {From: host(2), To: host(3), Allow: ping},
	}}})
	for reader, want := range []int{2, 2, 2, 2} {
		if got := strings.Count(hears(reader, since), string(ids[0])) + strings.Count(hears(reader, since), string(ids[2])); got == 0 {
			t.Errorf("h%d does not hear whom it loses (%d)", reader, want)
		}
	}
	moved := []peers.Endpoint{{Kind: peers.EndpointPinned, Address: netip.MustParseAddrPort("198.51.100.7:51820")}}
	since = publish(peers.UpdateHost{ID: ids[0], Endpoints: moved})
	for reader, want := range []bool{true, true, false, false} {
		if got := hears(reader, since) != ""; got != want {
			t.Errorf("h%d hears of a change of h0: %v", reader, got)
		}
	}
	since = publish(peers.SetHostState{ID: ids[0], State: peers.HostSuspended})
	for reader, want := range []bool{false, true, false, false} {
		if reader > 0 && (hears(reader, since) != "") != want {
			t.Errorf("h%d hears that h0 goes: %v", reader, !want)
		}
	}
	for reader := 1; reader < 4; reader++ {
		var line bytes.Buffer
		if _, err := f.Snapshot(&line, ids[reader], nil); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line.String(), m.identities[ids[0]].Identity().String()) {
			t.Errorf("a snapshot for h%d has h0", reader)
		}
	}
}

// TestResumeFromRecentEntries begins a feed in the middle, as a controller does that was restarted.
func TestResumeFromRecentEntries(t *testing.T) {
	m := newMesh(t)
	var heads []peers.Hash
	for i := range 6 {
		m.must(m.enrol(fmt.Sprintf("h%d", i), "token"))
		heads = append(heads, m.inv.Head)
	}
	first := m.inv.SortedHosts()[0].ID
	recent := m.entries[len(m.entries)-3:]
	f, err := feed.New(m.inv, m.secrets, recent, 100)
	if err != nil {
		t.Fatal(err)
	}
	before := m.inv.Revision - 3
	if !f.Knows(before, heads[2]) || !f.Knows(m.inv.Revision, m.inv.Head) {
		t.Error("the feed does not know revisions that it has been given")
	}
	if f.Knows(before-1, heads[1]) || f.Knows(before, heads[1]) || f.Knows(m.inv.Revision+1, m.inv.Head) ||
		f.Knows(0, peers.Hash{}) {
		t.Error("the feed says that it knows what it cannot know")
	}
	var line bytes.Buffer
	s, ok, err := f.Since(&line, first, before, nil)
	if err != nil || !ok || s.To != m.inv.Revision {
		t.Fatalf("since revision %d: %+v %v %v", before, s, ok, err)
	}
	for i, want := range []bool{false, false, false, true, true, true} {
		if got := strings.Contains(line.String(), fmt.Sprintf(`"h%d"`, i)); got != want {
			t.Errorf("h%d is in the line: %v, want %v in %s", i, got, want, line.String())
		}
	}
	if _, ok, err := f.Since(&line, first, before-1, nil); ok || err != nil {
		t.Errorf("a revision before the first entry is known: %v %v", ok, err)
	}
}

func TestEntriesMustLeadToTheInventory(t *testing.T) {
	m := newMesh(t)
	m.must(m.enrol("h1", "token"))
	m.must(m.enrol("h2", "token"))
	for name, entries := range map[string][]peers.Entry{
		"cut":  m.entries[:len(m.entries)-1],
		"hole": {m.entries[0], m.entries[2]},
	} {
		if _, err := feed.New(m.inv, m.secrets, entries, 100); err == nil {
			t.Errorf("%s: a feed was made of entries that do not lead to the inventory", name)
		}
	}
	f := m.feed(10)
	if err := f.Publish(m.inv, m.entries[len(m.entries)-1]); !errors.Is(err, feed.ErrOrder) {
		t.Errorf("publishing the same revision again: %v, want ErrOrder", err)
	}
}

func TestRingThatIsFullForgetsTheOldest(t *testing.T) {
	m := newMesh(t)
	m.must(m.enrol("h1", "token"))
	id := m.inv.SortedHosts()[0].ID
	f := m.feed(2)
	start, head := m.inv.Revision, m.inv.Head
	for i := range 3 {
		if !f.Knows(start, head) {
			t.Fatalf("%d revisions ago is forgotten in a ring of two", i)
		}
		e := m.must(m.enrol(fmt.Sprintf("x%d", i), "token"))
		if err := f.Publish(m.inv, e); err != nil {
			t.Fatal(err)
		}
	}
	if f.Knows(start, head) {
		t.Error("three revisions ago is known in a ring of two")
	}
	if _, ok, err := f.Since(&bytes.Buffer{}, id, start, nil); ok || err != nil {
		t.Errorf("Since of a forgotten revision: %v %v, want neither", ok, err)
	}
}

// TestQuietChanges holds that what concerns no host wakes nobody and tells nothing.
func TestQuietChanges(t *testing.T) {
	m := newMesh(t)
	m.must(m.enrol("h1", "token"))
	id := m.inv.SortedHosts()[0].ID
	f := m.feed(10)
	told := m.inv.Revision
	changed := f.Changed()
	quiet := []peers.Op{peers.RevokeToken{ID: "token"}, m.enrol("waits", "asking")}
	for _, op := range quiet {
		e := m.must(op)
		if err := f.Publish(m.inv, e); err != nil {
			t.Fatal(err)
		}
	}
	var line bytes.Buffer
	s, ok, err := f.Since(&line, id, told, nil)
	if err != nil || !ok || s.Wrote || s.To != m.inv.Revision || line.Len() > 0 {
		t.Errorf("a host is told of a token: %+v %v %v %s", s, ok, err, line.String())
	}
	// The pending host itself is concerned: its stream waits for such a change.
	select {
	case <-changed:
	default:
		t.Error("the enrolment of a pending host wakes nobody")
	}
	s, ok, err = f.Since(&line, id, told, []byte(`,"protocol":1`))
	want := fmt.Sprintf(`{"kind":"current","revision":%d,"head":"%v","protocol":1}`+"\n", m.inv.Revision, m.inv.Head)
	if err != nil || !ok || !s.Wrote || line.String() != want {
		t.Errorf("the first line of a stream is %q, want %q (%v %v)", line.String(), want, ok, err)
	}
}

func TestNoPlanForInactiveHosts(t *testing.T) {
	m := newMesh(t)
	m.must(m.enrol("h1", "token"))
	id := m.inv.SortedHosts()[0].ID
	f := m.feed(10)
	told := m.inv.Revision
	e := m.must(peers.SetHostState{ID: id, State: peers.HostSuspended})
	if err := f.Publish(m.inv, e); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Since(&bytes.Buffer{}, id, told, nil); !errors.Is(err, peers.ErrNoPlan) {
		t.Errorf("Since: %v, want ErrNoPlan", err)
	}
	if _, err := f.Snapshot(&bytes.Buffer{}, id, nil); !errors.Is(err, peers.ErrNoPlan) {
		t.Errorf("Snapshot: %v, want ErrNoPlan", err)
	}
}

// TestNewSecrets holds that the keys of a generation are told once its secret is there.
func TestNewSecrets(t *testing.T) {
	m := newMesh(t)
	m.must(m.enrol("h1", "token"))
	m.must(m.enrol("h2", "token"))
	f, err := feed.New(m.inv, nil, nil, 10)
	if err != nil {
		t.Fatal(err)
	}
	id := m.inv.SortedHosts()[0].ID
	for _, want := range []bool{false, true} {
		var line bytes.Buffer
		if _, err := f.Snapshot(&line, id, nil); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(line.String(), `"psks"`); got != want {
			t.Errorf("the snapshot has pre-shared keys: %v, want %v", got, want)
		}
		f.SetSecrets(m.secrets)
	}
}

// brokenWriter takes some bytes and then fails.
type brokenWriter struct{ room int }

var errBroken = errors.New("the other end is gone")

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.room -= len(p); w.room < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestErrorsOfTheWriter(t *testing.T) {
	m := newMesh(t)
	for i := range 40 {
		m.must(m.enrol(fmt.Sprintf("h%d", i), "token"))
	}
	f := m.feed(10)
	id := m.inv.SortedHosts()[0].ID
	for _, room := range []int{0, 5000, 9000} {
		if _, err := f.Snapshot(&brokenWriter{room}, id, nil); !errors.Is(err, errBroken) {
			t.Errorf("Snapshot to a writer with room for %d bytes: %v", room, err)
		}
	}
	if _, _, err := f.Since(&brokenWriter{}, id, m.inv.Revision, []byte(`,"protocol":1`)); !errors.Is(err, errBroken) {
		t.Errorf("Since: %v", err)
	}
}

func BenchmarkSince(b *testing.B) {
	m := newMesh(b)
	for i := range 999 {
		m.must(m.enrol(fmt.Sprintf("h%d", i), "token"))
	}
	hosts := m.inv.SortedHosts()
	f := m.feed(10)
	told := m.inv.Revision
	e := m.must(m.enrol("new", "token"))
	if err := f.Publish(m.inv, e); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var line bytes.Buffer
	for i := 0; b.Loop(); i++ {
		line.Reset()
		if _, ok, err := f.Since(&line, hosts[i%len(hosts)].ID, told, nil); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
	b.ReportMetric(float64(line.Len()), "bytes/line")
}

func BenchmarkSnapshot(b *testing.B) {
	m := newMesh(b)
	for i := range 999 {
		m.must(m.enrol(fmt.Sprintf("h%d", i), "token"))
	}
	f := m.feed(10)
	id := m.inv.SortedHosts()[0].ID
	b.ReportAllocs()
	var line bytes.Buffer
	for b.Loop() {
		line.Reset()
		if _, err := f.Snapshot(&line, id, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(line.Len()), "bytes/line")
}

// TestHeirOfAGateway: a gateway gets a new identity, and everybody hears under which id it goes on.
func TestHeirOfAGateway(t *testing.T) {
	m := newMesh(t)
	m.must(m.enrol("gateway", "token"))
	m.must(m.enrol("reader", "token"))
	m.must(peers.SetSite{
		Name: "shop", Prefixes: []peers.SitePrefix{{Prefix: netip.MustParsePrefix("10.20.0.0/24")}}, Gateways: []string{"gateway"},
	})
	reader, _ := m.inv.HostNamed("reader")
	fo := &follower{id: reader.ID, psks: peers.PSKs{}}
	f := m.feed(100)
	var line bytes.Buffer
	if _, err := f.Snapshot(&line, fo.id, nil); err != nil {
		t.Fatal(err)
	}
	if err := fo.take(line.Bytes()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		h, _ := m.inv.HostNamed("gateway")
		op := peers.Op(peers.OrderRekey{ID: h.ID})
		if h.Rekey != nil {
			op = m.heir(h)
		}
		e := m.must(op)
		if err := f.Publish(m.inv, e); err != nil {
			t.Fatal(err)
		}
	}
	line.Reset()
	if _, known, err := f.Since(&line, fo.id, fo.told, nil); err != nil || !known {
		t.Fatal(known, err)
	}
	if err := fo.take(line.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := fo.check(m); err != nil {
		t.Fatal(err)
	}
}
