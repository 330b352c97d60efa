package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/controller/ledger"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// A secret is something that must be destroyed: how it is written on disk, and all forms in which it must not be found.
type secret struct {
	what, text string
	forms      [][]byte
}

// newSecret makes one of the text that is on disk.
func newSecret(t testing.TB, what, text string) secret {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != key.Size {
		t.Fatalf("%s is no key of %d bytes: %v", what, key.Size, err)
	}
	return secret{what: what, text: text, forms: formsOf(raw)}
}

// formsOf are bytes as they are, in hexadecimal, and in base64 of either alphabet, also as a part of something longer:
// then it depends on what is before them.
func formsOf(raw []byte) (forms [][]byte) {
	small := hex.EncodeToString(raw)
	forms = append(forms, raw, []byte(small), []byte(strings.ToUpper(small)))
	for before := range 3 {
		text := base64.StdEncoding.EncodeToString(append(make([]byte, before), raw...))
		// Letters of six bits each, without those that hold bits of others.
		text = text[(8*before+5)/6 : 8*(before+len(raw))/6]
		url := strings.NewReplacer("+", "-", "/", "_").Replace(text)
		forms = append(forms, []byte(text), []byte(url))
	}
	return forms
}

func (s *secret) in(content []byte) bool {
	return slices.ContainsFunc(s.forms, func(form []byte) bool { return bytes.Contains(content, form) })
}

// TestSecretForms: a secret is found however it is written, and another one is not taken for it.
func TestSecretForms(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb, 0xef, 0xbe, 1, 2, 3, 0xff, 0x3f}, key.Size/8)
	s := newSecret(t, "a key", base64.StdEncoding.EncodeToString(raw))
	other := bytes.Clone(raw)
	other[key.Size/2] ^= 1
	for name, write := range map[string]func(b []byte) string{
		"as it is":    func(b []byte) string { return "x" + string(b) + "y" },
		"hexadecimal": hex.EncodeToString,
		"in capitals": func(b []byte) string { return fmt.Sprintf("%X", b) },
		"base64":      base64.StdEncoding.EncodeToString,
		"for URLs":    base64.RawURLEncoding.EncodeToString,
		"in one":      func(b []byte) string { return base64.StdEncoding.EncodeToString([]byte("x" + string(b) + "y")) },
		"in another":  func(b []byte) string { return base64.URLEncoding.EncodeToString([]byte("xx" + string(b))) },
	} {
		if !s.in([]byte(write(raw))) || s.in([]byte(write(other))) {
			t.Errorf("%s: found %v, another one %v", name, s.in([]byte(write(raw))), s.in([]byte(write(other))))
		}
	}
}

// secrets are the private keys and the pre-shared keys of all hosts as they are on disk.
func (m *mesh) secrets() (out []secret) {
	m.t.Helper()
	for _, h := range m.Members() {
		m.eachFile(h, func(path string, content []byte) {
			if _, text, ok := bytes.Cut(content, []byte("\n")); ok && strings.HasPrefix(filepath.Base(path), "key-") {
				out = append(out, newSecret(m.t, h.Name()+" "+filepath.Base(path), strings.TrimSpace(string(text))))
			}
			if filepath.Base(path) == "plan" {
				out = append(out, presharedIn(m.t, h, content)...)
			}
		})
	}
	if n := len(m.Members()); len(out) != n+n*(n-1) {
		m.t.Fatalf("%d private and pre-shared keys of %d hosts are found", len(out), n)
	}
	return out
}

// presharedIn are the pre-shared keys in a plan on disk.
func presharedIn(t testing.TB, h *lab.Host, content []byte) (out []secret) {
	t.Helper()
	_, body, _ := bytes.Cut(content, []byte("\n"))
	var doc struct {
		PSKs map[peers.Generation]map[peers.HostID]string `json:"psks"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	for g, byHost := range doc.PSKs {
		for id, psk := range byHost {
			out = append(out, newSecret(t, fmt.Sprintf("%s's pre-shared key with %s of generation %d", h.Name(), id, g), psk))
		}
	}
	return out
}

// apart wants secrets that are in use to be where they belong and nowhere else: the keys of hosts not at the controller,
// what they follow from not at hosts, and none of it in the ledger.
func (m *mesh) apart(secrets []secret) {
	m.t.Helper()
	history := []byte(m.must(lab.DefaultController, "audit", "log", "-o", "json"))
	if !bytes.Contains(history, []byte("mesh.create")) {
		m.t.Fatalf("the history is not told:\n%s", history)
	}
	for _, s := range secrets {
		if s.in(history) {
			m.t.Errorf("%s is in the ledger", s.what)
		}
		places := m.placesOf(s)
		if len(places) == 0 {
			m.t.Errorf("%s is not found where it must be", s.what)
		}
		for _, at := range places {
			if atController := at == lab.DefaultController; atController != strings.HasPrefix(s.what, vaultSecret) {
				m.t.Errorf("%s is in a file of %s", s.what, at)
			}
		}
	}
}

// placesOf are the hosts that have a secret in a file.
func (m *mesh) placesOf(s secret) (names []string) {
	m.t.Helper()
	for _, h := range m.lab.Hosts() {
		m.eachFile(h, func(_ string, content []byte) {
			if s.in(content) && !slices.Contains(names, h.Name()) {
				names = append(names, h.Name())
			}
		})
	}
	return names
}

// nowhere waits until none of the secrets is in any file of any host.
func (m *mesh) nowhere(secrets []secret) {
	m.t.Helper()
	found := ""
	defer func() {
		if m.t.Failed() {
			m.t.Log(found)
		}
	}()
	until(m.t, patience, "old secrets are nowhere", func() bool {
		found = ""
		for _, h := range m.lab.Hosts() {
			m.eachFile(h, func(path string, content []byte) {
				for _, s := range secrets {
					if s.in(content) {
						found += fmt.Sprintf("%s is in %s of %s\n", s.what, path, h.Name())
					}
				}
			})
		}
		return found == ""
	})
}

// vaultSecret is how the names of the secrets of generations begin.
const vaultSecret = "generation/"

// secretOf is the secret of a generation, from a copy of the controller's database.
func (m *mesh) secretOf(g peers.Generation) secret {
	m.t.Helper()
	raw, err := os.ReadFile(m.lab.Host(lab.DefaultController).Path(database))
	if err != nil {
		m.t.Fatal(err)
	}
	path := filepath.Join(m.t.TempDir(), "copy.db")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		m.t.Fatal(err)
	}
	db, err := ledger.Open(path, ledger.Options{MustExist: true})
	if err != nil {
		m.t.Fatal(err)
	}
	defer db.Close()
	name := fmt.Sprintf("%s%d", vaultSecret, g)
	value, err := db.Fetch(m.t.Context(), name)
	if err != nil || !bytes.Contains(raw, value) {
		m.t.Fatalf("%s is not to be found: %v", name, err)
	}
	return newSecret(m.t, name, string(value))
}

// eachFile visits the files below the data directories of a host.
func (m *mesh) eachFile(h *lab.Host, visit func(path string, content []byte)) {
	m.t.Helper()
	for _, dir := range []string{"/var/lib/warren-agent", "/var/lib/warren-controller"} {
		top := h.Path(dir)
		err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				var content []byte
				if content, err = os.ReadFile(path); err == nil {
					visit(dir+strings.TrimPrefix(path, top), content)
				}
			}
			if errors.Is(err, fs.ErrNotExist) { // a temporary one, or no such directory on this host
				return nil
			}
			return err
		})
		if err != nil {
			m.t.Fatal(err)
		}
	}
}
