package orders

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

// ErrConflict is what a book says, wrapped, to an order that it has already, with other content.
var ErrConflict = errors.New("this order is booked already, with other content")

// An Entry is an order in a book.
type Entry struct {
	Order       string `json:"order"`
	Customer    string `json:"customer"`
	Total       Cents  `json:"total"`
	Fingerprint string `json:"fingerprint"`
}

// A Summary says what is in a book. Books with the same entries have the same summary, whatever their order.
type Summary struct {
	Count  int    `json:"count"`
	Sum    Cents  `json:"sum"` // in cents
	Digest string `json:"digest"`
}

// A Book keeps entries, each order once, in a file of one JSON object a line. Several goroutines may use it.
type Book struct {
	mu      sync.Mutex
	file    *os.File
	size    int64 // of the file, up to the last whole entry
	entries []Entry
	places  map[string]int // in entries, by order
}

// OpenBook opens the book in a file, or begins one.
func OpenBook(path string) (*Book, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	b := &Book{file: file, places: make(map[string]int)}
	if err := b.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("reading the book %s: %v", path, err), file.Close())
	}
	return b, nil
}

// load reads the entries. The last line may be torn: its order was never acknowledged, so it is as if it had not come.
func (b *Book) load() error {
	text, err := io.ReadAll(b.file)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("line %d: %v", len(b.entries)+1, err)
		}
		if _, ok := b.places[e.Order]; ok || e.Order == "" {
			return fmt.Errorf("line %d: order %q is there already", len(b.entries)+1, e.Order)
		}
		b.keep(e)
		b.size += int64(len(line))
	}
	return b.file.Truncate(b.size)
}

func (b *Book) keep(e Entry) {
	b.places[e.Order] = len(b.entries)
	b.entries = append(b.entries, e)
}

// Add books an entry and returns its number, from 1. An entry that is there already keeps its number.
func (b *Book) Add(e Entry) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if place, ok := b.places[e.Order]; ok {
		if b.entries[place] != e {
			return 0, fmt.Errorf("order %s: %w", e.Order, ErrConflict)
		}
		return place + 1, nil
	}
	line, err := json.Marshal(e)
	if err != nil {
		return 0, err
	}
	line = append(line, '\n')
	_, err = b.file.WriteAt(line, b.size)
	if err = errors.Join(err, b.file.Sync()); err != nil {
		// Half an entry must not stay: the next one would be written behind it.
		return 0, fmt.Errorf("booking order %s: %v", e.Order, errors.Join(err, b.file.Truncate(b.size)))
	}
	b.size += int64(len(line))
	b.keep(e)
	return len(b.entries), nil
}

// Summary sums the book up.
func (b *Book) Summary() Summary {
	b.mu.Lock()
	entries := slices.Clone(b.entries)
	b.mu.Unlock()
	slices.SortFunc(entries, func(x, y Entry) int { return cmp.Compare(x.Order, y.Order) })
	s := Summary{Count: len(entries)}
	digest := sha256.New()
	for _, e := range entries {
		s.Sum += e.Total
		fmt.Fprintf(digest, "%q %q %d %q\n", e.Order, e.Customer, e.Total, e.Fingerprint)
	}
	s.Digest = hex.EncodeToString(digest.Sum(nil))
	return s
}

// Close closes the file.
func (b *Book) Close() error { return b.file.Close() }
