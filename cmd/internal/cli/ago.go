package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Ago says how long ago t was, in the largest unit that fits: "12s ago", "3m ago", "5h ago", "2d ago".
// The zero time is "never". A time ahead of now, which clocks of two machines can give, is "now".
func Ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := now.Sub(t)
	if d < time.Second {
		return "now"
	}
	return Span(d) + " ago"
}

// AgoOf is Ago of a time that may be missing.
func AgoOf(now time.Time, t *time.Time) string {
	if t == nil {
		return "never"
	}
	return Ago(now, *t)
}

// Until says how long it is to t: "in 60m"; what is past is as Ago says. A begun second counts, so that
// what was made to last an hour does not read 59m at once.
func Until(now, t time.Time) string {
	if d := t.Sub(now); d > 0 {
		return "in " + Span(d+time.Second)
	}
	return Ago(now, t)
}

// Span is a duration in the largest unit that fits.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/day)
}

// ParseSpan reads a duration with days: "90s", "36h", "7d", "1d12h".
func ParseSpan(s string) (time.Duration, error) {
	var days time.Duration
	if before, rest, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(before, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%.40q is no time", s)
		}
		if days = time.Duration(n) * 24 * time.Hour; rest == "" {
			return days, nil
		}
		s = rest
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%.40q is no time", s)
	}
	return days + d, nil
}

// Size is a number of bytes in three figures or so: "512 B", "1.4 kB", "23 MB".
func Size(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB", "PB"} {
		v /= 1000
		if v < 9.95 {
			return fmt.Sprintf("%.1f %s", v, unit)
		}
		if v < 999.5 {
			return fmt.Sprintf("%.0f %s", v, unit)
		}
	}
	return fmt.Sprintf("%.0f EB", v/1000)
}
