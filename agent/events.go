package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// events are the kernel's, as far as they concern us. Without them the loop still sees everything, later.
type events struct {
	c       <-chan struct{} // nil while there are none
	pending bool            // one has come and no turn was taken since
	looked  time.Time       // when the addresses of the host were looked up last
}

// open begins to watch unless it does already.
func (e *events) open(ctx context.Context, k Kernel, log *slog.Logger) {
	if e.c != nil {
		return
	}
	c, err := k.Watch(ctx)
	if err != nil {
		log.Debug("the kernel cannot be watched; it is looked at now and then", "error", err)
		return
	}
	e.c = c
}

func (e *events) note(open bool) {
	e.pending = true
	if !open {
		e.c = nil
	}
}

// observation is what the kernel had when it was looked at last.
type observation struct {
	state peers.State
	tried time.Time

	places map[peers.HostID]place // nil until somebody asks
	placed *planned               // the plan whose peers these are
}
