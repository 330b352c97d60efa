package ledger

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"sync"
	"time"

	"github.com/warren-mesh/warren/peers"
	"go.etcd.io/bbolt"
)

const (
	// defaultWait is how long Open waits for another process to let go of the file.
	defaultWait = 800 * time.Millisecond
	// chainAtOpen is how many of the last entries Open holds against the chain; Verify does all.
	chainAtOpen = 1000
	// growth is by how much the file grows at a time.
	growth = 1 << 20
)

// Options of Open. The zero value is what a controller wants.
type Options struct {
	Wait      time.Duration // for another process to let go of the file; 0.8 s where zero
	MustExist bool          // a file that is not there is an error, not the first start

	pageSize int // of a new file; that of the system where zero
}

// A DB is an open database. All methods may be called at any time from any goroutine.
type DB struct {
	path string
	file *os.File
	bolt *bbolt.DB

	// use is held for reading by whoever is within bbolt, and for writing by what must have the file
	// alone. It guards closed.
	use    sync.RWMutex
	closed bool
	// heavy has room for one: a Snapshot, which may take long, or a Destroy.
	heavy chan struct{}

	mu       sync.Mutex
	broken   error // after a panic of bbolt, which may have kept its locks
	head     head
	watchers map[*watcher]struct{}
}

// Open opens the database at path and checks all of it; where there is none it makes an empty one. The
// database is this process's alone until Close.
func Open(path string, o Options) (*DB, error) {
	db, err := open(path, o)
	if err != nil {
		return nil, explain(path, err)
	}
	return db, nil
}

func open(path string, o Options) (*DB, error) {
	if o.Wait == 0 {
		o.Wait = defaultWait
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.Wait)
	defer cancel()
	f, err := openLocked(ctx, path)
	if errors.Is(err, fs.ErrNotExist) && !o.MustExist {
		if err := create(ctx, path, o.pageSize); err != nil {
			return nil, err
		}
		f, err = openLocked(ctx, path)
	}
	if err != nil {
		return nil, err
	}
	db, err := openChecked(path, f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return db, nil
}

// openChecked gives a locked file to bbolt once it is checked.
func openChecked(path string, f *os.File) (*DB, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	c, err := check(f, info.Size())
	if err != nil {
		return nil, err
	}
	db := &DB{
		path: path, file: f, head: c.head,
		heavy: make(chan struct{}, 1), watchers: map[*watcher]struct{}{},
	}
	err = db.guard(func() (err error) {
		db.bolt, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:         defaultWait,
			InitialMmapSize: mapSize(),
			// Handing in the very file that was locked and checked leaves no gap for another one.
			OpenFile: func(string, int, fs.FileMode) (*os.File, error) { return f, nil },
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	db.bolt.AllocSize = growth
	err = db.view(context.Background(), func(s store) error { return s.chain(c.head, chainAtOpen) })
	if err == nil && c.scrub {
		err = db.scrub() // a Destroy was cut short
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// mapSize is the address space for the file, 1 GiB where there is plenty: to map more of it, bbolt must
// wait for all readers, and all others would wait with it.
func mapSize() int {
	if math.MaxInt > math.MaxInt32 {
		return 1 << 30
	}
	return 1 << 26
}

// Close ends all watches and closes the file. It waits for what is under way.
func (db *DB) Close() error {
	db.use.Lock()
	defer db.use.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	db.unwatchAll()
	if db.brokenBy() != nil {
		// bbolt may wait for a lock that nobody gives back; what counts is that the file is let go, which
		// the mapping, that stays, would not do.
		return explain(db.path, errors.Join(unlock(db.file), db.file.Close()))
	}
	return explain(db.path, db.guard(db.bolt.Close))
}

// Head is the revision of the last change, 0 where there is none.
func (db *DB) Head() peers.Revision {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.head.Revision
}
