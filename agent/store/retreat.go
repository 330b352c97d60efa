package store

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/peers"
)

// Networks are the networks of other sites as a plan has them.
type Networks struct {
	Sites  []peers.PlanSite `json:"sites"`
	Remote []netip.Prefix   `json:"remote"` // what the leak guard keeps in, reached or not
}

// NetworksOf are those of a plan.
func NetworksOf(p *peers.Plan) Networks {
	n := Networks{Sites: p.Sites}
	if p.Gate != nil {
		n.Remote = p.Gate.Remote
	}
	return n
}

// Into gives a plan these networks in the place of its own.
func (n Networks) Into(p *peers.Plan) {
	p.Sites = n.Sites
	if p.Gate != nil {
		gate := *p.Gate
		gate.Remote = n.Remote
		p.Gate = &gate
	}
}

// Equal reports whether two are the same.
func (n Networks) Equal(o Networks) bool {
	return slices.EqualFunc(n.Sites, o.Sites, peers.PlanSite.Equal) && slices.Equal(n.Remote, o.Remote)
}

// A Retreat is a way back from the networks of a plan with which this host has not reached the controller yet.
type Retreat struct {
	Before Networks `json:"before"` // with which it did
	Tried  Networks `json:"tried"`
	// Refused says that it did again with Before, and did not with Tried.
	Refused bool `json:"refused,omitempty"`
}

// Retreat reads the way back; the error wraps fs.ErrNotExist where there is none.
func (s *Store) Retreat() (Retreat, error) { return readJSON[Retreat](s, fileRetreat, "retreat") }

// PutRetreat keeps a way back.
func (s *Store) PutRetreat(r Retreat) error { return s.writeJSON(fileRetreat, "retreat", r) }

// DropRetreat forgets it.
func (s *Store) DropRetreat() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.wipe(fileRetreat); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
