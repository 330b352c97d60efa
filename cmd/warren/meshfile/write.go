package meshfile

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// Write puts what is declared in YAML that Parse reads. It depends on nothing but that.
func Write(d *peers.Declared) []byte {
	w := &writer{}
	if s := d.Settings; s != nil {
		w.settings(s)
	}
	if s := d.Schedule; s != nil {
		w.schedule(s.Schedule)
	}
	if d.Sites != nil {
		w.section("sites", len(d.Sites))
		for _, s := range d.Sites {
			w.site(s)
		}
	}
	if d.Hosts != nil {
		w.section("hosts", len(d.Hosts))
		for _, h := range d.Hosts {
			w.host(h)
		}
	}
	if d.Policy != nil {
		w.policy(d.Policy)
	}
	return []byte(w.b.String())
}

type writer struct{ b strings.Builder }

func (w *writer) line(depth int, format string, args ...any) {
	w.b.WriteString(strings.Repeat("  ", depth))
	fmt.Fprintf(&w.b, format+"\n", args...)
}

// section begins one that has so many entries.
func (w *writer) section(name string, entries int) {
	if entries == 0 {
		w.line(0, "%s: {}", name)
		return
	}
	w.line(0, "%s:", name)
}

func (w *writer) settings(s *peers.SetMesh) {
	var lines []string
	for _, f := range []struct {
		name  string
		value *int
	}{{"mtu", s.MTU}, {"keepalive", s.Keepalive}} {
		if f.value != nil {
			lines = append(lines, fmt.Sprintf("%s: %d", f.name, *f.value))
		}
	}
	if s.Grace != nil {
		lines = append(lines, "grace: "+peers.FormatSpan(time.Duration(*s.Grace)*time.Second))
	}
	w.section("settings", len(lines))
	for _, l := range lines {
		w.line(1, "%s", l)
	}
}

func (w *writer) schedule(s *peers.Schedule) {
	if s == nil {
		w.line(0, "schedule: %s", none)
		return
	}
	w.line(0, "schedule:")
	w.line(1, "every: %s", peers.FormatSpan(time.Duration(s.Every)*time.Second))
	if len(s.Windows) > 0 {
		w.line(1, "windows: %s", list(s.Windows))
	}
	if s.CatchUp {
		w.line(1, "catch_up: true")
	}
}

func (w *writer) site(s peers.SetSite) {
	v := reflect.ValueOf(s)
	var lines []string
	for _, f := range fieldsOf(v.Type(), "name") {
		field := v.Field(f.index)
		if field.Kind() != reflect.Slice {
			if text := toText(field); text != "" {
				lines = append(lines, f.name+": "+word(text))
			}
			continue
		}
		var items []string
		for i := range field.Len() {
			items = append(items, word(toText(field.Index(i))))
		}
		if len(items) > 0 {
			lines = append(lines, f.name+": ["+strings.Join(items, ", ")+"]")
		}
	}
	w.entry(s.Name, lines)
}

func (w *writer) host(h peers.DeclaredHost) {
	var labels []string
	for _, k := range sortedKeys(h.Labels) {
		labels = append(labels, word(k)+": "+word(h.Labels[k]))
	}
	if len(labels) == 0 {
		w.entry(h.Name, nil)
		return
	}
	w.entry(h.Name, []string{"labels: {" + strings.Join(labels, ", ") + "}"})
}

func (w *writer) entry(name string, lines []string) {
	if len(lines) == 0 {
		w.line(1, "%s: {}", word(name))
		return
	}
	w.line(1, "%s:", word(name))
	for _, l := range lines {
		w.line(2, "%s", l)
	}
}

func (w *writer) policy(p *peers.Policy) {
	w.line(0, "policy:")
	if len(p.Flows) == 0 {
		w.line(1, "flows: []")
	} else {
		w.line(1, "flows:")
	}
	for i := range p.Flows {
		f := &p.Flows[i]
		w.line(2, "- from: %s", list(f.From))
		w.line(3, "to: %s", list(f.To))
		w.line(3, "allow: %s", list(f.Allow))
	}
	if len(p.Tests) > 0 {
		w.line(1, "tests:")
	}
	for i := range p.Tests {
		t := &p.Tests[i]
		w.line(2, "- {from: %s, to: %s, proto: %s, expect: %s}",
			word(t.From.String()), word(t.To.String()), word(t.Proto.String()), word(string(t.Expect)))
	}
}

// list writes one alone as a word.
func list[T fmt.Stringer](items []T) string {
	words := make([]string, len(items))
	for i, v := range items {
		words[i] = word(v.String())
	}
	if len(words) == 1 {
		return words[0]
	}
	return "[" + strings.Join(words, ", ") + "]"
}

// plain are words that are the same to all who read YAML, without quotes.
var plain = regexp.MustCompile(`^[a-z0-9]([a-zA-Z0-9_./=:-]*[a-zA-Z0-9])?$`)

// word writes a word, in quotes where somebody might read something else.
func word(s string) string {
	_, err := strconv.ParseFloat(s, 64)
	taken := slices.Contains([]string{"true", "false", "yes", "no", "on", "off", "null", "y", "n"}, strings.ToLower(s))
	number := strings.Trim(s, "0123456789:_") == "" || strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0o")
	if plain.MatchString(s) && err != nil && !taken && !number {
		return s
	}
	return strconv.Quote(s)
}
