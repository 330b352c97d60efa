package ledger

import (
	"context"
	"fmt"
	"io"

	"go.etcd.io/bbolt"
)

// Snapshot writes a consistent copy of the database as it is now, which Open opens. Changes go on
// meanwhile; only Destroy waits. Free pages, and what they remember, are written as zeros.
func (db *DB) Snapshot(w io.Writer) error {
	db.heavy <- struct{}{}
	defer func() { <-db.heavy }()
	if err := db.enter(context.Background()); err != nil {
		return explain(db.path, err)
	}
	defer db.leave()
	err := db.guard(func() error {
		return db.bolt.View(func(tx *bbolt.Tx) error {
			_, err := tx.WriteTo(&blanker{to: w, file: db.file})
			return err
		})
	})
	return explain(db.path, err)
}

// A blanker passes a copy of a file on and makes its free pages zero.
type blanker struct {
	to   io.Writer
	file io.ReaderAt // that the copy is made from
	top  top
	free map[uint64]bool
	at   int64
}

// Write passes the next part of the copy on. The first one holds the whole first page.
func (b *blanker) Write(p []byte) (int, error) {
	if b.free == nil {
		if err := b.begin(p); err != nil {
			return 0, err
		}
	}
	out := append([]byte(nil), p...)
	for i := 0; i < len(out); {
		page := (b.at + int64(i)) / b.top.pageSize
		end := min(len(out), int((page+1)*b.top.pageSize-b.at))
		if b.free[uint64(page)] {
			clear(out[i:end])
		}
		i = end
	}
	n, err := b.to.Write(out)
	b.at += int64(n)
	if err != nil {
		return n, fmt.Errorf("write the copy: %w", err)
	}
	return n, nil
}

func (b *blanker) begin(first []byte) error {
	t, err := parseTop(first)
	if err != nil {
		return err
	}
	ids, err := freePages(b.file, t)
	if err != nil {
		return err
	}
	b.top, b.free = t, make(map[uint64]bool, len(ids))
	for _, id := range ids {
		b.free[id] = true
	}
	return nil
}

// freePages reads the list of free pages.
func freePages(r io.ReaderAt, t top) ([]uint64, error) {
	im := &image{r: r, top: t, seen: make([]bool, t.high)}
	p, err := im.extent(t.freelist, 0)
	if err != nil {
		return nil, err
	}
	return p.free()
}
