package ledger

import (
	"context"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// guard runs what goes into bbolt. Where the file turns bad underneath, bbolt panics, or touches memory
// that is no longer there; both come back as errors, and the DB stays shut from then on.
func (db *DB) guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = flawf("while it was open: %v", r)
			db.mu.Lock()
			db.broken = err
			db.mu.Unlock()
		}
	}()
	return do()
}

func (db *DB) brokenBy() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.broken
}

// enter begins what goes into bbolt; leave ends it.
func (db *DB) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.use.RLock()
	if db.closed {
		db.use.RUnlock()
		return ErrClosed
	}
	if err := db.brokenBy(); err != nil {
		db.use.RUnlock()
		return err
	}
	return nil
}

func (db *DB) leave() { db.use.RUnlock() }

// view reads in one transaction, which sees the head or what came after it.
func (db *DB) view(ctx context.Context, read func(store) error) error {
	if err := db.enter(ctx); err != nil {
		return err
	}
	defer db.leave()
	least := db.Head()
	return db.guard(func() error {
		return db.bolt.View(func(tx *bbolt.Tx) error {
			s, err := openStore(tx)
			if err != nil {
				return err
			}
			if h, err := s.head(); err != nil {
				return err
			} else if h.Revision < least {
				return flawf("it went back to %v from revision %d", h, least)
			}
			return read(s)
		})
	})
}

// update writes in one transaction, synced to the disk.
func (db *DB) update(ctx context.Context, write func(store) error) error {
	if err := db.enter(ctx); err != nil {
		return err
	}
	defer db.leave()
	return db.guard(func() error {
		return fromBolt(db.bolt.Update(func(tx *bbolt.Tx) error {
			s, err := openStore(tx)
			if err != nil {
				return err
			}
			return write(s)
		}))
	})
}
