package peers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// tellHost is for the changes that are about one host.
func (e Entry) tellHost(op Op) string {
	o, _ := e.object("host/")
	before, after := ends[Host](o)
	switch op := op.(type) {
	case EnrollHost:
		if after != nil {
			return after.tellEnrolled()
		}
	case UpdateHost:
		if before != nil && after != nil {
			return tellUpdated(before, after)
		}
	case SetHostState:
		if before != nil {
			return fmt.Sprintf("host %s: %s → %s", before.Name, before.State, op.State)
		}
	case LabelHost:
		if after != nil {
			return after.tellLabels()
		}
	case DrainHost:
		if after != nil {
			return op.tell(after)
		}
	case RemoveHost:
		if before != nil {
			return fmt.Sprintf("host %s is removed, it was %s", before.Name, before.State)
		}
	}
	return e.tellKeys()
}

func (h *Host) tellEnrolled() string {
	s := fmt.Sprintf("host %s joins site %s as %v with token %s", h.Name, h.Site, h.Address, h.Token)
	if h.State == HostPending {
		s += " and waits for approval"
	}
	return s
}

// tellUpdated says what a host has told of itself.
func tellUpdated(before, after *Host) string {
	var news []string
	if before.Port != after.Port {
		news = append(news, fmt.Sprintf("port %d → %d", before.Port, after.Port))
	}
	if !slices.Equal(before.Endpoints, after.Endpoints) {
		at := joined(after.Endpoints, func(e Endpoint) string { return e.Address.String() })
		if at == "" {
			at = "nowhere"
		}
		news = append(news, "reachable at "+at)
	}
	for _, g := range freshKeys(before.Keys, after.Keys) {
		news = append(news, fmt.Sprintf("key of generation %d", g))
	}
	return fmt.Sprintf("host %s: %s", after.Name, strings.Join(news, "; "))
}

// freshKeys are the generations of which a host has a key that it did not have before.
func freshKeys(before, after []HostKey) (fresh []Generation) {
	for _, k := range after {
		known := slices.ContainsFunc(before, func(old HostKey) bool {
			return old.Generation == k.Generation && old.Public == k.Public
		})
		if !known {
			fresh = append(fresh, k.Generation)
		}
	}
	return fresh
}

// Announced is the name of the host and the generation where all that the entry does is to make known
// the host's key of that generation: a rotation has one such entry for each host.
func (e Entry) Announced() (host string, g Generation, ok bool) {
	if e.Kind != (UpdateHost{}).Kind() {
		return "", 0, false
	}
	o, _ := e.object("host/")
	before, after := ends[Host](o)
	if before == nil || after == nil || before.Port != after.Port || !slices.Equal(before.Endpoints, after.Endpoints) {
		return "", 0, false
	}
	fresh := freshKeys(before.Keys, after.Keys)
	if len(fresh) != 1 {
		return "", 0, false
	}
	return after.Name, fresh[0], true
}

func (h *Host) tellLabels() string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(h.Labels)) {
		list = append(list, k+"="+h.Labels[k])
	}
	if len(list) == 0 {
		return fmt.Sprintf("host %s has no labels any more", h.Name)
	}
	return fmt.Sprintf("host %s has the labels %s", h.Name, strings.Join(list, ", "))
}
