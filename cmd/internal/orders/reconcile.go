package orders

import (
	"context"
	"fmt"
	"net/http"
)

// A Named book is one that was asked for its summary.
type Named struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	Summary
}

// Ask asks a service for the summary of its book.
func Ask(ctx context.Context, name, url string) (Named, error) {
	n := Named{Name: name, URL: url}
	client := newClient(1)
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/book", http.NoBody)
	if err != nil {
		return n, err
	}
	if err := ask(client, request, &n.Summary); err != nil {
		return n, fmt.Errorf("asking %s for its book: %v", name, err)
	}
	return n, nil
}

// Reconcile holds books against the number of orders that each must have, and against the first of them. It returns
// what differs, in words; nothing if the books agree.
func Reconcile(count int, books []Named) (differences []string) {
	differ := func(format string, args ...any) { differences = append(differences, fmt.Sprintf(format, args...)) }
	if len(books) == 0 {
		differ("there are no books to reconcile")
	}
	for i, b := range books {
		first := books[0]
		if b.Count != count {
			differ("%s has %d orders, and %d were placed", b.Name, b.Count, count)
		}
		if b.Sum != first.Sum {
			differ("the orders of %s add up to %v, those of %s to %v", b.Name, b.Sum, first.Name, first.Sum)
		}
		if i > 0 && b.Count == first.Count && b.Sum == first.Sum && b.Digest != first.Digest {
			differ("%s and %s have as many orders of the same sum, but not the same orders", b.Name, first.Name)
		}
	}
	return differences
}
