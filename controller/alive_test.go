package controller_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/warren-mesh/warren/controller"
	"github.com/warren-mesh/warren/controller/ledger"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// A hangingLedger has a disk that may hang.
type hangingLedger struct {
	*ledger.DB
	asked chan struct{} // told of each entry
	hangs chan struct{} // until this is closed
}

// Append waits for the disk.
func (l *hangingLedger) Append(ctx context.Context, e peers.Entry) error {
	l.asked <- struct{}{}
	<-l.hangs
	return l.DB.Append(ctx, e)
}

// TestAliveIsTheWritePath: a controller that waits for its disk, or whose loop does not run, is not alive.
func TestAliveIsTheWritePath(t *testing.T) {
	f := newDB(t)
	if _, err := open(t, f, controller.Settings{}); err != nil {
		t.Fatal(err)
	}
	l := &hangingLedger{DB: f, asked: make(chan struct{}, 1), hangs: make(chan struct{})}
	c, err := open(t, l, controller.Settings{Advertise: []string{"192.0.2.1:7443"}})
	if err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Alive(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("alive without its loop: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	if err := c.Alive(t.Context()); err != nil {
		t.Errorf("not alive: %v", err)
	}

	changed, alive := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := c.CreateToken(t.Context(), "admin:anna", wire.TokenOrder{Site: "shop"})
		changed <- err
	}()
	<-l.asked
	go func() { alive <- c.Alive(t.Context()) }()
	select {
	case err := <-alive:
		t.Fatalf("alive while the disk hangs: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(l.hangs)
	if err := errors.Join(<-changed, <-alive); err != nil {
		t.Errorf("after the disk came back: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
