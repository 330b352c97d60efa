package ledger

import (
	"bytes"
	"context"
	"errors"

	"github.com/warren-mesh/warren/peers"
)

// Verify applies every change of the ledger again, from the first one on and by today's rules, and
// holds the hash of each against its content and the result, byte by byte, against the objects of the
// head. Changes go on meanwhile.
func (db *DB) Verify(ctx context.Context) error {
	inv := &peers.Inventory{}
	for {
		done := false
		var batch []peers.Entry
		err := db.view(ctx, func(s store) (err error) {
			if batch, err = s.batch(inv.Revision); err == nil && len(batch) == 0 {
				done = true
				err = s.compare(inv)
			}
			return err
		})
		for _, e := range batch {
			next, replayErr := inv.Replay(e)
			if errors.Is(replayErr, peers.ErrChain) {
				replayErr = flawf("%v", replayErr)
			}
			if replayErr != nil {
				return explain(db.path, replayErr)
			}
			inv = next
		}
		if err != nil || done {
			return explain(db.path, err)
		}
	}
}

// compare holds the head and its objects against an inventory.
func (s store) compare(inv *peers.Inventory) error {
	h, err := s.head()
	if err != nil {
		return err
	}
	if h.Revision != inv.Revision || h.Hash != inv.Head {
		return flawf("the entries end at revision %d, which is not the head, %v", inv.Revision, h)
	}
	want := map[string][]byte{}
	for _, o := range inv.Objects() {
		want[o.Key] = o.After
	}
	var flaw error
	err = s.eachObject(h, func(key string, value []byte) {
		if w, ok := want[key]; (!ok || !bytes.Equal(w, value)) && flaw == nil {
			flaw = flawf("object %.80q is not what the entries add up to", key)
		}
		delete(want, key)
	})
	if err == nil && flaw == nil && len(want) > 0 {
		flaw = flawf("%d objects are missing", len(want))
	}
	return errors.Join(err, flaw)
}
