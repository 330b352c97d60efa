package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"golang.zx2c4.com/wireguard/device"
)

// A tunnel whose network is away reports that for each peer every five seconds, for as long as it takes.
const (
	logBurst   = 20
	logEvery   = 30 * time.Second
	logMaximum = 1 << 20 // bytes of a log file before it starts over
)

// logger passes on what wireguard-go says: errors, not too many, and the rest at debug level.
func logger(log *slog.Logger) *device.Logger {
	limit := rate.NewLimiter(rate.Every(logEvery), logBurst)
	var left atomic.Int64
	out := &device.Logger{
		Verbosef: device.DiscardLogf,
		Errorf: func(format string, args ...any) {
			if !limit.Allow() {
				left.Add(1)
				return
			}
			log.Error("wireguard", "says", fmt.Sprintf(format, args...), "left_out", left.Swap(0))
		},
	}
	if log.Enabled(context.Background(), slog.LevelDebug) {
		out.Verbosef = func(format string, args ...any) { log.Debug("wireguard", "says", fmt.Sprintf(format, args...)) }
	}
	return out
}

// shorten empties a log file that has grown too long. The file is open for appending, so the next line
// begins it anew.
func shorten(file *os.File) {
	at, err := file.Stat()
	if err != nil || !at.Mode().IsRegular() || at.Size() < logMaximum {
		return
	}
	// A file that cannot be emptied is no reason to stop forwarding.
	_ = file.Truncate(0)
}
