package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// A Kept plan is one that came from the controller, with its pre-shared keys and without private ones.
type Kept struct {
	Plan peers.Plan
	Head peers.Hash
	// Fallback says why this is the previous plan and not the current one; nil for the current one.
	Fallback error
}

// planFile is a plan as it is on disk.
type planFile struct {
	Head peers.Hash                                   `json:"head"`
	Plan peers.Plan                                   `json:"plan"`
	PSKs map[peers.Generation]map[peers.HostID]string `json:"psks"`
}

// Plan reads the current plan, or the previous one where the current one is damaged. Without either the
// error is that of the current one: fs.ErrNotExist or Damaged.
func (s *Store) Plan() (Kept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, err := s.readPlan(filePlan)
	if err == nil {
		return kept, nil
	}
	s.planBad = true
	previous, errPrevious := s.readPlan(filePrevious)
	if errPrevious != nil {
		if errors.Is(err, fs.ErrNotExist) && !errors.Is(errPrevious, fs.ErrNotExist) {
			err = errPrevious
		}
		return Kept{}, err
	}
	previous.Fallback = err
	return previous, nil
}

// PutPlan keeps a plan. The one before becomes the previous one.
func (s *Store) PutPlan(p peers.Plan, head peers.Hash) error {
	content, err := encodePlan(p, head)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := filePrevious
	if s.planBad || !s.has(filePlan) {
		keep = ""
	}
	if err := s.write(filePlan, "plan", content, keep); err != nil {
		return err
	}
	s.planBad = false
	return nil
}

func (s *Store) readPlan(name string) (Kept, error) {
	content, err := s.read(name, "plan")
	if err != nil {
		return Kept{}, err
	}
	kept, err := decodePlan(content)
	if err != nil {
		return Kept{}, &Damaged{File: s.path(name), Why: err.Error()}
	}
	return kept, nil
}

func encodePlan(p peers.Plan, head peers.Hash) ([]byte, error) {
	f := planFile{Head: head, Plan: p, PSKs: map[peers.Generation]map[peers.HostID]string{}}
	for g, byHost := range p.PSKs {
		f.PSKs[g] = make(map[peers.HostID]string, len(byHost))
		for id, psk := range byHost {
			if !psk.IsZero() {
				f.PSKs[g][id] = psk.Expose()
			}
		}
	}
	content, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encode plan: %v", err)
	}
	return content, nil
}

func decodePlan(content []byte) (Kept, error) {
	var f planFile
	if err := json.Unmarshal(content, &f); err != nil {
		return Kept{}, err
	}
	if f.Plan.Self.ID == "" || f.Plan.Mesh.ID == "" {
		return Kept{}, errors.New("there is no plan in it")
	}
	f.Plan.PSKs = peers.PSKs{}
	for g, byHost := range f.PSKs {
		for id, text := range byHost {
			psk, err := key.ParsePreshared(text)
			if err != nil {
				return Kept{}, fmt.Errorf("host %s, generation %d: %v", id, g, err)
			}
			f.Plan.PSKs.Put(g, id, psk)
		}
	}
	return Kept{Plan: f.Plan, Head: f.Head}, nil
}
