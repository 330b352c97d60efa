package store

import "github.com/warren-mesh/warren/peers"

// Guard reads the guard that was in force last; errors as for Identity.
func (s *Store) Guard() (peers.Guard, error) {
	g, err := readJSON[peers.Guard](s, fileGuard, "guard")
	if err == nil && !g.MayLoad() {
		err = &Damaged{File: s.path(fileGuard), Why: "it is incomplete"}
	}
	return g, err
}

// PutGuard keeps the guard that is in force, for a start at which the agent does not run yet.
func (s *Store) PutGuard(g peers.Guard) error { return s.writeJSON(fileGuard, "guard", g) }
