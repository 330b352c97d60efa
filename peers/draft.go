package peers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// A draft is the next inventory while a change is applied to it. It copies a map before the first
// write to it and remembers which objects were touched.
type draft struct {
	prev, next *Inventory
	change     Change
	problems   Problems
	touched    []string
	seen       map[string]bool // touched, as a set
	owned      map[string]bool // maps that are already copies
}

func newDraft(inv *Inventory, c Change) *draft {
	next := *inv
	c.At = c.At.UTC().Round(0)
	return &draft{prev: inv, next: &next, change: c, seen: map[string]bool{}, owned: map[string]bool{}}
}

func (d *draft) refuse(code, at, hint, format string, args ...any) {
	d.problems.addf(code, at, hint, format, args...)
}

// checkChange checks what every change must have.
func (d *draft) checkChange() {
	c := d.change
	if c.At.Year() <= 1 || c.At.Year() > 9000 {
		d.refuse("change-time", "", "", "the change has no usable time")
	}
	if c.By == "" || len(c.By) > 200 || len(c.Why) > 1000 {
		d.refuse("change-by", "", "", "the change does not say who makes it, or says too much")
	}
	// JSON has no other text: what comes back from the ledger would have another hash.
	if !utf8.ValidString(c.By) || !utf8.ValidString(c.Why) {
		d.refuse("change-text", "", "", "the change says who makes it, or why, in something that is no UTF-8")
	}
}

// apply applies the operation where there is something to apply it to.
func (d *draft) apply() {
	switch op := d.change.Op; {
	case op == nil:
		d.refuse("change-empty", "", "", "the change does nothing")
	case op.Kind() != CreateMesh{}.Kind() && d.prev.Revision == 0:
		d.refuse("mesh-missing", "mesh", "", "there is no mesh yet")
	default:
		op.apply(d)
		d.checkPending()
	}
}

// write makes sure that *m is a copy which belongs to the draft.
func write[K comparable, V any](d *draft, name string, m *map[K]V) map[K]V {
	if !d.owned[name] {
		d.owned[name] = true
		if *m == nil {
			*m = map[K]V{}
		} else {
			*m = maps.Clone(*m)
		}
	}
	return *m
}

func (d *draft) touch(key string) {
	if !d.seen[key] {
		d.seen[key] = true
		d.touched = append(d.touched, key)
	}
}

func (d *draft) putMesh(m Mesh) { d.next.Mesh = m; d.touch("mesh") }

func (d *draft) putHost(h Host) {
	write(d, "host", &d.next.Hosts)[h.ID] = &h
	d.touch("host/" + string(h.ID))
}

func (d *draft) dropHost(id HostID) {
	delete(write(d, "host", &d.next.Hosts), id)
	d.touch("host/" + string(id))
}

func (d *draft) putSite(s Site) {
	write(d, "site", &d.next.Sites)[s.Name] = &s
	d.touch("site/" + s.Name)
}

func (d *draft) dropSite(name string) {
	delete(write(d, "site", &d.next.Sites), name)
	d.touch("site/" + name)
}

func (d *draft) putToken(t Token) {
	write(d, "token", &d.next.Tokens)[t.ID] = &t
	d.touch("token/" + t.ID)
}

func (d *draft) putAdmin(a Admin) {
	write(d, "admin", &d.next.Admins)[a.Name] = &a
	d.touch("admin/" + a.Name)
}

func (d *draft) dropAdmin(name string) {
	delete(write(d, "admin", &d.next.Admins), name)
	d.touch("admin/" + name)
}

func (d *draft) bury(t Tombstone) {
	write(d, "buried", &d.next.Buried)[t.ID] = &t
	d.touch("buried/" + string(t.ID))
}

func (d *draft) putPolicy(p Policy) {
	d.next.Policy = &p
	d.touch("policy")
}

func (d *draft) dropPolicy() {
	d.next.Policy = nil
	d.touch("policy")
}

func (d *draft) putPending(p Pending) {
	d.next.Pending = &p
	d.touch("pending")
}

func (d *draft) dropPending() {
	d.next.Pending = nil
	d.touch("pending")
}

func (d *draft) touchAll() {
	if d.next.Revision > 0 {
		d.touch("mesh")
	}
	if d.next.Policy != nil {
		d.touch("policy")
	}
	if d.next.Pending != nil {
		d.touch("pending")
	}
	for id := range d.next.Hosts {
		d.touch("host/" + string(id))
	}
	for name := range d.next.Sites {
		d.touch("site/" + name)
	}
	for id := range d.next.Tokens {
		d.touch("token/" + id)
	}
	for name := range d.next.Admins {
		d.touch("admin/" + name)
	}
	for id := range d.next.Buried {
		d.touch("buried/" + string(id))
	}
}

// objects is what the draft touched, before and after.
func (d *draft) objects() []ObjectChange {
	out := make([]ObjectChange, 0, len(d.touched))
	for _, name := range d.touched {
		o := ObjectChange{Key: name, Before: encodeObject(d.prev, name), After: encodeObject(d.next, name)}
		if !bytes.Equal(o.Before, o.After) {
			out = append(out, o)
		}
	}
	return out
}

func encodeObject(inv *Inventory, name string) json.RawMessage {
	kind, id, _ := strings.Cut(name, "/")
	var v any
	var ok bool
	switch kind {
	case "mesh":
		v, ok = inv.Mesh, inv.Mesh.ID != ""
	case "policy":
		v, ok = inv.Policy, inv.Policy != nil
	case "pending":
		v, ok = inv.Pending, inv.Pending != nil
	case "host":
		v, ok = lookup(inv.Hosts, HostID(id))
	case "site":
		v, ok = lookup(inv.Sites, id)
	case "token":
		v, ok = lookup(inv.Tokens, id)
	case "admin":
		v, ok = lookup(inv.Admins, id)
	case "buried":
		v, ok = lookup(inv.Buried, HostID(id))
	}
	if !ok {
		return nil
	}
	raw, err := json.Marshal(v)
	if err != nil { // no type of an inventory can fail to marshal
		return nil
	}
	return raw
}

func lookup[K comparable, V any](m map[K]V, k K) (any, bool) {
	v, ok := m[k]
	return v, ok
}

func (d *draft) load(name string, raw json.RawMessage) error {
	kind, _, _ := strings.Cut(name, "/")
	var err error
	switch kind {
	case "mesh":
		err = loadAs(raw, d.putMesh)
	case "policy":
		err = loadAs(raw, d.putPolicy)
	case "pending":
		err = loadAs(raw, d.putPending)
	case "host":
		err = loadAs(raw, d.putHost)
	case "site":
		err = loadAs(raw, d.putSite)
	case "token":
		err = loadAs(raw, d.putToken)
	case "admin":
		err = loadAs(raw, d.putAdmin)
	case "buried":
		err = loadAs(raw, d.bury)
	default:
		return errors.New("of unknown kind")
	}
	if err == nil && d.touched[len(d.touched)-1] != name {
		return fmt.Errorf("is really %s, or is there twice", d.touched[len(d.touched)-1])
	}
	return err
}

func loadAs[T any](raw json.RawMessage, put func(T)) error {
	var v T
	if err := strictUnmarshal(raw, &v); err != nil {
		return err
	}
	put(v)
	return nil
}

// label is a name as DNS has them (RFC 1123 §2.1), so that it can be one.
var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (d *draft) checkName(at, name string) {
	if !label.MatchString(name) {
		d.refuse("name-invalid", at, "use up to 63 of a-z, 0-9 and -, no - at either end", "%.80q is no valid name", name)
	}
}

// handle is an id that Warren makes up and nobody types.
var handle = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// isHandle reports whether an id survives JSON, and a path of the API, as it is.
func isHandle(id string, longest int) bool { return len(id) <= longest && handle.MatchString(id) }

func (d *draft) checkFuture(at string, t time.Time) {
	if !t.After(d.change.At) {
		d.refuse("expiry-past", at, "", "it would expire at %s, which is not in the future", t.UTC().Format(time.RFC3339))
	}
}
