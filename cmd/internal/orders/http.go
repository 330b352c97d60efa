package orders

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	maxBody      = 64 << 10 // far more than any order
	answerWithin = 10 * time.Second
)

// ErrRefused is an answer, wrapped, that would be the same if the service were asked again.
var ErrRefused = errors.New("refused")

// newClient makes a client that keeps so many connections open.
func newClient(connections int) *http.Client {
	return &http.Client{
		Timeout:   answerWithin,
		Transport: &http.Transport{MaxIdleConnsPerHost: connections, IdleConnTimeout: time.Minute},
	}
}

// post sends in and reads the answer into out.
func post(ctx context.Context, client *http.Client, url string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	return ask(client, request, out)
}

func ask(client *http.Client, request *http.Request, out any) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // it was read to its end, or is of no use
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	switch {
	case err != nil:
		return fmt.Errorf("reading the answer of %s: %v", request.URL, err)
	case response.StatusCode >= 500:
		return fmt.Errorf("%s: %s: %s", request.URL, response.Status, bytes.TrimSpace(body))
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %w: %s: %s", request.URL, ErrRefused, response.Status, bytes.TrimSpace(body))
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s answers with no JSON: %v", request.URL, err)
	}
	return nil
}

// take reads a request's body; where it cannot, it has answered already.
func take(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

// answer writes v. Whoever asked may be gone: then asking again gives the same.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// refuse answers with the status that fits a book's error.
func refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if errors.Is(err, ErrConflict) {
		status = http.StatusConflict
	}
	http.Error(w, err.Error(), status)
}

// withBook are the routes that every service has.
func withBook(book *Book) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /book", func(w http.ResponseWriter, _ *http.Request) { answer(w, book.Summary()) })
	return mux
}

// serve answers requests until ctx ends; ready is called when it does.
func serve(ctx context.Context, log *slog.Logger, address string, routes http.Handler, ready func()) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: routes, ReadTimeout: answerWithin, WriteTimeout: 2 * answerWithin, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	log.Info("listening", "address", listener.Addr().String())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	ready()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
	defer cancel()
	return server.Shutdown(last)
}
