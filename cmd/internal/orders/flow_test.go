package orders

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// A business is the three services on loopback. What the shop sends to the ERP, and the ERP to accounting, can be
// tampered with on the way.
type business struct {
	shop            *Book
	erp, accounting *Book
	toERP           string
	books           []Named
}

// A tamper does something to a request, or answers it itself; pass hands it on.
type tamper func(w http.ResponseWriter, r *http.Request, pass http.Handler)

func honest(w http.ResponseWriter, r *http.Request, pass http.Handler) { pass.ServeHTTP(w, r) }

func newBook(t *testing.T, path string) *Book {
	t.Helper()
	b, err := OpenBook(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func serveTest(t *testing.T, routes http.Handler, with tamper) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { with(w, r, routes) }))
	t.Cleanup(server.Close)
	return server.URL
}

func newBusiness(t *testing.T, beforeERP, beforeAccounting tamper) *business {
	t.Helper()
	dir := t.TempDir()
	b := &business{
		shop: newBook(t, dir+"/shop"), erp: newBook(t, dir+"/erp"), accounting: newBook(t, dir+"/accounting"),
	}
	toAccounting := serveTest(t, NewAccounting(b.accounting), beforeAccounting)
	b.toERP = serveTest(t, NewERP(b.erp, toAccounting), beforeERP)
	b.books = []Named{
		{Name: "shop", URL: serveTest(t, withBook(b.shop), honest)},
		{Name: "erp", URL: b.toERP},
		{Name: "accounting", URL: toAccounting},
	}
	return b
}

// differences asks the services for their books, as the demo does.
func (b *business) differences(t *testing.T, count int) string {
	t.Helper()
	var books []Named
	for _, service := range b.books {
		book, err := Ask(t.Context(), service.Name, service.URL)
		if err != nil {
			t.Fatal(err)
		}
		books = append(books, book)
	}
	return strings.Join(Reconcile(count, books), "; ")
}

func (b *business) sell(t *testing.T, count int) (Result, error) {
	t.Helper()
	return Place(t.Context(), Sale{To: b.toERP, First: 1, Count: count, Workers: 8, Note: "n0te"}, b.shop)
}

func TestOrdersReconcile(t *testing.T) {
	b := newBusiness(t, honest, honest)
	const count = 300
	result, err := b.sell(t, count)
	if err != nil || result.Acknowledged != count || result.Repeated != 0 {
		t.Fatalf("%+v %v", result, err)
	}
	if result.P50 <= 0 || result.P99 < result.P50 || result.PerSecond <= 0 || result.Book != b.shop.Summary() {
		t.Errorf("%+v", result)
	}
	var sum Cents
	for number := 1; number <= count; number++ {
		sum += Make(number, "").Total
	}
	if got := b.accounting.Summary(); got.Count != count || got.Sum != sum {
		t.Errorf("accounting has %+v, want %d orders, %v", got, count, sum)
	}
	if d := b.differences(t, count); d != "" {
		t.Error(d)
	}
	if d := b.differences(t, count+1); !strings.Contains(d, "accounting has 300 orders, and 301 were placed") {
		t.Errorf("one order more was placed, and nobody notices: %q", d)
	}
}

// alter changes the body of a request, and leaves its answer as if nothing had happened.
func alter(t *testing.T, r *http.Request, change func(object map[string]any)) {
	t.Helper()
	var object map[string]any
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
		t.Error(err)
	}
	change(object)
	text, err := json.Marshal(object)
	if err != nil {
		t.Error(err)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
}

// nth tampers with one request, and is honest with the others.
func nth(n int64, with tamper) tamper {
	var count atomic.Int64
	return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if r.Method == http.MethodPost && count.Add(1) == n {
			with(w, r, pass)
			return
		}
		honest(w, r, pass)
	}
}

func TestReconciliationNotices(t *testing.T) {
	swallow := func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		var o struct {
			ID, Order string
			Total     Cents
		}
		if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
			t.Error(err)
		}
		answer(w, Receipt{Order: o.ID + o.Order, Invoice: "INV-1", Total: o.Total})
	}
	twice := func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		again := r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
		again.Body = io.NopCloser(bytes.NewReader(bytes.Replace(body, []byte(`"A-`), []byte(`"B-`), 1)))
		pass.ServeHTTP(httptest.NewRecorder(), again)
		pass.ServeHTTP(w, r)
	}
	otherCustomer := func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		alter(t, r, func(o map[string]any) { o["customer"] = "Somebody Else" })
		pass.ServeHTTP(w, r)
	}
	otherTotal := func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		var lie Receipt
		alter(t, r, func(o map[string]any) {
			lie.Order, _ = o["order"].(string)
			total, _ := o["total"].(float64)
			lie.Total, lie.Invoice = Cents(total), "INV-1"
			o["total"] = total + 1
		})
		pass.ServeHTTP(httptest.NewRecorder(), r)
		answer(w, lie)
	}
	for _, c := range []struct {
		name                        string
		beforeERP, beforeAccounting tamper
		want                        string
	}{
		{"lost before the ERP", nth(7, swallow), honest, "erp has 49 orders, and 50 were placed"},
		{"lost before accounting", honest, nth(7, swallow), "accounting has 49 orders, and 50 were placed"},
		{"invoiced twice", honest, nth(7, twice), "accounting has 51 orders, and 50 were placed"},
		{"altered before the ERP", nth(7, otherCustomer), honest, "erp and shop have as many orders of the same sum, but not"},
		{"altered before accounting", honest, nth(7, otherCustomer), "accounting and shop have as many orders"},
		{"other amount", honest, nth(7, otherTotal), "the orders of accounting add up to"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBusiness(t, c.beforeERP, c.beforeAccounting)
			if _, err := b.sell(t, 50); err != nil {
				t.Fatal(err)
			}
			if d := b.differences(t, 50); !strings.Contains(d, c.want) {
				t.Errorf("differences: %q, want %q", d, c.want)
			}
		})
	}
}

// TestAnswersGetLost: the order has arrived, its sender has seen no answer and asks again.
func TestAnswersGetLost(t *testing.T) {
	unheard := func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		pass.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler) // closes the connection
	}
	b := newBusiness(t, nth(3, unheard), nth(20, unheard))
	result, err := b.sell(t, 50)
	if err != nil || result.Acknowledged != 50 || result.Repeated < 1 {
		t.Errorf("%+v %v", result, err)
	}
	if d := b.differences(t, 50); d != "" {
		t.Error(d)
	}
}

func TestSameOrderAtOnce(t *testing.T) {
	b := newBusiness(t, honest, honest)
	done := make(chan error)
	const times = 8
	for range times {
		go func() {
			var receipt Receipt
			err := post(t.Context(), newClient(1), b.toERP+"/orders", Make(1, ""), &receipt)
			if err == nil && receipt.Invoice != "INV-000001" {
				err = errors.New(receipt.Invoice)
			}
			done <- err
		}()
	}
	for range times {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if e, a := b.erp.Summary(), b.accounting.Summary(); e.Count != 1 || a != e {
		t.Errorf("%+v %+v", e, a)
	}
}

func TestServicesRefuse(t *testing.T) {
	b := newBusiness(t, honest, honest)
	changed := Make(1, "")
	changed.Customer = "Somebody Else"
	wrongSum := Make(2, "")
	wrongSum.Total++
	for _, c := range []struct {
		name, url string
		in        any
		want      string
	}{
		{"an order that adds up", b.toERP + "/orders", Make(1, ""), ""},
		{"the same with other content", b.toERP + "/orders", changed, "409 Conflict: order A-000001: this order is booked"},
		{"a wrong sum", b.toERP + "/orders", wrongSum, "400 Bad Request: the lines add up to"},
		{"no order", b.toERP + "/orders", Order{}, "an order has an id"},
		{"nothing in a line", b.toERP + "/orders", Order{ID: "1", Customer: "a", Lines: []Line{{}}}, "line 1: no article"},
		{"an unknown field", b.toERP + "/orders", map[string]int{"discount": 3}, "unknown field"},
		{"far too much", b.toERP + "/orders", strings.Repeat("x", 2*maxBody), "too large"},
		{"an invoice of nothing", b.books[2].URL + "/invoices", Invoice{}, "names its order"},
		{"the wrong place", b.toERP + "/invoices", Invoice{}, "404 Not Found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var receipt Receipt
			err := post(t.Context(), newClient(1), c.url, c.in, &receipt)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// TestShopGivesUp: orders that nobody acknowledges are no orders of the shop.
func TestShopGivesUp(t *testing.T) {
	strange := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		answer(w, Receipt{Order: "A-999999", Invoice: "INV-1"})
	}
	refusing := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		http.Error(w, "closed", http.StatusForbidden)
	}
	for name, c := range map[string]struct {
		with tamper
		want string
	}{
		"receipt of another order": {strange, "is not for order A-000001"},
		"refused":                  {refusing, "403 Forbidden: closed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBusiness(t, c.with, honest)
			result, err := b.sell(t, 1)
			if err == nil || !strings.Contains(err.Error(), c.want) || result.Acknowledged != 0 {
				t.Errorf("%+v %v, want %q", result, err, c.want)
			}
			if b.shop.Summary().Count != 0 {
				t.Error("it is in the shop's book all the same")
			}
		})
	}
}

// TestERPChecksReceipts: a receipt for something else acknowledges nothing.
func TestERPChecksReceipts(t *testing.T) {
	b := newBusiness(t, honest, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		answer(w, Receipt{Order: "A-000001", Invoice: "INV-1", Total: 1})
	})
	var receipt Receipt
	err := post(t.Context(), newClient(1), b.toERP+"/orders", Make(1, ""), &receipt)
	if err == nil || !strings.Contains(err.Error(), "502 Bad Gateway: accounting: refused: the receipt") {
		t.Errorf("error %v", err)
	}
}

func TestBookLastsAndIsIdempotent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "book")
	b := newBook(t, path)
	for range 2 {
		for number := 1; number <= 3; number++ {
			if got, err := b.Add(entryOf(Make(number, ""))); err != nil || got != number {
				t.Fatalf("order %d has number %d: %v", number, got, err)
			}
		}
	}
	before := b.Summary()
	// A crash in the middle of the fourth entry.
	torn := `{"order":"A-` + strings.Repeat("0", 1000)
	if _, err := b.file.WriteAt([]byte(torn), b.size); err != nil {
		t.Fatal(err)
	}
	again := newBook(t, path)
	if got := again.Summary(); got != before || got.Count != 3 {
		t.Errorf("%+v, want %+v", got, before)
	}
	if _, err := again.Add(entryOf(Make(4, ""))); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if lines := strings.SplitAfter(string(text), "\n"); err != nil || len(lines) != 5 || lines[4] != "" {
		t.Errorf("the torn entry is still there: %q %v", text, err)
	}
	third := newBook(t, path)
	if got := third.Summary(); got != again.Summary() || got.Count != 4 {
		t.Errorf("%+v, want %+v", got, again.Summary())
	}
	if got, err := third.Add(entryOf(Make(4, "other"))); !errors.Is(err, ErrConflict) {
		t.Errorf("other content under the same id: %d %v", got, err)
	}
}

func TestDamagedBook(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":   "order A-1\n",
		"no order":  "{}\n",
		"two alike": `{"order":"A-1"}` + "\n" + `{"order":"A-1"}` + "\n",
	} {
		path := filepath.Join(t.TempDir(), "book")
		if err := writeFile(path, text); err != nil {
			t.Fatal(err)
		}
		if b, err := OpenBook(path); err == nil {
			t.Errorf("%s: opened with %+v", name, b.Summary())
		}
	}
}
