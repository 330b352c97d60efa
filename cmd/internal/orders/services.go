package orders

import (
	"errors"
	"fmt"
	"net/http"
)

// NewAccounting makes the service at the end of the way: it books invoices.
func NewAccounting(book *Book) http.Handler {
	mux := withBook(book)
	mux.HandleFunc("POST /invoices", func(w http.ResponseWriter, r *http.Request) {
		var in Invoice
		if !take(w, r, &in) {
			return
		}
		if in.Order == "" || in.Fingerprint == "" {
			http.Error(w, "an invoice names its order, and the fingerprint of that", http.StatusBadRequest)
			return
		}
		number, err := book.Add(Entry{in.Order, in.Customer, in.Total, in.Fingerprint})
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, Receipt{Order: in.Order, Invoice: fmt.Sprintf("INV-%06d", number), Total: in.Total})
	})
	return mux
}

// An erp books orders and has them invoiced.
type erp struct {
	book   *Book
	client *http.Client
	next   string // URL of accounting
}

// NewERP makes the service in the middle: it books orders and posts an invoice for each to accounting at the URL next.
// An order that comes again, because its sender has seen no answer, is booked once and invoiced once.
func NewERP(book *Book, next string) http.Handler {
	e := &erp{book, newClient(maxWorkers), next}
	mux := withBook(book)
	mux.HandleFunc("POST /orders", e.order)
	return mux
}

func (e *erp) order(w http.ResponseWriter, r *http.Request) {
	var in Order
	if !take(w, r, &in) {
		return
	}
	if err := in.Check(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	entry := entryOf(in)
	if _, err := e.book.Add(entry); err != nil {
		refuse(w, err)
		return
	}
	invoice := Invoice{entry.Order, entry.Customer, entry.Total, entry.Fingerprint, in.Note}
	var receipt Receipt
	err := post(r.Context(), e.client, e.next+"/invoices", invoice, &receipt)
	if err = errors.Join(err, receipt.confirms(err, entry)); err != nil {
		http.Error(w, "accounting: "+err.Error(), http.StatusBadGateway)
		return
	}
	answer(w, receipt)
}

func entryOf(o Order) Entry { return Entry{o.ID, o.Customer, o.Total, o.Fingerprint()} }

// confirms checks that a receipt, which came without an error, is for what was sent.
func (r Receipt) confirms(err error, e Entry) error {
	if err == nil && (r.Order != e.Order || r.Total != e.Total || r.Invoice == "") {
		return fmt.Errorf("%w: the receipt %+v is not for order %s over %v", ErrRefused, r, e.Order, e.Total)
	}
	return nil
}
