package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// Identity reads the host's identity. Where there is none the error satisfies errors.Is(err,
// fs.ErrNotExist); a damaged one is Damaged.
func (s *Store) Identity() (key.IdentityKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return readKey(s, fileIdentity, "identity", key.ParseIdentityKey)
}

// MakeIdentity makes and keeps an identity. It is an error if there is a file in its place already,
// damaged or not: an identity is never replaced.
func (s *Store) MakeIdentity() (key.IdentityKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has(fileIdentity) {
		return key.IdentityKey{}, fmt.Errorf("%s exists: an identity is never replaced", s.path(fileIdentity))
	}
	id, err := key.NewIdentityKey(rand.Reader)
	if err != nil {
		return key.IdentityKey{}, err
	}
	if err := s.write(fileIdentity, "identity", []byte(id.Expose()), ""); err != nil {
		return key.IdentityKey{}, err
	}
	return id, nil
}

// Keys reads the private keys of all generations. Damaged ones are left out and reported in the error,
// which may come with keys; Damaged can be taken out of it with errors.As.
func (s *Store) Keys() (peers.PrivateByGen, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := os.ReadDir(s.dir.Name())
	if err != nil {
		return nil, fmt.Errorf("list the data directory: %w", err)
	}
	out := peers.PrivateByGen{}
	var problems []error
	for _, e := range entries {
		number, isKey := strings.CutPrefix(e.Name(), fileKey)
		g, err := strconv.ParseUint(number, 10, 64)
		if !isKey || err != nil {
			continue
		}
		private, err := readKey(s, e.Name(), "key", key.ParsePrivate)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		out[peers.Generation(g)] = private
	}
	return out, errors.Join(problems...)
}

// MakeKey makes and keeps the private key of a generation. A file in its place, damaged or not, is an error.
func (s *Store) MakeKey(g peers.Generation) (key.Private, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := keyName(g)
	if s.has(name) {
		return key.Private{}, fmt.Errorf("%s exists: a key is never replaced", s.path(name))
	}
	private, err := key.NewPrivate(rand.Reader)
	if err != nil {
		return key.Private{}, err
	}
	if err := s.write(name, "key", []byte(private.Expose()), ""); err != nil {
		return key.Private{}, err
	}
	return private, nil
}

// WipeKey destroys the private key of a generation.
func (s *Store) WipeKey(g peers.Generation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wipe(keyName(g))
}

func keyName(g peers.Generation) string { return fileKey + strconv.FormatUint(uint64(g), 10) }

func readKey[K any](s *Store, name, kind string, parse func(string) (K, error)) (k K, err error) {
	content, err := s.read(name, kind)
	if err != nil {
		return k, err
	}
	k, err = parse(string(content))
	clear(content)
	if err != nil {
		return k, &Damaged{File: s.path(name), Why: err.Error()}
	}
	return k, nil
}
