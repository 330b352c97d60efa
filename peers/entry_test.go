package peers_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// lastEntry is a mesh and the entry that admits one more host.
func lastEntry(t testing.TB) (*peers.Inventory, peers.Entry) {
	t.Helper()
	inv := after(t, threeSites(t), createToken("good", "shop"))
	c := change(enroll("good", "till"))
	c.Why = "a second till <&> \u2028 for Christmas"
	_, e, err := inv.Record(c)
	if err != nil {
		t.Fatal(err)
	}
	return inv, e
}

func TestEntry(t *testing.T) {
	inv, e := lastEntry(t)
	if e.Revision != inv.Revision+1 || e.Prev != inv.Head || e.Kind != "host.enroll" || e.By != "admin:anna" {
		t.Errorf("entry: %+v", e)
	}
	var keys []string
	for _, o := range e.Objects {
		keys = append(keys, o.Key)
	}
	if want := []string{"token/good", "mesh", "host/" + string(idOf("till"))}; !slices.Equal(keys, want) {
		t.Errorf("objects %q, want %q", keys, want)
	}
	next, err := inv.Replay(e)
	if err != nil || next.Head != e.Hash || next.Revision != e.Revision {
		t.Errorf("replayed: %v", err)
	}
}

// TestEntryTime: the hash does not depend on how a time is written, nor on what the entry was made of.
func TestEntryTime(t *testing.T) {
	inv := threeSites(t)
	mtu := 1400
	c := change(peers.SetMesh{MTU: &mtu})
	_, e, err := inv.Record(c)
	if err != nil {
		t.Fatal(err)
	}
	c.At = c.At.In(time.FixedZone("somewhere", 3600))
	if _, same, err := inv.Record(c); err != nil || same.Hash != e.Hash {
		t.Errorf("in another zone: %v, %v", same.Hash, err)
	}
	e.At = c.At
	if _, err := inv.Replay(e); err != nil {
		t.Errorf("in another zone: %v", err)
	}
}

// TestEntryTampered changes each field of an entry in turn.
func TestEntryTampered(t *testing.T) {
	inv, good := lastEntry(t)
	raw := func(r json.RawMessage, from, to string) json.RawMessage {
		out := strings.Replace(string(r), from, to, 1)
		if out == string(r) {
			t.Fatalf("%s is not in %s", from, r)
		}
		return json.RawMessage(out)
	}
	cases := map[string]func(e *peers.Entry){
		"revision":      func(e *peers.Entry) { e.Revision++ },
		"at":            func(e *peers.Entry) { e.At = e.At.Add(1) },
		"by":            func(e *peers.Entry) { e.By = "admin:eve" },
		"why":           func(e *peers.Entry) { e.Why = "" },
		"kind":          func(e *peers.Entry) { e.Kind = "host.update" },
		"op":            func(e *peers.Entry) { e.Op = raw(e.Op, `"name":"till"`, `"name":"tilt"`) },
		"object key":    func(e *peers.Entry) { e.Objects[0].Key = "token/bad" },
		"object before": func(e *peers.Entry) { e.Objects[0].Before = raw(e.Objects[0].Before, `"used":0`, `"used":1`) },
		"object after":  func(e *peers.Entry) { e.Objects[0].After = raw(e.Objects[0].After, `"used":1`, `"used":0`) },
		"object gone":   func(e *peers.Entry) { e.Objects = e.Objects[1:] },
		"object twice":  func(e *peers.Entry) { e.Objects = append(e.Objects, e.Objects[0]) },
		"order":         func(e *peers.Entry) { slices.Reverse(e.Objects) },
		"no objects":    func(e *peers.Entry) { e.Objects = nil },
		"prev":          func(e *peers.Entry) { e.Prev[31]++ },
		"hash":          func(e *peers.Entry) { e.Hash[0]++ },
		"no JSON":       func(e *peers.Entry) { e.Op, e.Hash = json.RawMessage("{"), peers.Hash{} },
	}
	for name, tamper := range cases {
		e := good
		e.Objects = slices.Clone(good.Objects)
		tamper(&e)
		if err := e.Follows(inv.Revision, inv.Head); !errors.Is(err, peers.ErrChain) {
			t.Errorf("%s: Follows says %v", name, err)
		}
		if _, err := inv.Replay(e); !errors.Is(err, peers.ErrChain) {
			t.Errorf("%s: Replay says %v", name, err)
		}
	}
}

// TestEntryOfAnotherLedger: an entry that is right in itself, of a ledger that went another way.
func TestEntryOfAnotherLedger(t *testing.T) {
	inv, e := lastEntry(t)
	other := after(t, threeSites(t), createToken("other", "shop"))
	if other.Revision != inv.Revision || other.Head == inv.Head {
		t.Fatal("the other ledger is the same one")
	}
	if _, err := other.Replay(e); !errors.Is(err, peers.ErrChain) {
		t.Errorf("replayed on another ledger: %v", err)
	}
	if err := e.Follows(other.Revision, other.Head); !errors.Is(err, peers.ErrChain) {
		t.Errorf("follows on another ledger: %v", err)
	}
}

// TestEntryForged gives tampered entries the right hash, as somebody could who writes into the ledger:
// what the entry says is then not what its change does.
func TestEntryForged(t *testing.T) {
	inv, good := lastEntry(t)
	for name, forge := range map[string]func(e *peers.Entry){
		"object": func(e *peers.Entry) {
			e.Objects[1].After = json.RawMessage(strings.Replace(string(e.Objects[1].After), `1420`, `1280`, 1))
		},
		"invalid":      func(e *peers.Entry) { e.Op = json.RawMessage(strings.Replace(string(e.Op), `"till"`, `"shop"`, 1)) },
		"unknown kind": func(e *peers.Entry) { e.Kind = "host.steal" },
		"unknown meaning": func(e *peers.Entry) {
			e.Op = json.RawMessage(strings.Replace(string(e.Op), `{`, `{"admin":true,`, 1))
		},
	} {
		e := good
		e.Objects = slices.Clone(good.Objects)
		forge(&e)
		e.Hash = peers.DigestForTest(e)
		if err := e.Follows(inv.Revision, inv.Head); err != nil {
			t.Fatalf("%s: the forgery is bad: %v", name, err)
		}
		if next, err := inv.Replay(e); err == nil {
			t.Errorf("%s: replayed as %v", name, next.Revision)
		}
	}
}

func TestDecodeEntryRefuses(t *testing.T) {
	_, e := lastEntry(t)
	good, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"nothing": "", "half": string(good[:len(good)/2]), "two": string(good) + string(good), "list": "[]",
		"unknown field": strings.Replace(string(good), `{`, `{"signed":true,`, 1),
		"short hash":    strings.Replace(string(good), e.Hash.String(), e.Hash.String()[:62], 1),
		"no hash":       strings.Replace(string(good), e.Hash.String(), strings.Repeat("x", 64), 1),
	} {
		if got, err := peers.DecodeEntry([]byte(raw)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestEntryHosts(t *testing.T) {
	inv := threeSites(t)
	mtu, same := 1400, peers.DefaultMTU
	port := uint16(7)
	shop := fmt.Sprint([]peers.HostID{idOf("shop")})
	for name, c := range map[string]struct {
		op   peers.Op
		want string
		all  bool
	}{
		"update":     {peers.UpdateHost{ID: idOf("shop"), Port: &port}, shop, false},
		"no update":  {peers.UpdateHost{ID: idOf("shop")}, "[]", false},
		"revoke":     {peers.SetHostState{ID: idOf("shop"), State: peers.HostRevoked}, shop, false},
		"remove":     {peers.RemoveHost{ID: idOf("shop")}, shop, false},
		"token":      {createToken("x", "shop"), "[]", false},
		"mesh":       {peers.SetMesh{MTU: &mtu}, "[]", true},
		"same mesh":  {peers.SetMesh{MTU: &same}, "[]", false},
		"generation": {peers.StartGeneration{Number: 2}, "[]", true},
		"site":       {peers.SetSite{Name: "shop", Gateways: []string{"shop"}}, "[]", false},
	} {
		_, e, err := inv.Record(change(c.op))
		if err != nil {
			t.Fatal(err)
		}
		if ids, all := e.Hosts(); fmt.Sprint(ids) != c.want || all != c.all {
			t.Errorf("%s: %v %v, want %v %v", name, ids, all, c.want, c.all)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	inv := after(t, threeSites(t), peers.AddAdmin{Name: "anna", Identity: identityOf("anna").Identity()},
		peers.SetHostState{ID: idOf("shop"), State: peers.HostRevoked}, peers.RemoveHost{ID: idOf("shop")})
	objects := func() map[string]json.RawMessage {
		out := map[string]json.RawMessage{}
		for _, o := range inv.Objects() {
			out[o.Key] = o.After
		}
		return out
	}
	if loaded, err := peers.Load(inv.Revision, inv.Head, objects()); err != nil || text(loaded) != text(inv) {
		t.Fatalf("loaded another inventory: %v", err)
	}
	for _, key := range []string{"mesh", "site/shop", "token/t-shop", "admin/anna", "host/" + string(idOf("warehouse"))} {
		bad := objects()
		if bad[key] == nil {
			t.Fatalf("there is no %s", key)
		}
		moved := bad[key]
		bad[key] = json.RawMessage(`{"new":1}`)
		if _, err := peers.Load(inv.Revision, inv.Head, bad); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s with an unknown field: %v", key, err)
		}
		bad = objects()
		bad[key+"x"] = moved
		delete(bad, key)
		if _, err := peers.Load(inv.Revision, inv.Head, bad); err == nil {
			t.Errorf("%s under another key: no error", key)
		}
	}
	if _, err := peers.Load(1, peers.Hash{}, map[string]json.RawMessage{"moon/x": nil}); err == nil {
		t.Error("an object of unknown kind is loaded")
	}
}

// TestInventoryFinds looks hosts and admins up that are not there.
func TestInventoryFinds(t *testing.T) {
	inv := threeSites(t)
	if h, ok := inv.HostNamed("x"); ok {
		t.Errorf("found %+v", h)
	}
	if a, ok := inv.AdminWith(identityOf("x").Identity()); ok {
		t.Errorf("found %+v", a)
	}
	if p, ok := inv.Peer("x"); ok {
		t.Errorf("found %+v", p)
	}
	if _, err := inv.Plan("x"); !errors.Is(err, peers.ErrNoPlan) {
		t.Errorf("plan of nobody: %v", err)
	}
	if g := (&peers.Mesh{}).Current(); g != 0 {
		t.Errorf("no mesh has generation %d", g)
	}
}
