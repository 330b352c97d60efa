package key

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

// secretByte fills the secrets of this test; in every way to write bytes it makes a pattern to look for.
const secretByte = 0xA5

// leaks gives the way in which text tells a secret; empty for none.
func leaks(text string) string {
	run := bytes.Repeat([]byte{secretByte}, 6)
	patterns := map[string]string{
		"bytes": string(run), "hexadecimal": hex.EncodeToString(run), "HEXADECIMAL": strings.ToUpper(hex.EncodeToString(run)),
		"base64": base64.StdEncoding.EncodeToString(run), "numbers": strings.Repeat("165 ", 6), "list": strings.Repeat("165,", 6),
		"Go":                     strings.Repeat("0xa5, ", 6),
		"octal":                  strings.Repeat("245 ", 6),
		"binary":                 strings.Repeat("10100101 ", 6),
		"escapes":                strings.Repeat(`\xa5`, 6),
		"letters":                strings.Repeat("¥", 6),
		"replacement":            strings.Repeat("\ufffd", 6),
		"base64, shifted by one": base64.StdEncoding.EncodeToString(append([]byte{0}, run...))[4:],
	}
	for how, pattern := range patterns {
		if strings.Contains(text, pattern) {
			return how
		}
	}
	return ""
}

// Holders put secrets where formatters find them.
type holder struct {
	Exported Private
	hidden   Private
	pointer  *Private
	list     []IdentityKey
	table    map[string]Secret
	any      any
	inner    struct{ psk Preshared }
	Embedded
}

// Embedded is a secret without a name of its own.
type Embedded struct{ Preshared }

func holders(t *testing.T) map[string]any {
	t.Helper()
	private, err := ParsePrivate(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{secretByte}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	identity, err := NewIdentityKey(constant(secretByte))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := NewSecret(constant(secretByte))
	if err != nil {
		t.Fatal(err)
	}
	psk := PresharedFromBytes(secret.ExposeBytes())
	h := holder{
		Exported: private, hidden: private, pointer: &private, list: []IdentityKey{identity},
		table: map[string]Secret{"x": secret}, any: psk, Embedded: Embedded{psk},
	}
	h.inner.psk = psk
	return map[string]any{
		"private": private, "pointer": &private, "identity key": identity, "secret": secret, "psk": psk,
		"holder": h, "pointer to holder": &h, "list": []Preshared{psk}, "map": map[string]any{"k": h},
		"array": [2]Secret{secret}, "channel value": reflect.ValueOf(h), "deriver": secret.Deriver(),
		"error": fmt.Errorf("with %v", private),
	}
}

// TestNoLeaks formats secrets in every way that a program does by accident.
func TestNoLeaks(t *testing.T) {
	if leaks(fmt.Sprintf("%v", bytes.Repeat([]byte{secretByte}, 32))) == "" ||
		leaks(fmt.Sprintf("%x", bytes.Repeat([]byte{secretByte}, 32))) == "" {
		t.Fatal("the test does not see a leak")
	}
	for name, v := range holders(t) {
		for verb := range strings.SplitSeq("v +v #v s q x X d o b c U t T p e g", " ") {
			if how := leaks(fmt.Sprintf("%"+verb, v)); how != "" {
				t.Errorf("%s: %%%s tells the secret in %s", name, verb, how)
			}
		}
		for how, encode := range encoders() {
			var out bytes.Buffer
			err := encode(&out, v)
			if where := leaks(out.String()); where != "" {
				t.Errorf("%s: %s tells the secret in %s", name, how, where)
			}
			if err != nil && leaks(err.Error()) != "" {
				t.Errorf("%s: the error of %s tells the secret: %v", name, how, err)
			}
		}
	}
}

func encoders() map[string]func(io.Writer, any) error {
	log := func(handler slog.Handler, v any) error {
		slog.New(handler).Info("x", "v", v, slog.Group("g", "v", v))
		return nil
	}
	return map[string]func(io.Writer, any) error{
		"json":      func(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) },
		"xml":       func(w io.Writer, v any) error { return xml.NewEncoder(w).Encode(v) },
		"gob":       func(w io.Writer, v any) error { return gob.NewEncoder(w).Encode(v) },
		"slog text": func(w io.Writer, v any) error { return log(slog.NewTextHandler(w, nil), v) },
		"slog json": func(w io.Writer, v any) error { return log(slog.NewJSONHandler(w, nil), v) },
	}
}

// TestEncodersFail: a secret that is asked for by its exported name is an error, not an empty field.
func TestEncodersFail(t *testing.T) {
	for _, name := range []string{"private", "identity key", "secret", "psk", "holder", "list", "map"} {
		if raw, err := json.Marshal(holders(t)[name]); err == nil {
			t.Errorf("%s marshals as %s", name, raw)
		}
	}
}
