package peers

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Tell says in words what the entry did, for people who read the audit log. It needs nothing but the
// entry, so that a log can be read where its inventory is not; what it cannot read it names by its kind.
func (e Entry) Tell() string {
	op, err := decodeOp(e.Kind, e.Op)
	if err != nil {
		return e.tellKeys()
	}
	switch op := op.(type) {
	case CreateMesh:
		return fmt.Sprintf("mesh %s begins, with the overlay %v, %v", op.Name, op.Overlay, op.Overlay6)
	case SetMesh:
		return e.tellMesh()
	case interface{ tell() string }:
		return op.tell()
	case interface{ tellOf(e Entry) string }:
		return op.tellOf(e)
	case RevokeToken:
		return fmt.Sprintf("token %s is revoked", op.ID)
	case SetSite:
		return e.tellSite(op)
	case RemoveSite:
		return fmt.Sprintf("site %s is gone", op.Name)
	case AddAdmin:
		return fmt.Sprintf("admin %s is let in, with the identity %s", op.Name, op.Identity)
	case RemoveAdmin:
		return fmt.Sprintf("admin %s is locked out", op.Name)
	case RetireGeneration:
		return e.tellRetired(op)
	case OrderRekey, SucceedHost:
		return e.tellHandover()
	case RekeyMesh, SucceedMesh:
		return e.tellRekey(op)
	}
	return e.tellHost(op)
}

// tellKeys is for changes that nobody has found words for: it names what they touched.
func (e Entry) tellKeys() string {
	var touched []string
	for _, o := range e.Objects {
		verb := "changed"
		switch {
		case o.Before == nil:
			verb = "made"
		case o.After == nil:
			verb = "removed"
		}
		touched = append(touched, fmt.Sprintf("%s %s", e.named(o), verb))
	}
	if len(touched) == 0 {
		return e.Kind
	}
	return e.Kind + ": " + strings.Join(touched, ", ")
}

// named is the key of an object, with a host's name where the key has its id.
func (e Entry) named(o ObjectChange) string {
	if !strings.HasPrefix(o.Key, "host/") {
		return o.Key
	}
	before, after := ends[Host](o)
	if after == nil {
		after = before
	}
	if after == nil {
		return o.Key
	}
	return "host " + after.Name
}

// ends are an object before and after; nil where it did not exist or is not to be read.
func ends[T any](o ObjectChange) (before, after *T) {
	read := func(raw json.RawMessage) *T {
		var v T
		if raw == nil || json.Unmarshal(raw, &v) != nil {
			return nil
		}
		return &v
	}
	return read(o.Before), read(o.After)
}

// object is the one of a kind that the entry changed.
func (e Entry) object(key string) (ObjectChange, bool) {
	i := slices.IndexFunc(e.Objects, func(o ObjectChange) bool { return strings.HasPrefix(o.Key, key) })
	if i < 0 {
		return ObjectChange{}, false
	}
	return e.Objects[i], true
}

func (e Entry) tellMesh() string {
	o, _ := e.object("mesh")
	before, after := ends[Mesh](o)
	if before == nil || after == nil {
		return "settings of the mesh stay as they are"
	}
	var news []string
	if before.MTU != after.MTU {
		news = append(news, fmt.Sprintf("MTU %d → %d bytes", before.MTU, after.MTU))
	}
	if before.Keepalive != after.Keepalive {
		news = append(news, fmt.Sprintf("keepalive %d → %d s", before.Keepalive, after.Keepalive))
	}
	if before.Grace != after.Grace {
		news = append(news, fmt.Sprintf("grace %v → %v", FormatSpan(before.GraceTime()), FormatSpan(after.GraceTime())))
	}
	if len(news) == 0 {
		return e.tellKeys()
	}
	return strings.Join(news, ", ")
}

func (op SetPolicy) tell() string {
	return fmt.Sprintf("the policy is set: %d flows, %d tests", len(op.Policy.Flows), len(op.Policy.Tests))
}

func (op CreateToken) tell() string {
	s := fmt.Sprintf("token %s for site %s", op.ID, op.Site)
	if op.Name != "" {
		s += ", host " + op.Name
	}
	if op.Uses != 1 {
		s += fmt.Sprintf(", %d uses", op.Uses)
	}
	if op.Approve {
		s += ", hosts wait for approval"
	}
	return s + ", until " + op.Expires.UTC().Format(time.RFC3339)
}

func (e Entry) tellSite(op SetSite) string {
	verb := "is made"
	if o, ok := e.object("site/" + op.Name); ok && o.Before != nil {
		verb = "is set"
	}
	s := fmt.Sprintf("site %s %s", op.Name, verb)
	if len(op.Prefixes) > 0 {
		s += ": " + joined(op.Prefixes, SitePrefix.String)
	}
	if len(op.Gateways) > 0 {
		s += " behind " + strings.Join(op.Gateways, ", ")
	}
	return s + op.tellLANCheck()
}

func (op StartGeneration) tell() string {
	s := fmt.Sprintf("rotation to generation %d begins", op.Number)
	if op.Grace != 0 {
		s += fmt.Sprintf(", which waits %s for hosts that are away", FormatSpan(time.Duration(op.Grace)*time.Second))
	}
	return s
}

// tellRetired ends the story of a rotation with how long it took.
func (e Entry) tellRetired(op RetireGeneration) string {
	s := fmt.Sprintf("generation %d is retired, its keys are gone", op.Number)
	if g, took, ok := e.Rotated(); ok {
		s += fmt.Sprintf("; the rotation to generation %d took %v", g, took.Round(100*time.Millisecond))
	}
	if op.Cut > 0 {
		s += fmt.Sprintf("; pairs of hosts that had not moved and have no tunnel: %d", op.Cut)
	}
	return s
}

// Rotated is the generation that the mesh has come to, and how long that took, where the entry is the end
// of a rotation.
func (e Entry) Rotated() (to Generation, took time.Duration, ok bool) {
	if e.Kind != (RetireGeneration{}).Kind() {
		return 0, 0, false
	}
	o, _ := e.object("mesh")
	_, after := ends[Mesh](o)
	if after == nil || len(after.Generations) == 0 {
		return 0, 0, false
	}
	newest := after.Generations[len(after.Generations)-1]
	return newest.Number, e.At.Sub(newest.Started), true
}

// LeftBehind are the hosts that had no key of the newest generation when the entry ended a rotation, and cut is how many
// pairs of hosts had not moved to it.
func (e Entry) LeftBehind() (hosts []HostID, cut int) {
	op, err := decodeOp(e.Kind, e.Op)
	if end, ok := op.(RetireGeneration); err == nil && ok {
		return end.Behind, end.Cut
	}
	return nil, 0
}

func joined[T any](list []T, text func(T) string) string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = text(v)
	}
	return strings.Join(out, ", ")
}
