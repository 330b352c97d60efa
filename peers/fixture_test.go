package peers_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

const meshID = "m1"

var epoch = time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)

// stream is random bytes that are the same in every run.
type stream struct {
	seed string
	n    uint64
}

func (s *stream) Read(p []byte) (int, error) {
	for i := range p {
		block := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(s.seed), s.n))
		p[i], s.n = block[0], s.n+1
	}
	return len(p), nil
}

// identityOf is the identity key of a host or admin in tests: one for each name.
func identityOf(name string) key.IdentityKey {
	k, err := key.NewIdentityKey(&stream{seed: "identity " + name})
	if err != nil {
		panic(err)
	}
	return k
}

func idOf(name string) peers.HostID { return peers.HostID(identityOf(name).Identity().Fingerprint()) }

// privateOf is the WireGuard key of a host and generation.
func privateOf(name string, g peers.Generation) key.Private {
	k, err := key.NewPrivate(&stream{seed: fmt.Sprintf("wireguard %s %d", name, g)})
	if err != nil {
		panic(err)
	}
	return k
}

// secretOf is the secret of a generation.
func secretOf(g peers.Generation) key.Secret {
	s, err := key.NewSecret(&stream{seed: fmt.Sprintf("secret %d", g)})
	if err != nil {
		panic(err)
	}
	return s
}

func keyOf(name string, g peers.Generation) peers.HostKey {
	return peers.SignKey(meshID, identityOf(name), g, privateOf(name, g).Public())
}

func keysOf(name string, gs ...peers.Generation) []peers.HostKey {
	keys := make([]peers.HostKey, len(gs))
	for i, g := range gs {
		keys[i] = keyOf(name, g)
	}
	return keys
}

func observed(at string) peers.Endpoint {
	return peers.Endpoint{Kind: peers.EndpointObserved, Address: netip.MustParseAddrPort(at)}
}

func prefixes(s ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(s))
	for i := range s {
		out[i] = netip.MustParsePrefix(s[i])
	}
	return out
}

// networks are those of a site, as they are written.
func networks(s ...string) []peers.SitePrefix {
	out := make([]peers.SitePrefix, len(s))
	for i := range s {
		if err := out[i].UnmarshalText([]byte(s[i])); err != nil {
			panic(err)
		}
	}
	return out
}

func createMesh() peers.CreateMesh {
	return peers.CreateMesh{
		ID: meshID, Name: "orders",
		Overlay: netip.MustParsePrefix("10.90.0.0/16"), Overlay6: netip.MustParsePrefix("fd00:90::/64"),
	}
}

func createToken(id, site string) peers.CreateToken {
	return peers.CreateToken{
		ID: id, Hash: sha256.Sum256([]byte(id)), Site: site, Expires: epoch.Add(24 * time.Hour), Uses: 1000,
	}
}

// enroll admits a host with a key of generation 1 and an endpoint of its own.
func enroll(token, name string) peers.EnrollHost {
	sum := sha256.Sum256([]byte(name))
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18 + sum[0]&1, sum[1], sum[2]}), peers.DefaultPort)
	return peers.EnrollHost{
		Token: token, Identity: identityOf(name).Identity(), Name: name, Port: peers.DefaultPort,
		Endpoints: []peers.Endpoint{{Kind: peers.EndpointObserved, Address: at}}, Keys: keysOf(name, 1),
	}
}

func change(op peers.Op) peers.Change { return peers.Change{At: epoch, By: "admin:anna", Op: op} }

// after applies operations one after the other; each must be valid.
func after(t testing.TB, inv *peers.Inventory, ops ...peers.Op) *peers.Inventory {
	t.Helper()
	for _, op := range ops {
		next, err := inv.Apply(change(op))
		if err != nil {
			t.Fatalf("%s: %v", op.Kind(), err)
		}
		inv = next
	}
	return inv
}

// threeSites is the mesh of the orders: one host in each of shop, warehouse and accounting.
func threeSites(t testing.TB) *peers.Inventory {
	t.Helper()
	inv := after(t, &peers.Inventory{}, createMesh())
	for _, name := range []string{"shop", "warehouse", "accounting"} {
		inv = after(t, inv, createToken("t-"+name, name), enroll("t-"+name, name))
	}
	return inv
}

// planOf is the plan of a host with all secrets, as its agent has it.
func planOf(t testing.TB, inv *peers.Inventory, name string) peers.Plan {
	t.Helper()
	h, ok := inv.HostNamed(name)
	if !ok {
		t.Fatalf("there is no host %s", name)
	}
	p, err := inv.Plan(h.ID)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[peers.Generation]key.Secret{}
	p.Private = peers.PrivateByGen{}
	for _, in := range p.Interfaces {
		secrets[in.Generation] = secretOf(in.Generation)
		p.Private[in.Generation] = privateOf(name, in.Generation)
	}
	return p.WithPSKs(secrets)
}
