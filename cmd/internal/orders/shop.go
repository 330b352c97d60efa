package orders

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	maxWorkers  = 64
	maxAttempts = 6
	firstPause  = 50 * time.Millisecond // before the second attempt; each further one waits twice as long
)

// A Sale is a number of orders to be placed.
type Sale struct {
	To      string // URL of the ERP
	First   int    // number of the first order
	Count   int
	Workers int     // orders under way at once
	Rate    float64 // orders begun in a second; 0 for no limit
	Note    string  // in every order
}

// A Result says how a sale went.
type Result struct {
	Acknowledged int     `json:"acknowledged"`
	Repeated     int     `json:"repeated"` // attempts beyond the first
	Seconds      float64 `json:"seconds"`
	PerSecond    float64 `json:"per_second"`
	P50          float64 `json:"p50"` // seconds from order to receipt
	P99          float64 `json:"p99"`
	Book         Summary `json:"book"`
}

// A shop places orders.
type shop struct {
	sale   Sale
	book   *Book
	client *http.Client

	mu    sync.Mutex // guards what follows
	times []time.Duration
	again int
	errs  []error
}

// Place places the orders of a sale, and books those that were acknowledged. With an error some were not.
func Place(ctx context.Context, sale Sale, book *Book) (Result, error) {
	workers := min(max(sale.Workers, 1), maxWorkers)
	s := &shop{sale: sale, book: book, client: newClient(workers)}
	defer s.client.CloseIdleConnections()
	began := time.Now()
	numbers := make(chan int)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for number := range numbers {
				s.place(ctx, Make(number, sale.Note))
			}
		})
	}
	pace, stop := pacer(sale.Rate)
	for i := range sale.Count {
		<-pace
		numbers <- sale.First + i
	}
	stop()
	close(numbers)
	running.Wait()
	return s.result(time.Since(began))
}

// pacer gives a channel that lets one order go at a time.
func pacer(rate float64) (pace <-chan time.Time, stop func()) {
	if rate <= 0 {
		free := make(chan time.Time)
		close(free)
		return free, func() {}
	}
	ticker := time.NewTicker(max(time.Microsecond, time.Duration(float64(time.Second)/rate)))
	return ticker.C, ticker.Stop
}

func (s *shop) result(took time.Duration) (Result, error) {
	r := Result{
		Acknowledged: len(s.times), Repeated: s.again, Seconds: took.Seconds(), Book: s.book.Summary(),
		PerSecond: float64(len(s.times)) / max(took.Seconds(), 1e-9),
	}
	if n := len(s.times); n > 0 {
		slices.Sort(s.times)
		r.P50, r.P99 = s.times[n/2].Seconds(), s.times[n*99/100].Seconds()
	}
	if len(s.errs) > 0 {
		return r, fmt.Errorf("%d of %d orders were not acknowledged; the first: %w", len(s.errs), s.sale.Count, s.errs[0])
	}
	return r, nil
}

// place places an order until it is acknowledged, refused, or has failed too often.
func (s *shop) place(ctx context.Context, o Order) {
	began := time.Now()
	again, err := s.insist(ctx, o)
	took := time.Since(began)
	if err == nil {
		_, err = s.book.Add(entryOf(o))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again += again
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("order %s: %w", o.ID, err))
		return
	}
	s.times = append(s.times, took)
}

func (s *shop) insist(ctx context.Context, o Order) (again int, err error) {
	for pause := firstPause; ; pause *= 2 {
		err = s.once(ctx, o)
		if err == nil || errors.Is(err, ErrRefused) || again == maxAttempts-1 {
			return again, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			again++
		case <-ctx.Done():
			timer.Stop()
			return again, ctx.Err()
		}
	}
}

func (s *shop) once(ctx context.Context, o Order) error {
	var receipt Receipt
	err := post(ctx, s.client, s.sale.To+"/orders", o, &receipt)
	return errors.Join(err, receipt.confirms(err, entryOf(o)))
}
