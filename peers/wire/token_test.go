package wire_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

func someToken() wire.Token {
	t := wire.Token{
		Controllers: []string{"203.0.113.5:7443", "[2001:db8::5]:7443", "warren.example:7443"},
		Pin:         key.Identity{1, 2, 3}, ID: "k3yid",
	}
	for i := range t.Secret {
		t.Secret[i] = 0xA5
	}
	return t
}

func same(a, b wire.Token) bool {
	return a.ID == b.ID && a.Pin == b.Pin && a.Secret == b.Secret && slices.Equal(a.Controllers, b.Controllers)
}

func TestToken(t *testing.T) {
	want := someToken()
	s := want.Encode()
	for name, pasted := range map[string]string{
		"as it is": s, "with a line break": s + "\r\n", "wrapped by a mail program": " " + s[:40] + "\n  " + s[40:] + "\t",
	} {
		if got, err := wire.ParseToken(pasted); err != nil || !same(got, want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if !strings.HasPrefix(s, "warren1.") || strings.ContainsAny(s, "+/= '\"\\") {
		t.Errorf("%s cannot be pasted", s)
	}
	if !wire.MatchSecret(want.Secret[:], want.Hash()) || wire.MatchSecret(want.Secret[:31], want.Hash()) ||
		wire.MatchSecret(nil, want.Hash()) {
		t.Error("the secret is told apart wrongly")
	}
}

// TestTokenManyAddresses: what is too much for a token does not spoil it.
func TestTokenManyAddresses(t *testing.T) {
	many := someToken()
	many.Controllers = []string{"", strings.Repeat("x", 256) + ":1"}
	var want []string
	for i := range 12 {
		many.Controllers = append(many.Controllers, fmt.Sprintf("c%d:7443", i))
	}
	want = many.Controllers[2:10]
	if got, err := wire.ParseToken(many.Encode()); err != nil || !slices.Equal(got.Controllers, want) {
		t.Errorf("%q, %v; want %q", got.Controllers, err, want)
	}
	if len(many.Controllers) != 14 {
		t.Error("Encode changes the token")
	}
}

// TestTokenMangled: whatever letter is lost or changed, it is noticed, and each kind of damage is named.
func TestTokenMangled(t *testing.T) {
	s := someToken()
	good := s.Encode()
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range good {
		for _, bad := range []string{
			good[:i] + good[i+1:], good[:i], good[:i] + string(letters[(i*7)%64]) + good[i:],
			good[:i] + string(letters[(strings.IndexByte(letters, good[i])+1)%64]) + good[i+1:],
		} {
			if got, err := wire.ParseToken(bad); bad != good && !errors.Is(err, wire.ErrToken) {
				t.Errorf("%q is read as %v, %v", bad, got, err)
			}
		}
	}
	body := func(edit func([]byte) []byte) string { return resum(t, good, edit) }
	for want, bad := range map[string]string{
		"does not begin with warren1.": "warren2" + good[7:],
		"too long":                     good + strings.Repeat("A", 4096),
		"letters that no token has":    good[:20] + "*" + good[21:],
		"too short":                    good[:60],
		"checksum":                     good[:20] + "z" + good[21:],
		"is cut":                       body(func(b []byte) []byte { return append(b, 9, 'x') }),
		"names 0 controller":           body(func(b []byte) []byte { return b[:64+6] }),
		"names 9 controller":           body(func(b []byte) []byte { return append(b, "\x01a\x01b\x01c\x01d\x01e\x01f"...) }),
		"which controller":             body(func(b []byte) []byte { return append(make([]byte, 32), b[32:]...) }),
	} {
		if _, err := wire.ParseToken(bad); !errors.Is(err, wire.ErrToken) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", bad, err, want)
		}
	}
}

// resum edits the content of a token and makes its checksum right.
func resum(t *testing.T, token string, edit func([]byte) []byte) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(token[len("warren1."):])
	if err != nil {
		t.Fatal(err)
	}
	content := edit(slices.Clone(raw[:len(raw)-4]))
	return "warren1." + base64.RawURLEncoding.EncodeToString(wire.WithChecksumForTest(content))
}

// TestTokenHides formats a token in every way that a program does by accident.
func TestTokenHides(t *testing.T) {
	token := someToken()
	secret := func(s string) bool {
		for _, pattern := range []string{
			"\xa5\xa5", "a5a5", "A5A5", "165 165", "165,165", "0xa5, 0xa5", "245 245", `\xa5\xa5`, "10100101", "¥",
			base64.StdEncoding.EncodeToString(token.Secret[:6]), base64.RawURLEncoding.EncodeToString(token.Secret[:6]),
		} {
			if strings.Contains(s, pattern) {
				return true
			}
		}
		return false
	}
	if !secret(fmt.Sprintf("%v", token.Secret)) {
		t.Fatal("the test does not see a leak")
	}
	type request struct{ Token wire.Token }
	for name, v := range map[string]any{
		"token": token, "pointer": &token, "within": request{token}, "list": []wire.Token{token},
		"map": map[string]*wire.Token{"t": &token},
	} {
		for verb := range strings.SplitSeq("v +v #v s q x X d o b c U", " ") {
			if s := fmt.Sprintf("%"+verb, v); secret(s) {
				t.Errorf("%s: %%%s tells the secret: %s", name, verb, s)
			}
		}
		var out bytes.Buffer
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		raw, err := json.Marshal(v)
		if err == nil {
			t.Errorf("%s marshals as %s", name, raw)
		}
		_ = gob.NewEncoder(&out).Encode(v)
		if secret(out.String()) || secret(string(raw)) {
			t.Errorf("%s: a log or an encoder tells the secret: %q", name, out.String())
		}
	}
	if s := token.String(); !strings.Contains(s, "k3yid") {
		t.Errorf("%q does not say which token it is", s)
	}
}

// FuzzParseToken reads tokens of any text; what is read is written the same, but for white space.
func FuzzParseToken(f *testing.F) {
	token := someToken()
	f.Add(token.Encode())
	f.Add("warren1.")
	f.Add("warren1.AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := wire.ParseToken(s)
		if err != nil {
			if !errors.Is(err, wire.ErrToken) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if again := got.Encode(); again != strings.Join(strings.Fields(s), "") {
			t.Errorf("%q is written as %q", s, again)
		}
	})
}

// FuzzTokenContent reads tokens of any content whose checksum is right.
func FuzzTokenContent(f *testing.F) {
	token := someToken()
	raw, err := base64.RawURLEncoding.DecodeString(token.Encode()[len("warren1."):])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw[:len(raw)-4])
	f.Fuzz(func(t *testing.T, content []byte) {
		s := "warren1." + base64.RawURLEncoding.EncodeToString(wire.WithChecksumForTest(content))
		if got, err := wire.ParseToken(s); err == nil && got.Encode() != s {
			t.Errorf("%q is written as %q", s, got.Encode())
		}
	})
}
