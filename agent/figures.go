package agent

import (
	"context"
	"io"
	"time"

	"github.com/warren-mesh/warren/agent/meter"
)

// work counts the turns of the loop.
type work struct {
	turns uint64
	took  time.Duration
}

// counted notes a turn that began at a time.
func (w *work) counted(began time.Time) {
	w.turns++
	w.took += time.Since(began)
}

// WriteMetrics writes how this host is, in the text format of Prometheus.
func (a *Agent) WriteMetrics(ctx context.Context, w io.Writer) error {
	var f meter.Figures
	if err := a.do(ctx, func(ctx context.Context, l *loop) {
		l.refresh(ctx)
		f = l.figures()
	}); err != nil {
		return err
	}
	return meter.Write(w, &f, time.Now())
}

func (l *loop) figures() meter.Figures {
	f := meter.Figures{Status: l.agent.board.look().status, Turns: l.work.turns, Took: l.work.took}
	if l.plan != nil {
		f.Wanted = l.plan.want.Revision
		for _, in := range l.plan.want.Interfaces {
			f.Newest = max(f.Newest, in.Generation)
		}
	}
	if k, ok := l.Kernel.(interface{ Writes() uint64 }); ok {
		f.Messages = k.Writes()
	}
	return f
}
