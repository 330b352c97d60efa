package controller_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

func TestSnapshotThenDeltas(t *testing.T) {
	s := newSite(t)
	shop := s.join("shop")
	erp := s.join("erp")
	st, d := shop.connect()
	if d.Plan == nil || d.Plan.Self.Name != "shop" || len(d.Plan.Interfaces) != 1 || d.Protocol != wire.Protocol ||
		len(d.Controllers) != 1 || d.Controllers[0] != s.addr || d.Revision != s.c.Inventory().Revision ||
		d.Head != s.c.Inventory().Head {
		t.Errorf("snapshot %+v", d)
	}
	if len(d.Peers) != 1 || d.Peers[0].ID != erp.id() {
		t.Fatalf("peers of the snapshot: %+v", d.Peers)
	}
	fiscal := s.join("fiscal")
	delta := st.expect(wire.DownDelta)
	if len(delta.Peers) != 1 || delta.Peers[0].ID != fiscal.id() || delta.Plan != nil || len(delta.Remove) != 0 {
		t.Errorf("delta for a new host: %+v", delta)
	}
	// Both ends of a pair are told the same key, and nobody else's.
	_, other := fiscal.connect()
	if a, b := delta.PSKs[1][fiscal.id()], other.PSKs[1][shop.id()]; a == "" || a != b {
		t.Errorf("one end of the pair has key %q, the other %q", a, b)
	}
	if delta.PSKs[1][fiscal.id()] == d.PSKs[1][erp.id()] {
		t.Error("two pairs have the same pre-shared key")
	}
	s.must(http.MethodDelete, wire.PathHosts+"/erp", nil, nil)
	if gone := st.expect(wire.DownDelta); len(gone.Remove) != 1 || gone.Remove[0] != erp.id() || len(gone.Peers) != 0 {
		t.Errorf("delta for a removed host: %+v", gone)
	}
	s.must(http.MethodPatch, wire.PathMesh, wire.MeshSettings{Keepalive: new(15)}, nil)
	if own := st.expect(wire.DownDelta); own.Plan == nil || own.Plan.Mesh.Keepalive != 15 ||
		len(own.Peers)+len(own.Remove) != 0 {
		t.Errorf("delta for a setting of the mesh: %+v", own)
	}
	s.token(wire.TokenOrder{})
	st.quiet()
}

// TestResume holds that an agent which missed nothing is told nothing, across a restart of the controller.
func TestResume(t *testing.T) {
	s := newSite(t)
	shop := s.join("shop")
	s.join("erp")
	_, d := shop.connect()
	s.restart()
	again := shop.hello()
	again.Revision, again.Head = d.Revision, d.Head
	st := shop.open(again)
	current := st.expect(wire.DownCurrent)
	if current.Revision != d.Revision || current.Head != d.Head {
		t.Errorf("current at %d, want %d", current.Revision, d.Revision)
	}
	st.close()

	fiscal := s.join("fiscal")
	s.restart()
	st = shop.open(again)
	if delta := st.expect(wire.DownDelta); len(delta.Peers) != 1 || delta.Peers[0].ID != fiscal.id() || delta.Plan != nil {
		t.Errorf("delta after a restart: %+v", delta)
	}
	st.close()

	// A ledger that went another way since, as after a restore, is not resumed from.
	again.Head[0]++
	shop.open(again).expect(wire.DownSnapshot)
}

func TestApproval(t *testing.T) {
	s := newSite(t)
	shop := s.join("shop")
	watch, _ := shop.connect()
	m := s.machine("erp")
	e, f := m.enrol(s.token(wire.TokenOrder{Approve: true}))
	if f != nil || e.State != peers.HostPending {
		t.Fatalf("enrolled with approval: %+v %+v", e, f)
	}
	st := m.open(m.hello())
	st.expect(wire.DownPending)
	watch.quiet()
	s.act("erp", wire.ActionApprove)
	if d := st.expect(wire.DownSnapshot); d.Plan == nil || len(d.Peers) != 1 {
		t.Errorf("snapshot after the approval: %+v", d)
	}

	refused := s.machine("refused")
	if _, f := refused.enrol(s.token(wire.TokenOrder{Approve: true})); f != nil {
		t.Fatal(f)
	}
	st = refused.open(refused.hello())
	st.expect(wire.DownPending)
	s.act("refused", wire.ActionRevoke)
	if d := st.expect(wire.DownGoodbye); d.Fault == nil || d.Fault.Code != "revoked" {
		t.Errorf("goodbye %+v", d)
	}
}

func TestRevokeEndsTheStreamAtOnce(t *testing.T) {
	s := newSite(t)
	shop, erp := s.join("shop"), s.join("erp")
	watch, _ := shop.connect()
	st, d := erp.connect()
	start := time.Now()
	s.act("erp", wire.ActionRevoke)
	if bye := st.expect(wire.DownGoodbye); bye.Fault == nil || bye.Fault.Code != "revoked" || bye.Fault.Hint == "" {
		t.Errorf("goodbye %+v", bye)
	}
	st.expectEnd()
	if gone := watch.expect(wire.DownDelta); len(gone.Remove) != 1 || gone.Remove[0] != erp.id() {
		t.Errorf("the others were told %+v", gone)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("revoking took %v, want at most a second", took)
	}
	h := erp.hello()
	h.Revision, h.Head = d.Revision, d.Head
	if _, f := erp.dial(h); f == nil || f.Status != 403 || f.Code != "revoked" {
		t.Errorf("the revoked host came back: %+v", f)
	}
	if f := erp.call(http.MethodPost, wire.PathLeave, nil, nil); f == nil || f.Code != "revoked" {
		t.Errorf("the revoked host left, and could come back as a new one: %+v", f)
	}
	s.must(http.MethodDelete, wire.PathHosts+"/erp", nil, nil)
	if _, f := erp.dial(h); f == nil || f.Code != "revoked" {
		t.Errorf("the revoked host came back once it was removed: %+v", f)
	}
}

func TestSuspendAndResume(t *testing.T) {
	s := newSite(t)
	shop, erp := s.join("shop"), s.join("erp")
	watch, _ := shop.connect()
	st, d := erp.connect()
	s.act("erp", wire.ActionSuspend)
	if bye := st.expect(wire.DownGoodbye); bye.Fault == nil || bye.Fault.Code != "suspended" {
		t.Errorf("goodbye %+v", bye)
	}
	st.expectEnd()
	watch.expect(wire.DownDelta)
	h := erp.hello()
	h.Revision, h.Head = d.Revision, d.Head
	if _, f := erp.dial(h); f == nil || f.Code != "suspended" {
		t.Errorf("the suspended host came back: %+v", f)
	}
	if f := erp.call(http.MethodPost, wire.PathLeave, nil, nil); f == nil || f.Code != "suspended" {
		t.Errorf("the suspended host left, and could come back as a new one: %+v", f)
	}
	s.act("erp", wire.ActionResume)
	if back := watch.expect(wire.DownDelta); len(back.Peers) != 1 || back.Peers[0].ID != erp.id() {
		t.Errorf("the others were told %+v", back)
	}
	// What the host has since before its suspension is still right, so it needs no snapshot.
	st = erp.open(h)
	if own := st.expect(wire.DownDelta); own.Plan == nil || len(own.Remove) != 0 {
		t.Errorf("the resumed host was told %+v", own)
	}
	if s.host("erp").State != peers.HostActive {
		t.Error("the resumed host is not active")
	}
}

func TestRemovedHostIsToldWhy(t *testing.T) {
	s := newSite(t)
	erp := s.join("erp")
	st, _ := erp.connect()
	s.must(http.MethodDelete, wire.PathHosts+"/erp", nil, nil)
	if bye := st.expect(wire.DownGoodbye); bye.Fault == nil || bye.Fault.Code != "not-enrolled" {
		t.Errorf("goodbye %+v", bye)
	}
	if _, f := s.machine("stranger").dial(wire.Hello{
		Protocol: wire.Protocol, Session: "x",
		Endpoints: []peers.Endpoint{},
	}); f == nil || f.Code != "not-enrolled" {
		t.Errorf("a stranger's stream: %+v", f)
	}
}

func TestLeave(t *testing.T) {
	s := newSite(t)
	shop, erp := s.join("shop"), s.join("erp")
	watch, _ := shop.connect()
	if f := erp.call(http.MethodPost, wire.PathLeave, nil, nil); f != nil {
		t.Fatal(f)
	}
	if gone := watch.expect(wire.DownDelta); len(gone.Remove) != 1 || gone.Remove[0] != erp.id() {
		t.Errorf("the others were told %+v", gone)
	}
	if f := erp.call(http.MethodPost, wire.PathLeave, nil, nil); f == nil || f.Code != "not-enrolled" {
		t.Errorf("left twice: %+v", f)
	}
	// It left by itself, so it may come back.
	if _, f := erp.enrol(s.token(wire.TokenOrder{})); f != nil {
		t.Errorf("coming back: %+v", f)
	}
}

// TestTwoMachinesOneIdentity is a cloned disk: the original stays, the clone is refused, the admin is told.
func TestTwoMachinesOneIdentity(t *testing.T) {
	s := newSite(t)
	original := s.join("erp")
	st, _ := original.connect()
	clone := original.clone()
	answered := make(chan *wire.Fault)
	go func() {
		_, f := clone.dial(clone.hello())
		answered <- f
	}()
	st.expect(wire.DownPing)
	st.say(wire.Up{Kind: wire.UpPong})
	if f := <-answered; f == nil || f.Code != "identity-in-use" || f.Status != http.StatusConflict || f.Hint == "" {
		t.Errorf("the clone got %+v", f)
	}
	st.quiet()
	h := s.host("erp")
	if !h.Online || len(h.Problems) != 1 || h.Problems[0].Code != "identity-in-use" {
		t.Errorf("the admin sees %+v", h)
	}
	if !strings.Contains(s.log.String(), "second machine") {
		t.Error("the log does not tell of the clone")
	}
}

// TestRestartedAgentTakesOver: the old session does not answer any more, so the new one is let in.
func TestRestartedAgentTakesOver(t *testing.T) {
	s := newSite(t)
	m := s.join("erp")
	old, _ := m.connect()
	restarted := m.clone()
	start := time.Now()
	if _, d := restarted.connect(); d.Plan == nil {
		t.Error("no plan for the restarted agent")
	}
	if took := time.Since(start); took < time.Second || took > 5*time.Second {
		t.Errorf("taking over from an agent that is silent took %v, want about 2 s", took)
	}
	old.expect(wire.DownPing)
	old.expectEnd()
	eventually(t, "the new session counts", func() bool { return s.host("erp").Online })

	// The same run of the agent on a new connection does not have to wait.
	start = time.Now()
	restarted.connect()
	if took := time.Since(start); took > time.Second {
		t.Errorf("reconnecting took %v", took)
	}
}

func TestReportsAreShown(t *testing.T) {
	s := newSite(t)
	shop, erp := s.join("shop"), s.join("erp")
	if h := s.host("shop"); h.Online || h.LastSeen != nil || h.Problems == nil {
		t.Errorf("a host that was never there: %+v", h)
	}
	st, d := shop.connect()
	st.say(wire.Up{Kind: wire.UpReport, Report: &wire.Report{
		Revision: d.Revision, Generation: 1, Backend: "userspace",
		Problems: &[]peers.Problem{{Code: "route-conflict", Message: "a \x1b[31mbad\x1b[0m route"}},
		Peers:    []wire.PeerReport{{ID: erp.id(), Generation: 1, State: wire.PeerUp}},
	}})
	eventually(t, "the report is shown", func() bool { return s.host("shop").Revision == d.Revision })
	h := s.host("shop")
	if !h.Online || h.LastSeen == nil || h.Backend != "userspace" || h.Version != "1" || h.Generation != 1 ||
		len(h.Peers) != 1 || h.Peers[0].State != wire.PeerUp || len(h.Problems) != 1 {
		t.Errorf("shown as %+v", h)
	}
	if strings.Contains(h.Problems[0].Message, "\x1b") {
		t.Error("a host can write control characters to the terminal of an admin")
	}
	revision := s.c.Inventory().Revision
	st.say(wire.Up{Kind: wire.UpReport, Report: &wire.Report{Problems: &[]peers.Problem{}}})
	eventually(t, "the problem is gone", func() bool { return len(s.host("shop").Problems) == 0 })
	if s.c.Inventory().Revision != revision {
		t.Error("a report is in the ledger")
	}
	st.close()
	eventually(t, "the host is offline", func() bool { return !s.host("shop").Online })
	seen := s.host("shop").LastSeen
	s.restart()
	if again := s.host("shop").LastSeen; again == nil || again.Sub(*seen).Abs() > 5*time.Second {
		t.Errorf("last seen at %v, and at %v after a restart", seen, again)
	}
}

// TestHelloTellsNews: what a hello says of the host becomes a change only where it is new.
func TestHelloTellsNews(t *testing.T) {
	s := newSite(t)
	shop, erp := s.join("shop"), s.join("erp")
	watch, _ := shop.connect()
	before := s.c.Inventory().Revision
	st, _ := erp.connect()
	if s.c.Inventory().Revision != before {
		t.Fatal("a hello without news is a change")
	}
	st.close()
	h := erp.hello()
	h.Port = 4500
	h.Endpoints = local("192.0.2.99:4500")
	fresh, err := key.NewPrivate(strings.NewReader(strings.Repeat("fresh", 7)))
	if err != nil {
		t.Fatal(err)
	}
	erp.wg = fresh
	h.Keys = []peers.HostKey{erp.key(), {Generation: 7}} // one that nobody uses is no reason to be refused
	st = erp.open(h)
	d := watch.expect(wire.DownDelta)
	if len(d.Peers) != 1 || d.Peers[0].Endpoints[0].Address.String() != "192.0.2.99:4500" ||
		d.Peers[0].Keys[0].Public != fresh.Public() {
		t.Errorf("the others were told %+v", d)
	}
	if own := st.expect(wire.DownSnapshot); own.Plan.Interfaces[0].Port != 4501 { // slot 1
		t.Errorf("the host was told %+v", own.Plan.Interfaces)
	}
	st.close()

	h.Keys[0].Signature = shop.key().Signature
	h.Keys[0].Public = shop.wg.Public()
	if _, f := erp.dial(h); f == nil || f.Code != "key-signature" && f.Code != "key-taken" {
		t.Errorf("a key without a signature: %+v", f)
	}
}

func TestNewKeyInAReport(t *testing.T) {
	s := newSite(t)
	shop, erp := s.join("shop"), s.join("erp")
	watch, _ := shop.connect()
	st, _ := erp.connect()
	fresh, err := key.NewPrivate(strings.NewReader(strings.Repeat("fresh", 7)))
	if err != nil {
		t.Fatal(err)
	}
	erp.wg = fresh
	st.say(wire.Up{Kind: wire.UpReport, Report: &wire.Report{Keys: []peers.HostKey{erp.key()}}})
	if d := watch.expect(wire.DownDelta); len(d.Peers) != 1 || d.Peers[0].Keys[0].Public != fresh.Public() {
		t.Errorf("the others were told %+v", d)
	}
}

func TestHellosThatAreNone(t *testing.T) {
	s := newSite(t)
	m := s.join("erp")
	good := m.hello()
	for name, change := range map[string]func(*wire.Hello){
		"protocol":      func(h *wire.Hello) { h.Protocol = 0 },
		"hello-missing": func(h *wire.Hello) { h.Session = "" },
	} {
		h := good
		change(&h)
		if _, f := m.dial(h); f == nil || f.Status != 400 || f.Code != name {
			t.Errorf("%s: got %+v", name, f)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.addr+wire.PathStream,
		strings.NewReader("{\"kind\":\"report\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := m.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if f, err := faultOf(resp); err != nil || f.Code != "hello-missing" {
		t.Errorf("a stream that begins with a report: %+v %v", f, err)
	}
}

// TestCoalescing: a reader that was away while much happened gets one line.
func TestCoalescing(t *testing.T) {
	s := newSite(t)
	shop := s.join("shop")
	st, d := shop.connect()
	st.close()
	for i := range 20 {
		s.join(fmt.Sprintf("h%d", i))
	}
	h := shop.hello()
	h.Revision, h.Head = d.Revision, d.Head
	if delta := shop.open(h).expect(wire.DownDelta); len(delta.Peers) != 20 {
		t.Errorf("one line with %d hosts, want 20", len(delta.Peers))
	}
}

// TestOlderBackup: agents notice what the ledger has forgotten.
func TestOlderBackup(t *testing.T) {
	s := newSite(t)
	m := s.join("erp")
	h := m.hello()
	h.Revision, h.Head = s.c.Inventory().Revision+5, peers.Hash{1}
	m.open(h).expect(wire.DownSnapshot)
	if !strings.Contains(s.log.String(), "older backup") {
		t.Errorf("the log does not warn:\n%s", s.log)
	}
}
