package ledger

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
)

// Fetch gives a value of the vault; the error wraps fs.ErrNotExist where there is none of that name.
func (db *DB) Fetch(ctx context.Context, name string) ([]byte, error) {
	var value []byte
	err := db.view(ctx, func(s store) error {
		sealed := s.vault.Get([]byte(name))
		if sealed == nil {
			return fmt.Errorf("the vault has no %.80q: %w", name, fs.ErrNotExist)
		}
		v, err := unseal(bucketVault, []byte(name), sealed)
		value = append([]byte{}, v...)
		return err
	})
	if err != nil {
		return nil, explain(db.path, err)
	}
	return value, nil
}

// Put stores values under their names in one transaction. The values that they replace stay somewhere
// in the file until the next Destroy.
func (db *DB) Put(ctx context.Context, values map[string][]byte) error {
	return db.put(ctx, values, func(store) error { return nil })
}

// Create stores values like Put, all of them or none: where there is one of any of the names, nothing is stored and the
// error, which says which, wraps fs.ErrExist.
func (db *DB) Create(ctx context.Context, values map[string][]byte) error {
	return db.put(ctx, values, func(s store) error {
		for name := range values {
			if s.vault.Get([]byte(name)) != nil {
				return fmt.Errorf("the vault has a %.80q already: %w", name, fs.ErrExist)
			}
		}
		return nil
	})
}

// put stores values in one transaction that begins with a condition.
func (db *DB) put(ctx context.Context, values map[string][]byte, may func(store) error) error {
	err := db.update(ctx, func(s store) error {
		if err := may(s); err != nil {
			return err
		}
		t, err := s.vaultTally()
		if err != nil {
			return err
		}
		for name, value := range values {
			// A nil slice is an empty value here, not one to delete.
			if err := set(s.vault, &t, bucketVault, []byte(name), append([]byte{}, value...)); err != nil {
				return fmt.Errorf("vault value %.80q: %w", name, err)
			}
		}
		return s.putVaultTally(t)
	})
	return explain(db.path, err)
}

// Destroy deletes a value, if there is one, and overwrites every place in the file where it, or any
// value that was deleted or replaced before, may still be. When it is cut short, the next Open goes on.
func (db *DB) Destroy(ctx context.Context, name string) error {
	select {
	case db.heavy <- struct{}{}:
		defer func() { <-db.heavy }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := db.bury(ctx, name)
	if err == nil {
		err = db.scrub()
	}
	return explain(db.path, err)
}

// bury deletes a value and notes that it is still somewhere in the file.
func (db *DB) bury(ctx context.Context, name string) error {
	return db.update(ctx, func(s store) error {
		t, err := s.vaultTally()
		if err != nil {
			return err
		}
		if err := set(s.vault, &t, bucketVault, []byte(name), nil); err != nil {
			return fmt.Errorf("vault value %.80q: %w", name, err)
		}
		if err := s.putMeta(keyScrub, nil); err != nil {
			return err
		}
		return s.putVaultTally(t)
	})
}

// scrub overwrites all free pages with zeros and notes that it is done.
func (db *DB) scrub() error {
	if err := db.scrubFree(); err != nil {
		return err
	}
	return db.update(context.Background(), func(s store) error { return s.meta.Delete([]byte(keyScrub)) })
}

// scrubFree writes into the file past bbolt. Nobody else is in there meanwhile: no reader that may still
// see the tree before the last change, and no writer.
func (db *DB) scrubFree() error {
	db.use.Lock()
	defer db.use.Unlock()
	if db.closed {
		return ErrClosed
	}
	info, err := db.file.Stat()
	if err != nil {
		return err
	}
	t, err := newestTop(db.file, info.Size())
	if err != nil {
		return err
	}
	free, err := freePages(db.file, t)
	if err != nil {
		return err
	}
	// What was written behind the last page belongs to changes that failed.
	for id := t.high; int64(id) < info.Size()/t.pageSize; id++ {
		free = append(free, id)
	}
	zero, buf := make([]byte, t.pageSize), make([]byte, t.pageSize)
	for _, id := range free {
		at := int64(id) * t.pageSize
		if err := readAt(db.file, buf, at); err != nil {
			return err
		}
		// Pages that are zero already may be holes, which take no room on the disk.
		if bytes.Equal(buf, zero) {
			continue
		}
		if _, err := db.file.WriteAt(zero, at); err != nil {
			return err
		}
	}
	return db.file.Sync()
}
