package peers_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// succeed gives a host the identity of another name, which has signed its key of generation 1.
func succeed(from, to string) peers.SucceedHost {
	heir := identityOf(to)
	return peers.SucceedHost{
		ID: idOf(from), Identity: heir.Identity(), Signature: peers.SignHandover(meshID, identityOf(from), heir.Identity()).Signature,
		Keys: []peers.HostKey{peers.SignKey(meshID, heir, 1, privateOf("shop", 1).Public())},
	}
}

// TestSucceed: a new identity changes who the host is and nothing that a tunnel is made of.
func TestSucceed(t *testing.T) {
	before := threeSites(t)
	inv := after(t, before, peers.OrderRekey{ID: idOf("shop")})
	if p, _ := inv.PlanAlone(idOf("shop")); !p.Self.Rekey {
		t.Error("the host does not hear of it")
	}
	inv = after(t, inv, succeed("shop", "shop-2"))
	h, ok := inv.HostNamed("shop")
	if !ok || h.ID != idOf("shop-2") || h.Rekey != nil || h.Origin() != idOf("shop") || inv.Hosts[idOf("shop")] != nil {
		t.Fatalf("the host is %+v", h)
	}
	if b := inv.Buried[idOf("shop")]; b == nil || b.Heir != h.ID || b.Name != "shop" {
		t.Errorf("the old identity is %+v", b)
	}
	if p, _ := inv.PlanAlone(h.ID); p.Self.Rekey || p.Self.Origin != idOf("shop") {
		t.Errorf("the host is told %+v", p.Self)
	}
	// What the kernels of the others have stays as it is: the same peer by key, with the same pre-shared key.
	old, now := planOf(t, before, "warehouse"), planOf(t, inv, "warehouse")
	i := slices.IndexFunc(old.Peers, func(p peers.Peer) bool { return p.Name == "shop" })
	j := slices.IndexFunc(now.Peers, func(p peers.Peer) bool { return p.Name == "shop" })
	was, is := old.Peers[i], now.Peers[j]
	if was.Keys[0].Public != is.Keys[0].Public || !reflect.DeepEqual(was.Prefixes, is.Prefixes) || was.Joined != is.Joined ||
		old.PSKs[1][was.ID].Expose() != now.PSKs[1][is.ID].Expose() {
		t.Errorf("the peer was %+v and is %+v", was, is)
	}
	if checked, problems := now.Check(peers.VerifyKey); len(problems) > 0 || len(checked.Peers) != 2 {
		t.Errorf("the others do not believe it: %v", problems)
	}
	raw, err := json.Marshal(is)
	if err != nil {
		t.Fatal(err)
	}
	var read peers.Peer
	if err := json.Unmarshal(raw, &read); err != nil || !reflect.DeepEqual(read.Former, is.Former) || read.Origin() != is.Origin() {
		t.Errorf("the record comes back as %+v, %v", read, err)
	}
	// And once more, which leads back to the same origin.
	second := succeed("shop-2", "shop-3")
	inv = after(t, inv, peers.OrderRekey{ID: idOf("shop-2")}, second)
	if h, _ := inv.HostNamed("shop"); len(h.Former) != 2 || h.Origin() != idOf("shop") {
		t.Errorf("after the second one the host is %+v", h)
	}
}

func TestSucceedRefuses(t *testing.T) {
	ordered := after(t, threeSites(t), peers.OrderRekey{ID: idOf("shop")})
	edit := func(do func(*peers.SucceedHost)) peers.SucceedHost {
		op := succeed("shop", "shop-2")
		do(&op)
		return op
	}
	taken := func(name string) peers.SucceedHost { return succeed("shop", name) }
	for name, c := range map[string]struct {
		inv  *peers.Inventory
		op   peers.Op
		code string
	}{
		"not asked for":     {threeSites(t), succeed("shop", "shop-2"), "rekey-unordered"},
		"asked for twice":   {ordered, peers.OrderRekey{ID: idOf("shop")}, "rekey-ordered"},
		"of nobody":         {ordered, peers.OrderRekey{ID: "x"}, "host-unknown"},
		"signed by another": {ordered, edit(func(o *peers.SucceedHost) { o.Signature[0]++ }), "handover-signature"},
		"no identity":       {ordered, edit(func(o *peers.SucceedHost) { o.Identity = key.Identity{} }), "handover-signature"},
		"without its keys":  {ordered, edit(func(o *peers.SucceedHost) { o.Keys = nil }), "keys-differ"},
		"with another key": {ordered, edit(func(o *peers.SucceedHost) {
			o.Keys = []peers.HostKey{peers.SignKey(meshID, identityOf("shop-2"), 1, privateOf("eve", 1).Public())}
		}), "keys-differ"},
		"keys of the old":    {ordered, edit(func(o *peers.SucceedHost) { o.Keys = keysOf("shop", 1) }), "key-signature"},
		"that of another":    {ordered, taken("warehouse"), "identity-taken"},
		"its own":            {ordered, taken("shop"), "identity-taken"},
		"during a rotation":  {after(t, ordered, peers.StartGeneration{Number: 2}), succeed("shop", "shop-2"), "rotation-running"},
		"while suspended":    {after(t, threeSites(t), peers.SetHostState{ID: idOf("shop"), State: peers.HostSuspended}), peers.OrderRekey{ID: idOf("shop")}, "state-order"},
		"revoked meanwhile":  {after(t, ordered, peers.SetHostState{ID: idOf("shop"), State: peers.HostRevoked}), succeed("shop", "shop-2"), "rekey-unordered"},
		"the one given up":   {after(t, ordered, succeed("shop", "shop-2"), peers.OrderRekey{ID: idOf("shop-2")}), succeed("shop-2", "shop"), "identity-revoked"},
		"enrol the given up": {after(t, ordered, succeed("shop", "shop-2"), createToken("t2", "shop")), renamed(enroll("t2", "shop"), "again"), "identity-revoked"},
	} {
		_, err := c.inv.Apply(change(c.op))
		if problems, ok := errors.AsType[peers.Problems](err); !ok || !problems.Has(c.code) {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	if p, _ := after(t, ordered, peers.StartGeneration{Number: 2}).PlanAlone(idOf("shop")); p.Self.Rekey {
		t.Error("the host is asked for a new identity while a rotation runs")
	}
}

func renamed(op peers.EnrollHost, name string) peers.EnrollHost {
	op.Name = name
	return op
}

// TestRekeyKeepsTunnels: whatever hosts get new identities in whatever order, no step touches a kernel.
func TestRekeyKeepsTunnels(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inv := threeSites(t)
		names := map[string]string{"shop": "shop", "warehouse": "warehouse", "accounting": "accounting"}
		kernel := map[string]string{}
		for name := range names {
			kernel[name] = wanted(t, inv, name)
		}
		for i := range rapid.IntRange(1, 6).Draw(rt, "rekeys") {
			name := rapid.SampledFrom([]string{"shop", "warehouse", "accounting"}).Draw(rt, "host")
			heir := names[name] + string(rune('a'+i))
			op := succeed(names[name], heir)
			op.Keys = []peers.HostKey{peers.SignKey(meshID, identityOf(heir), 1, privateOf(name, 1).Public())}
			inv = after(t, inv, peers.OrderRekey{ID: idOf(names[name])}, op)
			names[name] = heir
			for who := range names {
				if got := wanted(t, inv, who); got != kernel[who] {
					rt.Fatalf("the kernel of %s shall have\n%s\nand had\n%s", who, got, kernel[who])
				}
			}
		}
	})
}

// wanted is what a kernel with nothing in it would be given, as text without who starts handshakes.
func wanted(t *testing.T, inv *peers.Inventory, name string) string {
	t.Helper()
	var lines []string
	for _, s := range peers.Diff(peers.State{}, planOf(t, inv, name)) {
		text := s.String()
		if set, ok := s.(peers.SetPeer); ok && set.PSK != nil {
			text += " " + set.PSK.Expose()
		}
		lines = append(lines, text)
	}
	slices.Sort(lines)
	raw, err := json.MarshalIndent(lines, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
