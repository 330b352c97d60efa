package peers

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a schedule.
const (
	minEvery   = 10 * time.Second // a rotation of a small mesh takes less
	maxEvery   = 3650 * day
	maxWindows = 16
	day        = 24 * time.Hour
)

// A Schedule says how often, and when, all keys of the mesh are to be replaced.
type Schedule struct {
	Every   int64    `json:"every"             doc:"seconds from one rotation to the next; whole days are days of the calendar"`
	Windows []Window `json:"windows,omitempty" doc:"when a rotation may begin; at any time where there is none"`
	CatchUp bool     `json:"catch_up,omitempty" doc:"what was missed is not left to the next window"`
}

// every is the time from one rotation to the next.
func (s *Schedule) every() time.Duration { return time.Duration(s.Every) * time.Second }

// String is the schedule as the flags of warren rotate schedule put it.
func (s *Schedule) String() string {
	words := []string{"every " + FormatSpan(s.every())}
	for _, w := range s.Windows {
		words = append(words, w.String())
	}
	if s.CatchUp {
		words = append(words, "catching up")
	}
	return strings.Join(words, ", ")
}

func (s *Schedule) equal(o *Schedule) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.Every == o.Every && s.CatchUp == o.CatchUp && slices.Equal(s.Windows, o.Windows)
}

// SetSchedule replaces the schedule of rotations; none takes it away.
type SetSchedule struct {
	Schedule *Schedule `json:"schedule"`
}

// Kind is "schedule.set".
func (SetSchedule) Kind() string { return "schedule.set" }

// Whoever makes this change knows the zones of all windows: here there is no list of them.
func (op SetSchedule) apply(d *draft) {
	m := d.next.Mesh
	if op.Schedule.equal(m.Schedule) {
		d.refuse("schedule-same", "mesh/schedule", "warren rotate schedule", "the schedule is that already")
		return
	}
	m.Schedule = op.Schedule
	if s := op.Schedule; s != nil {
		if s.Every < int64(minEvery/time.Second) || s.Every > int64(maxEvery/time.Second) {
			d.refuse("schedule-every", "mesh/schedule/every", "for instance: --every 30d",
				"%d s between rotations: want %s to %s", s.Every, FormatSpan(minEvery), FormatSpan(maxEvery))
		}
		if len(s.Windows) > maxWindows {
			d.refuse("schedule-windows", "mesh/schedule/windows", "", "%d windows: %d at most", len(s.Windows), maxWindows)
		}
		for i, w := range s.Windows {
			if err := w.check(); err != nil {
				d.refuse("schedule-window", fmt.Sprintf("mesh/schedule/windows/%d", i), windowExample, "%v", err)
			}
		}
	}
	d.putMesh(m)
}

func (op SetSchedule) tell() string {
	if op.Schedule == nil {
		return "the schedule of rotations is taken away"
	}
	return "keys are rotated " + op.Schedule.String()
}

// ErrSpan is returned by ParseSpan.
var ErrSpan = errors.New("want a number with w, d, h, m or s behind it, such as 30d or 1d12h")

var (
	span     = regexp.MustCompile(`^(\d{1,9}[wdhms])+$`)
	spanPart = regexp.MustCompile(`\d+[wdhms]`)
)

// ParseSpan reads a duration in weeks, days, hours, minutes and seconds: "30d", "1d12h".
func ParseSpan(s string) (time.Duration, error) {
	if !span.MatchString(s) {
		return 0, ErrSpan
	}
	var sum time.Duration
	for _, part := range spanPart.FindAllString(s, -1) {
		n, err := strconv.ParseInt(part[:len(part)-1], 10, 64)
		if err != nil {
			return 0, ErrSpan
		}
		unit := spanUnits()[strings.IndexByte("wdhms", part[len(part)-1])]
		if n > int64((1<<63-1-sum)/unit) {
			return 0, ErrSpan
		}
		sum += time.Duration(n) * unit
	}
	return sum, nil
}

func spanUnits() []time.Duration {
	return []time.Duration{7 * day, day, time.Hour, time.Minute, time.Second}
}

// FormatSpan writes what ParseSpan reads, in whole seconds and without weeks.
func FormatSpan(d time.Duration) string {
	var b strings.Builder
	for i, unit := range spanUnits()[1:] {
		if n := int64(d / unit); n > 0 {
			fmt.Fprintf(&b, "%d%c", n, "dhms"[i])
			d %= unit
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}
