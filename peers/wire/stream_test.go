package wire_test

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

func somePSK(t testing.TB) key.Preshared {
	t.Helper()
	psk, err := key.ParsePreshared("AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=")
	if err != nil {
		t.Fatal(err)
	}
	return psk
}

func someRecord() peers.Peer {
	id := key.Identity{7}
	return peers.Peer{
		ID: peers.HostID(id.Fingerprint()), Name: "shop", Site: "shop", Identity: id, Joined: 3,
		Prefixes:  []netip.Prefix{netip.MustParsePrefix("10.90.0.1/32")},
		Keys:      []peers.HostKey{{Generation: 1, Public: key.Public{1}, Signature: []byte{1, 2}}},
		Endpoints: []peers.Endpoint{{Kind: peers.EndpointObserved, Address: netip.MustParseAddrPort("198.51.100.1:51820")}},
	}
}

func someDown(t testing.TB) wire.Down {
	t.Helper()
	d := wire.Down{
		Kind: wire.DownSnapshot, Protocol: wire.Protocol, Revision: 7, Head: peers.Hash{9},
		Plan: &peers.Plan{Revision: 7, Self: peers.Self{Name: "shop"}}, Remove: []peers.HostID{"x"},
		Controllers: []string{"c:1"},
	}
	d.PutPSK(1, "shop", somePSK(t))
	d.PutPSK(1, "warehouse", somePSK(t))
	d.PutPSK(2, "shop", somePSK(t))
	return d
}

// TestAppendLine: the line with records that were encoded before is the JSON of the whole message.
func TestAppendLine(t *testing.T) {
	record, err := json.Marshal(someRecord())
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		d := someDown(t)
		var records [][]byte
		whole := d
		for range n {
			records = append(records, record)
			whole.Peers = append(whole.Peers, someRecord())
		}
		line, err := d.AppendLine([]byte("before\n"), records)
		if err != nil {
			t.Fatal(err)
		}
		rest, ok := bytes.CutPrefix(line, []byte("before\n"))
		if !ok || bytes.Count(rest, []byte("\n")) != 1 || rest[len(rest)-1] != '\n' {
			t.Fatalf("%d records: not one line: %s", n, line)
		}
		var got, want wire.Down
		raw, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(rest, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d records: %+v, %v; want %+v", n, got, err, want)
		}
	}
	line, err := (&wire.Down{Kind: wire.DownPing}).AppendLine(nil, nil)
	if err != nil || !strings.Contains(string(line), `"ping"`) {
		t.Errorf("%s, %v", line, err)
	}
}

func TestAppendLineRefuses(t *testing.T) {
	d := wire.Down{Kind: wire.DownSnapshot, Peers: []peers.Peer{{Endpoints: []peers.Endpoint{{
		Address: netip.AddrPortFrom(netip.MustParseAddr("fe80::1%\xff"), 1),
	}}}}}
	if line, err := d.AppendLine([]byte("x"), nil); err == nil && !json.Valid(line[1:]) {
		t.Errorf("no JSON: %s", line)
	}
}

func TestPSKs(t *testing.T) {
	d := someDown(t)
	got, err := d.ParsePSKs()
	if err != nil || len(got) != 2 || len(got[1]) != 2 || !got[2]["shop"].Equal(somePSK(t)) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="} {
		d.PSKs[2]["shop"] = bad
		got, err := d.ParsePSKs()
		if err == nil || !strings.Contains(err.Error(), "host shop, generation 2") {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
		if bad != "" && err != nil && strings.Contains(err.Error(), bad) {
			t.Errorf("the error tells the key: %v", err)
		}
	}
}

func TestFault(t *testing.T) {
	one := peers.Problems{{Code: "name-taken", At: "host/shop", Message: "there is one", Hint: "take another"}}
	f := wire.FaultOf(http.StatusConflict, one)
	if f.Code != "name-taken" || f.Detail != "there is one" || f.Hint != "take another" || f.Status != 409 ||
		f.Error() != f.Detail {
		t.Errorf("%+v", f)
	}
	two := append(one, peers.Problem{Code: "port-invalid", At: "host/shop/port", Message: "no port"})
	f = wire.FaultOf(http.StatusUnprocessableEntity, two)
	if f.Code != "name-taken" || !strings.Contains(f.Detail, "no port") || len(f.Problems) != 2 || f.Type != "about:blank" {
		t.Errorf("%+v", f)
	}
}

// TestUnknownFields: what a newer version adds is ignored.
func TestUnknownFields(t *testing.T) {
	var d wire.Down
	if err := json.Unmarshal([]byte(`{"kind":"ping","of":{"the":["future"]}}`), &d); err != nil || d.Kind != wire.DownPing {
		t.Errorf("%+v, %v", d, err)
	}
	var u wire.Up
	err := json.Unmarshal([]byte(`{"kind":"hello","hello":{"protocol":9,"new":1}}`), &u)
	if err != nil || u.Hello.Protocol != 9 {
		t.Errorf("%+v, %v", u, err)
	}
}

// FuzzDown reads messages of any content as an agent does; what is read comes back the same.
func FuzzDown(f *testing.F) {
	d := someDown(f)
	d.Peers = []peers.Peer{someRecord()}
	addJSON(f, d)
	addJSON(f, wire.Down{Kind: wire.DownGoodbye, Fault: wire.NewFault(410, "revoked", "the host was revoked", "")})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var d wire.Down
		if json.Unmarshal(raw, &d) != nil {
			return
		}
		_, _ = d.ParsePSKs()
		if d.Plan != nil {
			p := *d.Plan
			p.Peers = d.Peers
			checked, _ := p.Check(peers.VerifyKey)
			peers.Diff(peers.State{IPv6: true}, checked)
		}
		comesBack(t, d)
	})
}

// FuzzUp reads messages of any content as the controller does.
func FuzzUp(f *testing.F) {
	addJSON(f, wire.Up{Kind: wire.UpHello, Hello: &wire.Hello{
		Protocol: 1, Revision: math.MaxUint64, Session: "s", Port: 51820,
		Endpoints: someRecord().Endpoints, Keys: someRecord().Keys,
	}})
	addJSON(f, wire.Up{Kind: wire.UpReport, Report: &wire.Report{
		Problems: &[]peers.Problem{{Code: "x"}}, Peers: []wire.PeerReport{{ID: "x", Generation: 1, State: wire.PeerUp}},
	}})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var u wire.Up
		if json.Unmarshal(raw, &u) == nil {
			comesBack(t, u)
		}
	})
}

// FuzzRequests reads what else comes over the network.
func FuzzRequests(f *testing.F) {
	addJSON(f, wire.EnrollRequest{Protocol: 1, TokenID: "t", Secret: []byte{1}, Name: "shop", Keys: someRecord().Keys})
	addJSON(f, wire.TokenOrder{Site: "shop", TTL: 3600})
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, v := range []any{
			&wire.EnrollCheck{}, &wire.EnrollRequest{}, &wire.EnrollOffer{}, &wire.Enrolled{}, &wire.TokenOrder{},
			&wire.HostAction{}, &wire.MeshSettings{}, &wire.AdminView{}, &wire.Fault{}, &wire.Status{},
		} {
			if json.Unmarshal(raw, v) == nil {
				comesBack(t, v)
			}
		}
	})
}

func addJSON(f *testing.F, v any) {
	f.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
}

// comesBack encodes a value, if it can be, decodes it and encodes it again.
func comesBack(t *testing.T, v any) {
	t.Helper()
	first, err := json.Marshal(v)
	if err != nil {
		return // a time beyond the year 9999
	}
	again := reflect.New(reflect.Indirect(reflect.ValueOf(v)).Type())
	if err := json.Unmarshal(first, again.Interface()); err != nil {
		t.Fatalf("%s: %v", first, err)
	}
	if second, err := json.Marshal(again.Interface()); err != nil || !bytes.Equal(first, second) {
		t.Errorf("%s came back as %s, %v", first, second, err)
	}
}
