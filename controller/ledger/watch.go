package ledger

import (
	"context"

	"github.com/warren-mesh/warren/peers"
)

// A watcher is one channel of Watch. Only who holds DB.mu sends on it or closes it.
type watcher struct {
	heads chan peers.Revision
	stop  func() bool // no longer wait for the context to end
}

// Watch gives the revision of the head, at once and whenever it has grown. Who is slow misses what came
// between: there is only ever the latest to take. The channel is closed when ctx ends and by Close.
func (db *DB) Watch(ctx context.Context) (<-chan peers.Revision, error) {
	if err := db.enter(ctx); err != nil {
		return nil, explain(db.path, err)
	}
	defer db.leave()
	db.mu.Lock()
	defer db.mu.Unlock()
	w := &watcher{heads: make(chan peers.Revision, 1)}
	if db.head.Revision > 0 {
		w.heads <- db.head.Revision
	}
	db.watchers[w] = struct{}{}
	w.stop = context.AfterFunc(ctx, func() {
		db.mu.Lock()
		defer db.mu.Unlock()
		db.unwatch(w)
	})
	return w.heads, nil
}

// unwatch ends a watch once.
func (db *DB) unwatch(w *watcher) {
	if _, ok := db.watchers[w]; ok {
		delete(db.watchers, w)
		close(w.heads)
	}
}

func (db *DB) unwatchAll() {
	db.mu.Lock()
	defer db.mu.Unlock()
	for w := range db.watchers {
		w.stop()
		db.unwatch(w)
	}
}

// advance tells everybody about a new head. Of two changes that end at the same time the later one may
// come first.
func (db *DB) advance(h head) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if h.Revision <= db.head.Revision {
		return
	}
	db.head = h
	for w := range db.watchers {
		select {
		case <-w.heads:
		default:
		}
		w.heads <- h.Revision
	}
}
