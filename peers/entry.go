package peers

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// An Entry is one change as the ledger keeps it: chained to the entry before by its hash, with the
// objects that it touched as they were before and after.
type Entry struct {
	Revision Revision        `json:"revision"`
	At       time.Time       `json:"at"`
	By       string          `json:"by"`
	Why      string          `json:"why,omitempty"`
	Kind     string          `json:"kind"`
	Op       json.RawMessage `json:"op"`
	Objects  []ObjectChange  `json:"objects"`
	Prev     Hash            `json:"prev"`
	Hash     Hash            `json:"hash"`
}

// An ObjectChange is one object of the inventory before and after a change; nil where it did not exist.
// Keys are "mesh", "policy", "pending", "host/ID", "site/NAME", "token/ID", "admin/NAME" and "buried/ID".
type ObjectChange struct {
	Key    string          `json:"key"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// ErrChain is returned for an entry that does not follow from the one before it: the ledger was
// tampered with or is damaged.
var ErrChain = errors.New("ledger is not what was written")

// ErrConflict is what a ledger returns when the entry to append does not follow on its head: somebody
// else was faster. Compute the change anew on the newer inventory.
var ErrConflict = errors.New("the ledger has moved on")

// Record applies a change and gives the next inventory with the entry for the ledger. A change that
// breaks a rule gives Problems, all of them at once.
func (inv *Inventory) Record(c Change) (*Inventory, Entry, error) {
	d := newDraft(inv, c)
	d.checkChange()
	d.apply()
	if err := d.problems.err(); err != nil {
		return nil, Entry{}, err
	}
	op, err := json.Marshal(c.Op)
	if err != nil {
		return nil, Entry{}, fmt.Errorf("encode change %s: %v", c.Op.Kind(), err)
	}
	e := Entry{
		Revision: inv.Revision + 1, At: d.change.At, By: c.By, Why: c.Why, Kind: c.Op.Kind(), Op: op,
		Objects: d.objects(), Prev: inv.Head,
	}
	if e.Hash, err = e.digest(); err != nil {
		return nil, Entry{}, fmt.Errorf("encode revision %d: %v", e.Revision, err)
	}
	d.next.Revision, d.next.Head = e.Revision, e.Hash
	return d.next, e, nil
}

// Apply is Record for callers who need no entry.
func (inv *Inventory) Apply(c Change) (*Inventory, error) {
	next, _, err := inv.Record(c)
	return next, err
}

// Replay applies an entry that was read back from a ledger and holds it against what the change does
// by today's rules. Any difference is an error that wraps ErrChain.
func (inv *Inventory) Replay(e Entry) (*Inventory, error) {
	if err := e.Follows(inv.Revision, inv.Head); err != nil {
		return nil, err
	}
	op, err := decodeOp(e.Kind, e.Op)
	if err != nil {
		return nil, fmt.Errorf("revision %d: %v", e.Revision, err)
	}
	next, again, err := inv.Record(Change{At: e.At, By: e.By, Why: e.Why, Op: op})
	if err != nil {
		return nil, fmt.Errorf("revision %d: %v: %w", e.Revision, err, ErrChain)
	}
	if again.Hash != e.Hash {
		return nil, fmt.Errorf("revision %d: its objects are not what its change makes: %w", e.Revision, ErrChain)
	}
	return next, nil
}

// Follows holds the entry's hash against its content, and the entry against the one before it.
func (e Entry) Follows(rev Revision, head Hash) error {
	switch {
	case e.Revision != rev+1:
		return fmt.Errorf("revision %d follows on %d: %w", e.Revision, rev, ErrChain)
	case e.Prev != head:
		return fmt.Errorf("revision %d does not name the hash of %d: %w", e.Revision, rev, ErrChain)
	}
	if sum, err := e.digest(); err != nil || sum != e.Hash {
		return fmt.Errorf("revision %d does not have the hash that it names: %w", e.Revision, ErrChain)
	}
	return nil
}

// Hosts are the hosts that the entry changed; all is true where it may have changed every host's record,
// as others see it.
func (e Entry) Hosts() (ids []HostID, all bool) {
	for _, o := range e.Objects {
		if id, ok := strings.CutPrefix(o.Key, "host/"); ok {
			ids = append(ids, HostID(id))
		}
	}
	switch e.Kind {
	case SetMesh{}.Kind(), StartGeneration{}.Kind(), RetireGeneration{}.Kind(),
		HoldGeneration{}.Kind(), ReleaseGeneration{}.Kind(), DropGeneration{}.Kind(),
		RekeyMesh{}.Kind(), SucceedMesh{}.Kind(), SetSchedule{}.Kind():
		all = len(e.Objects) > 0
	case Apply{}.Kind(), TakeBack{}.Kind():
		all = e.touches("mesh")
	}
	return ids, all
}

// Everybody reports whether the entry may have changed what other hosts than its own see of each other, or
// let in.
func (e Entry) Everybody() bool {
	switch e.Kind {
	case SetPolicy{}.Kind(), SetSite{}.Kind(), RemoveSite{}.Kind():
		return len(e.Objects) > 0
	case Apply{}.Kind(), TakeBack{}.Kind():
		return e.touches("policy") || e.touches("site/")
	}
	return false
}

// touches reports whether the entry changed an object whose key begins so.
func (e Entry) touches(key string) bool {
	_, ok := e.object(key)
	return ok
}

// digest is SHA-256 over the JSON of the entry with a zero hash. The JSON is canonical because the
// order of the fields is that of the type and raw parts are compacted on the way out.
func (e Entry) digest() (Hash, error) {
	e.Hash = Hash{}
	e.At = e.At.UTC()
	raw, err := json.Marshal(e)
	if err != nil { // raw parts that are no JSON
		return Hash{}, err
	}
	return sha256.Sum256(append([]byte("warren/entry/1\n"), raw...)), nil
}

// DecodeEntry reads the JSON of an entry strictly. It does not check the chain: see Follows.
func DecodeEntry(raw []byte) (Entry, error) {
	var e Entry
	if err := strictUnmarshal(raw, &e); err != nil {
		return Entry{}, fmt.Errorf("entry of the ledger: %v", err)
	}
	return e, nil
}

// Load puts an inventory together from its materialised objects (ObjectChange.After by key).
func Load(rev Revision, head Hash, objects map[string]json.RawMessage) (*Inventory, error) {
	inv := &Inventory{Revision: rev, Head: head}
	d := newDraft(inv, Change{})
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		if err := d.load(name, objects[name]); err != nil {
			return nil, fmt.Errorf("object %s: %v", name, err)
		}
	}
	d.next.Revision, d.next.Head = rev, head
	return d.next, nil
}

// Objects are the materialised objects of the inventory, the inverse of Load, sorted by key.
func (inv *Inventory) Objects() []ObjectChange {
	d := newDraft(&Inventory{}, Change{})
	d.next = inv
	d.touchAll()
	objects := d.objects()
	slices.SortFunc(objects, func(a, b ObjectChange) int { return strings.Compare(a.Key, b.Key) })
	return objects
}
