package daemon

import (
	"context"
	"log/slog"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// beatsPerInterval are more than one, so that a late beat is not a missing one.
const beatsPerInterval = 3

// Watchdog tells systemd that the service makes progress, as often as its unit asks for it, until ctx ends.
// alive returns when what the service is for has come round once more: a service that is stuck in a system
// call, or waits for a lock for ever, says nothing, and systemd starts another one in its place. Without
// WatchdogSec= it does nothing.
func Watchdog(ctx context.Context, log *slog.Logger, alive func(context.Context) error) {
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog of systemd cannot be served", "error", err)
	}
	if interval <= 0 {
		return
	}
	beat(ctx, interval/beatsPerInterval, alive, func() { notify(log, sd.SdNotifyWatchdog) })
}

// beat tells each time that alive has returned.
func beat(ctx context.Context, every time.Duration, alive func(context.Context) error, tell func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if alive(ctx) == nil {
			tell()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
