package peers_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

func somePeer(t testing.TB) peers.Peer {
	t.Helper()
	identity, err := key.NewIdentityKey(strings.NewReader(strings.Repeat("i", 32)))
	if err != nil {
		t.Fatal(err)
	}
	private, err := key.NewPrivate(strings.NewReader(strings.Repeat("p", 32)))
	if err != nil {
		t.Fatal(err)
	}
	id := identity.Identity()
	return peers.Peer{
		ID: peers.HostID(id.Fingerprint()), Name: "warehouse", Site: "north", Identity: id, Joined: 7,
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.90.0.2/32"), netip.MustParsePrefix("fd00::2/128")},
		Keys:     []peers.HostKey{peers.SignKey("m", identity, 1, private.Public())},
		Endpoints: []peers.Endpoint{
			{Kind: peers.EndpointPinned, Address: netip.MustParseAddrPort("192.0.2.1:51820")},
			{Kind: peers.EndpointLocal, Address: netip.MustParseAddrPort("[2001:db8::1]:51820")},
		},
	}
}

func TestRecordComesBack(t *testing.T) {
	want := somePeer(t)
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got peers.Peer
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	equal := cmp.Options{
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	}
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Errorf("another record came back (-want +got):\n%s", diff)
	}
	longer := append(raw[:len(raw)-1:len(raw)-1], `,{"labels":{"role":"till"},"new":[]},{"new":1}]`...)
	if err := json.Unmarshal(longer, &got); err != nil {
		t.Errorf("an element that a newer version has added: %v", err)
	}
	want.Labels = map[string]string{"role": "till"}
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Errorf("labels did not come back (-want +got):\n%s", diff)
	}
}

func TestRecordRefusesDamage(t *testing.T) {
	for _, raw := range []string{
		`{}`, `[]`, `["a"]`, `["a","b","wid1",1,[],[],[]]`, `[1,"b","",1,[],[],[]]`,
		`["a","b","",1,["10.0.0.0/33"],[],[]]`, `["a","b","",1,[],[[1]],[]]`, `["a","b","",1,[],[],[["pinned"]]]`,
	} {
		var p peers.Peer
		if err := json.Unmarshal([]byte(raw), &p); err == nil {
			t.Errorf("%s was taken for %+v", raw, p)
		}
	}
}
