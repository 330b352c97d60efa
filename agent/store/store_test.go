package store_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// TestMain gives the tests mounts of their own, for a disk that is full.
func TestMain(m *testing.M) { os.Exit(nettest.Main(m, os.Args, os.Stderr, nil)) }

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // closed twice by tests that open again
	return s
}

// plan is one with a peer, a pre-shared key and a revision.
func plan(t *testing.T, revision peers.Revision) peers.Plan {
	t.Helper()
	id, err := key.NewIdentityKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	psk, err := key.ParsePreshared("AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=")
	if err != nil {
		t.Fatal(err)
	}
	p := peers.Plan{
		Revision: revision,
		Mesh: peers.PlanMesh{
			ID: "m", Name: "orders", Overlay: netip.MustParsePrefix("10.90.0.0/16"),
			Overlay6: netip.MustParsePrefix("fd00::/64"), Keepalive: 25,
		},
		Self:       peers.Self{ID: "shopid", Name: "shop", Address: netip.MustParseAddr("10.90.0.1")},
		Interfaces: []peers.Interface{{Generation: 1, Name: "wrn1", Port: 51821, MTU: 1420}},
		Peers: []peers.Peer{{
			ID: peers.HostID(id.Identity().Fingerprint()), Name: "warehouse", Identity: id.Identity(),
			Prefixes: []netip.Prefix{netip.MustParsePrefix("10.90.0.2/32")},
		}},
		PSKs: peers.PSKs{},
	}
	p.PSKs.Put(1, p.Peers[0].ID, psk)
	return p
}

func TestPlanComesBackWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "data")
	s := open(t, dir)
	if _, err := s.Plan(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before there is one: %v", err)
	}
	want := plan(t, 7)
	if err := s.PutPlan(want, peers.Hash{1, 2}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	kept, err := open(t, dir).Plan()
	if err != nil || kept.Fallback != nil || kept.Head != (peers.Hash{1, 2}) {
		t.Fatalf("kept %v, fallback %v, head %v", err, kept.Fallback, kept.Head)
	}
	if got, want := kept.Plan.PSKs[1][want.Peers[0].ID], want.PSKs[1][want.Peers[0].ID]; !got.Equal(want) {
		t.Error("the pre-shared key is another one")
	}
	kept.Plan.PSKs, want.PSKs = nil, nil
	if diff := cmp.Diff(want, kept.Plan, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("the plan is another one:\n%s", diff)
	}
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	fill(t, s)
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the directory has %v, %v; want 0700", st.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 5 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		if st, err := e.Info(); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s has %v, %v; want 0600", e.Name(), st.Mode(), err)
		}
	}
}

// fill makes every file that there can be, the plan twice.
func fill(t *testing.T, s *store.Store) {
	t.Helper()
	_, errIdentity := s.MakeIdentity()
	_, errKey := s.MakeKey(1)
	err := errors.Join(errIdentity, errKey, s.PutMembership(membership()), s.PutEnrolment(store.Enrolment{Token: "t"}),
		s.PutPlan(plan(t, 1), peers.Hash{1}), s.PutPlan(plan(t, 2), peers.Hash{2}))
	if err != nil {
		t.Fatal(err)
	}
}

func membership() store.Membership {
	return store.Membership{
		Mesh: "m", ID: "shopid", Name: "shop", Pin: key.Identity{1}, Controllers: []string{"c:7443"},
	}
}

func TestSecondAgentIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := store.Open(dir); !errors.Is(err, store.ErrLocked) {
		t.Fatalf("a second one got %v, want ErrLocked", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestIdentityAndKeysAreNeverReplaced(t *testing.T) {
	s := open(t, t.TempDir())
	id, err := s.MakeIdentity()
	if err != nil {
		t.Fatal(err)
	}
	private, err := s.MakeKey(3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.MakeIdentity(); err == nil {
		t.Error("a second identity was made")
	}
	if _, err := s.MakeKey(3); err == nil {
		t.Error("a second key of the generation was made")
	}
	again, err := s.Identity()
	if err != nil || !again.Equal(id) {
		t.Errorf("the identity came back as another one, %v", err)
	}
	keys, err := s.Keys()
	if err != nil || len(keys) != 1 || !keys[3].Equal(private) {
		t.Errorf("keys %v, %v", keys, err)
	}
}

func TestWipedKeyIsGone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	private, err := s.MakeKey(1)
	if err != nil {
		t.Fatal(err)
	}
	// A second name shows what becomes of the bytes, which a file with two names keeps.
	raw, err := os.ReadFile(filepath.Join(dir, "key-1"))
	if err != nil || !bytes.Contains(raw, []byte(private.Expose())) {
		t.Fatalf("the key is not in its file: %v", err)
	}
	held, err := os.Open(filepath.Join(dir, "key-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := s.WipeKey(1); err != nil {
		t.Fatal(err)
	}
	left := make([]byte, len(raw))
	if n, err := held.ReadAt(left, 0); n > 0 && !bytes.Equal(left[:n], make([]byte, n)) {
		t.Errorf("the bytes are still there, %v", err)
	}
	if keys, err := s.Keys(); err != nil || len(keys) != 0 {
		t.Errorf("keys %v, %v", keys, err)
	}
	if err := s.WipeKey(1); err != nil {
		t.Errorf("to wipe what is gone: %v", err)
	}
}

func TestWhatAnInterruptedWriteLeftIsCleared(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	fill(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A crash between the second name of the plan and its rename, and one in the middle of a write.
	if err := os.Link(filepath.Join(dir, "plan"), filepath.Join(dir, "plan.previous.tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key-2.tmp"), []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept, err := open(t, dir).Plan()
	if err != nil || kept.Fallback != nil || kept.Plan.Revision != 2 {
		t.Errorf("the plan was lost with its second name: %v, %v, revision %d", err, kept.Fallback, kept.Plan.Revision)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestDirectoryThatIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(path); err == nil {
		t.Error("a file was taken for a directory")
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	secret := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(secret, []byte("other people's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "membership.tmp")); err != nil {
		t.Fatal(err)
	}
	if err := s.PutMembership(membership()); err == nil {
		t.Error("a symbolic link in the way was written through")
	}
	if raw, err := os.ReadFile(secret); err != nil || string(raw) != "other people's" {
		t.Errorf("a file elsewhere is now %q, %v", raw, err)
	}
}

// TestPlanOfGenerationThatIsOver: the pre-shared keys of a generation that is over are in no file, and there are
// still two plans to fall back on.
func TestPlanOfGenerationThatIsOver(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	both, after, old := over(t)
	for i, p := range []peers.Plan{plan(t, 0), both, after} {
		if i == 2 { // whoever holds the file open sees what becomes of its content
			for _, name := range []string{"plan", "plan.previous"} {
				f, err := os.Open(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if left, err := io.ReadAll(f); err != nil || bytes.Contains(left, []byte(old)) {
						t.Errorf("the former %s is not overwritten: %v", name, err)
					}
				}()
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir)
			if _, err := s.Plan(); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.PutPlan(p, peers.Hash{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"plan", "plan.previous"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || bytes.Contains(content, []byte(old)) {
			t.Errorf("%s has the old key, or is not there: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "plan"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if kept, err := s.Plan(); err != nil || kept.Plan.Revision != 3 || kept.Fallback == nil {
		t.Errorf("with a damaged plan: revision %d, %v", kept.Plan.Revision, err)
	}
}

// over are two plans: one with two generations, and one that follows on it with the newer alone. With them comes the
// pre-shared key that must go.
func over(t *testing.T) (both, after peers.Plan, old string) {
	t.Helper()
	both = plan(t, 2)
	both.Interfaces = append(both.Interfaces, peers.Interface{Generation: 2, Name: "wrn0", Port: 51820, MTU: 1420})
	after = both
	after.Revision, after.Interfaces, after.PSKs = 3, both.Interfaces[1:], peers.PSKs{}
	return both, after, both.PSKs[1][both.Peers[0].ID].Expose()
}

// nowhere looks for a text in all files of a directory.
func nowhere(t *testing.T, dir, text string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if raw, err := os.ReadFile(filepath.Join(dir, e.Name())); err != nil || bytes.Contains(raw, []byte(text)) {
			t.Errorf("%s has the old key, or cannot be read: %v", e.Name(), err)
		}
	}
}

// TestDamagedPlanOfGenerationThatIsOver: that a plan is damaged is no way for its pre-shared keys, or those of the one
// before, to outlive their generation.
func TestDamagedPlanOfGenerationThatIsOver(t *testing.T) {
	for name, damaged := range map[string][]string{
		"the current one": {"plan"}, "the previous one": {"plan.previous"}, "both": {"plan", "plan.previous"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			both, after, old := over(t)
			for _, p := range []peers.Plan{plan(t, 1), both} {
				if err := s.PutPlan(p, peers.Hash{}); err != nil {
					t.Fatal(err)
				}
			}
			for _, file := range damaged {
				damage(t, filepath.Join(dir, file), damages()["last bit"])
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir)
			_, _ = s.Plan() // what it gives is in TestDamagedPlanFallsBack
			if err := s.PutPlan(after, peers.Hash{}); err != nil {
				t.Fatal(err)
			}
			nowhere(t, dir, old)
		})
	}
}

// TestReplacedPlanGoesOn: an agent that dies when it has replaced one of two plans leaves the other one, with the old
// pre-shared keys. The next one replaces it, also where nothing else is to be written.
func TestReplacedPlanGoesOn(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	both, after, old := over(t)
	if err := s.PutPlan(both, peers.Hash{}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "plan"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutPlan(after, peers.Hash{}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "plan.previous"), raw, 0o600), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if kept, err := s.Plan(); err != nil || kept.Plan.Revision != 3 || kept.Fallback != nil {
		t.Fatalf("revision %d, fallback %v, %v", kept.Plan.Revision, kept.Fallback, err)
	}
	nowhere(t, dir, old)
	damage(t, filepath.Join(dir, "plan"), damages()["empty"])
	if kept, err := s.Plan(); err != nil || kept.Plan.Revision != 3 {
		t.Errorf("with a damaged plan: revision %d, %v", kept.Plan.Revision, err)
	}
}
