package controller

import (
	"context"
	"iter"

	"github.com/warren-mesh/warren/peers"
)

// A Ledger keeps the chained entries and the inventory that they add up to. Several controllers may
// append to one; it decides who is first.
type Ledger interface {
	// Load gives the inventory at the head; the zero one where there is no entry yet.
	Load(ctx context.Context) (*peers.Inventory, error)
	// Append adds an entry in one transaction, or nothing. The error wraps peers.ErrConflict where the
	// entry does not follow on the head. After any other error the entry may have been added or not.
	Append(ctx context.Context, e peers.Entry) error
	// Read gives the entries after a revision, in order.
	Read(ctx context.Context, after peers.Revision) iter.Seq2[peers.Entry, error]
	// Watch gives head revisions as they grow. The latest wins and the writer never waits; the channel
	// is closed when ctx ends.
	Watch(ctx context.Context) (<-chan peers.Revision, error)
}

// A Vault keeps what must not be history: secrets, which must be erasable, and what hosts said last.
type Vault interface {
	// Fetch gives a value; the error wraps fs.ErrNotExist where there is none.
	Fetch(ctx context.Context, name string) ([]byte, error)
	// Put sets values in one transaction.
	Put(ctx context.Context, values map[string][]byte) error
	// Create does so where there is none of these names yet. Otherwise nothing is set, and the error wraps fs.ErrExist:
	// of several controllers that make the same secret at once, one does, and the others take that one.
	Create(ctx context.Context, values map[string][]byte) error
	// Destroy overwrites and removes a value.
	Destroy(ctx context.Context, name string) error
}
