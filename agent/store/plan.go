package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"

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
	previous, errPrevious := s.readPlan(filePrevious)
	if err == nil {
		s.kept = slices.Concat(generations(&kept.Plan), generations(&previous.Plan))
		s.finish(&kept)
		return kept, nil
	}
	s.planBad = true
	if errPrevious != nil {
		if errors.Is(err, fs.ErrNotExist) && !errors.Is(errPrevious, fs.ErrNotExist) {
			err = errPrevious
		}
		return Kept{}, err
	}
	previous.Fallback = err
	s.kept = generations(&previous.Plan)
	return previous, nil
}

// finish replaces the previous plan where that was cut short: it has a generation that the current one is without. What
// fails is left to the next PutPlan.
func (s *Store) finish(k *Kept) {
	if !s.isOver(&k.Plan) {
		return
	}
	content, err := encodePlan(k.Plan, k.Head)
	if err == nil && s.replacePlan(content) == nil {
		s.kept = generations(&k.Plan)
	}
}

// PutPlan keeps a plan. The one before becomes the previous one, unless it has a generation that is over:
// then it is destroyed, with the pre-shared keys in it.
func (s *Store) PutPlan(p peers.Plan, head peers.Hash) error {
	content, err := encodePlan(p, head)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isOver(&p) {
		err = s.replacePlan(content)
	} else {
		err = s.nextPlan(content)
	}
	if err == nil {
		s.planBad, s.kept = false, generations(&p)
	}
	return err
}

// isOver reports whether a plan is without a generation of which there are pre-shared keys on disk, or may be.
func (s *Store) isOver(p *peers.Plan) bool {
	if s.planBad && s.kept == nil { // nobody can tell what is in there
		return s.has(filePlan) || s.has(filePrevious)
	}
	return slices.ContainsFunc(s.kept, func(g peers.Generation) bool { return !slices.Contains(generations(p), g) })
}

// nextPlan writes a plan and keeps the one before.
func (s *Store) nextPlan(content []byte) error {
	keep := filePrevious
	if s.planBad || !s.has(filePlan) {
		keep = ""
	}
	return s.write(filePlan, "plan", content, keep)
}

// replacePlan writes a plan in the place of both that are kept, one after the other, and overwrites them.
func (s *Store) replacePlan(content []byte) error {
	for _, name := range []string{filePlan, filePrevious} {
		old, err := os.OpenFile(s.path(name), os.O_WRONLY|syscall.O_NOFOLLOW, 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("replace %s: %w", s.path(name), err)
		}
		err = s.write(name, "plan", content, "")
		if old != nil && err == nil {
			err = overwrite(old)
		}
		if old != nil {
			err = errors.Join(err, old.Close())
		}
		if err != nil {
			return fmt.Errorf("replace %s: %w", s.path(name), err)
		}
	}
	return nil
}

func generations(p *peers.Plan) (out []peers.Generation) {
	for _, in := range p.Interfaces {
		out = append(out, in.Generation)
	}
	return out
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
