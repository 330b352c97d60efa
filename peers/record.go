package peers

import (
	"encoding/json"
	"fmt"
)

// recordElements are the elements that every record has.
const recordElements = 7

// rare is what few records have. It follows on the list, as an object with names.
type rare struct {
	Former []Handover        `json:"former,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
}

// MarshalJSON writes the record as a list, in this order: name, site, identity, joined, prefixes, keys
// (each a list of generation, public key, signature in base64), endpoints (each a list of kind and
// address). A mesh of a thousand hosts sends a million records when all of them join, and names of
// fields would be a third of each. The id is left out because it follows from the identity.
func (p Peer) MarshalJSON() ([]byte, error) {
	keys := make([][3]any, len(p.Keys))
	for i, k := range p.Keys {
		keys[i] = [3]any{k.Generation, k.Public, k.Signature}
	}
	endpoints := make([][2]any, len(p.Endpoints))
	for i, e := range p.Endpoints {
		endpoints[i] = [2]any{e.Kind, e.Address}
	}
	list := []any{p.Name, p.Site, p.Identity, p.Joined, p.Prefixes, keys, endpoints}
	if len(p.Former)+len(p.Labels) > 0 {
		list = append(list, rare{Former: p.Former, Labels: p.Labels})
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads what MarshalJSON writes. Elements that a newer version has added behind the known
// ones are ignored.
func (p *Peer) UnmarshalJSON(raw []byte) error {
	var (
		list      []json.RawMessage
		keys      [][]json.RawMessage
		endpoints [][]json.RawMessage
		out       Peer
	)
	if err := json.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("record of a peer: %v", err)
	}
	if err := elements(list, &out.Name, &out.Site, &out.Identity, &out.Joined, &out.Prefixes, &keys, &endpoints); err != nil {
		return fmt.Errorf("record of a peer: %v", err)
	}
	out.ID = HostID(out.Identity.Fingerprint())
	for i, k := range keys {
		var hk HostKey
		if err := elements(k, &hk.Generation, &hk.Public, &hk.Signature); err != nil {
			return fmt.Errorf("record of peer %s: key %d: %v", out.Name, i, err)
		}
		out.Keys = append(out.Keys, hk)
	}
	for i, e := range endpoints {
		var ep Endpoint
		if err := elements(e, &ep.Kind, &ep.Address); err != nil {
			return fmt.Errorf("record of peer %s: endpoint %d: %v", out.Name, i, err)
		}
		out.Endpoints = append(out.Endpoints, ep)
	}
	if len(list) > recordElements {
		var more rare
		if err := json.Unmarshal(list[recordElements], &more); err != nil {
			return fmt.Errorf("record of peer %s: what few have: %v", out.Name, err)
		}
		out.Former, out.Labels = more.Former, more.Labels
	}
	*p = out
	return nil
}

// elements decodes the elements of a list one by one.
func elements(list []json.RawMessage, into ...any) error {
	if len(list) < len(into) {
		return fmt.Errorf("%d elements, want %d", len(list), len(into))
	}
	for i, v := range into {
		if err := json.Unmarshal(list[i], v); err != nil {
			return fmt.Errorf("element %d: %v", i, err)
		}
	}
	return nil
}
