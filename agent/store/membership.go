package store

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// A Membership is what a host knows of the mesh that it has enrolled in, beside its plan.
type Membership struct {
	Mesh        string       `json:"mesh"` // its id
	MeshName    string       `json:"mesh_name"`
	ID          peers.HostID `json:"id"`
	Name        string       `json:"name"`
	Site        string       `json:"site"`
	Address     netip.Addr   `json:"address"`
	Address6    netip.Addr   `json:"address6"`
	Pin         key.Identity `json:"pin"` // of the controller
	Controllers []string     `json:"controllers"`
	Token       string       `json:"token"`              // the id of the one that it came with
	NextPin     key.Identity `json:"next_pin,omitzero"`  // of the controller too, while it hands over
	Formerly    peers.HostID `json:"formerly,omitempty"` // the id before this one
}

// An Enrolment is one that was begun: kept before the request leaves the host, so that after a crash it
// is sent again and not a second time.
type Enrolment struct {
	Token       string             `json:"token"`
	Name        string             `json:"name"`
	Mesh        string             `json:"mesh"` // its id
	MeshName    string             `json:"mesh_name"`
	Overlay     netip.Prefix       `json:"overlay"`
	Overlay6    netip.Prefix       `json:"overlay6"`
	Generations []peers.Generation `json:"generations"`
}

// Membership reads the membership; errors as for Identity.
func (s *Store) Membership() (Membership, error) {
	m, err := readJSON[Membership](s, fileMembership, "membership")
	if err == nil && (m.ID == "" || m.Mesh == "" || m.Pin.IsZero() || len(m.Controllers) == 0) {
		err = &Damaged{File: s.path(fileMembership), Why: "it is incomplete"}
	}
	return m, err
}

// PutMembership keeps a membership.
func (s *Store) PutMembership(m Membership) error {
	return s.writeJSON(fileMembership, "membership", m)
}

// Enrolment reads the enrolment that is under way; errors as for Identity.
func (s *Store) Enrolment() (Enrolment, error) {
	return readJSON[Enrolment](s, fileEnrolment, "enrolment")
}

// PutEnrolment keeps an enrolment.
func (s *Store) PutEnrolment(e Enrolment) error { return s.writeJSON(fileEnrolment, "enrolment", e) }

// DropEnrolment forgets the enrolment, whose token is a secret.
func (s *Store) DropEnrolment() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wipe(fileEnrolment)
}

// Pins reads which identities this host has met; errors as for Identity.
func (s *Store) Pins() (peers.Pins, error) { return readJSON[peers.Pins](s, filePins, "pins") }

// PutPins keeps them.
func (s *Store) PutPins(p peers.Pins) error { return s.writeJSON(filePins, "pins", p) }

func readJSON[V any](s *Store, name, kind string) (v V, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	content, err := s.read(name, kind)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(content, &v); err != nil {
		return v, &Damaged{File: s.path(name), Why: err.Error()}
	}
	return v, nil
}

func (s *Store) writeJSON(name, kind string, v any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	content, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %v", name, err)
	}
	return s.write(name, kind, content, "")
}
