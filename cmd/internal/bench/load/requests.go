package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Requests are short HTTP requests at a steady rate, each on a connection of its own.
type Requests struct {
	server  *http.Server
	client  *http.Client
	url     string
	stop    chan struct{}
	running sync.WaitGroup

	mu    sync.Mutex
	count RequestCount
}

// A RequestCount is what became of requests.
type RequestCount struct {
	Sent, Failed int
	Slowest      time.Duration
	First        error // of the failures
}

// requestPatience is what one request may take.
const requestPatience = 10 * time.Second

// StartRequests asks so many times per second until Stop.
func StartRequests(p Path, perSecond int) (*Requests, error) {
	l, err := p.To.listenTCP()
	if err != nil {
		return nil, fmt.Errorf("requests from %v: %v", p, err)
	}
	r := &Requests{
		url: "http://" + l.Addr().String() + "/", stop: make(chan struct{}),
		server: &http.Server{ReadHeaderTimeout: requestPatience, Handler: http.HandlerFunc(answer)},
		client: &http.Client{Timeout: requestPatience, Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(_ context.Context, _, to string) (net.Conn, error) {
				return p.From.dialTCP(to)
			},
		}},
	}
	go func() { _ = r.server.Serve(l) }() // it ends with Stop
	r.running.Go(func() { r.send(perSecond) })
	return r, nil
}

func answer(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "an order of a few hundred bytes would be here\n") // a client that is gone counts it itself
}

func (r *Requests) send(perSecond int) {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
			r.running.Go(r.one)
		}
	}
}

func (r *Requests) one() {
	start := time.Now()
	err := r.ask()
	took := time.Since(start)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count.Sent++
	r.count.Slowest = max(r.count.Slowest, took)
	if err != nil {
		if r.count.Failed++; r.count.First == nil {
			r.count.First = err
		}
	}
}

func (r *Requests) ask() error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, r.url, nil)
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

// Stop ends the asking, waits for the answers and counts.
func (r *Requests) Stop() RequestCount {
	close(r.stop)
	r.running.Wait()
	_ = r.server.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}
