package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// stream is random bytes that are the same in every run.
type stream struct{ seed, n uint64 }

func (s *stream) Read(p []byte) (int, error) {
	for i := range p {
		block := sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s.seed), s.n))
		p[i], s.n = block[0], s.n+1
	}
	return len(p), nil
}

var _ io.Reader = (*stream)(nil)

var epoch = time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)

// mesh makes changes that are valid one after the other.
type mesh struct {
	inv *peers.Inventory
	n   int
}

func newMesh() *mesh { return &mesh{inv: &peers.Inventory{}} }

// next is the entry of the next change: the mesh, a token for many, then hosts, each of which moves
// several times.
func (m *mesh) next(t testing.TB) peers.Entry {
	t.Helper()
	var op peers.Op
	switch {
	case m.n == 0:
		op = peers.CreateMesh{
			ID: "m1", Name: "orders", Overlay: netip.MustParsePrefix("10.90.0.0/16"),
			Overlay6: netip.MustParsePrefix("fd00:90::/64"),
		}
	case m.n == 1:
		op = peers.CreateToken{
			ID: "t1", Hash: peers.Hash{1}, Site: "shop", Expires: epoch.Add(8000 * time.Hour), Uses: 1000,
		}
	case m.n%4 == 2 && len(m.inv.Hosts) < 1000:
		op = m.enroll(t)
	default:
		hosts := m.inv.SortedHosts()
		port := uint16(20000 + m.n%30000)
		op = peers.UpdateHost{ID: hosts[m.n%len(hosts)].ID, Port: &port}
	}
	m.n++
	return m.record(t, op)
}

func (m *mesh) record(t testing.TB, op peers.Op) peers.Entry {
	t.Helper()
	at := epoch.Add(time.Duration(m.n) * time.Minute)
	inv, e, err := m.inv.Record(peers.Change{At: at, By: "admin:anna", Why: fmt.Sprintf("change %d", m.n), Op: op})
	if err != nil {
		t.Fatal(err)
	}
	m.inv = inv
	return e
}

func (m *mesh) enroll(t testing.TB) peers.EnrollHost {
	t.Helper()
	keys := &stream{seed: uint64(m.n)}
	id, err := key.NewIdentityKey(keys)
	if err != nil {
		t.Fatal(err)
	}
	wg, err := key.NewPrivate(keys)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(m.n >> 8), byte(m.n)}), 51820)
	return peers.EnrollHost{
		Token: "t1", Identity: id.Identity(), Name: fmt.Sprintf("host-%d", m.n), Port: 51820,
		Endpoints: []peers.Endpoint{{Kind: peers.EndpointObserved, Address: at}},
		Keys:      []peers.HostKey{peers.SignKey("m1", id, 1, wg.Public())},
	}
}

// open opens a database that is closed when the test ends.
func openDB(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func newDB(t testing.TB) *DB {
	t.Helper()
	return openDB(t, filepath.Join(t.TempDir(), "warren.db"))
}

// fill appends n changes and gives them.
func fill(t testing.TB, db *DB, m *mesh, n int) []peers.Entry {
	t.Helper()
	var entries []peers.Entry
	for range n {
		e := m.next(t)
		if err := db.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return entries
}

// everything is all that can be read out of a database, as text.
func everything(ctx context.Context, db *DB, vault ...string) (string, error) {
	var b bytes.Buffer
	inv, err := db.Load(ctx)
	if err != nil {
		return "", err
	}
	fmt.Fprintln(&b, inv.Revision, inv.Head)
	for _, o := range inv.Objects() {
		fmt.Fprintf(&b, "%s %s\n", o.Key, o.After)
	}
	for e, err := range db.Read(ctx, 0) {
		if err != nil {
			return "", err
		}
		raw, err := json.Marshal(e)
		if err != nil {
			return "", err
		}
		b.Write(raw)
	}
	for _, name := range vault {
		v, err := db.Fetch(ctx, name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s=%x\n", name, v)
	}
	return b.String(), nil
}

func mustEverything(t testing.TB, db *DB, vault ...string) string {
	t.Helper()
	all, err := everything(t.Context(), db, vault...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}
