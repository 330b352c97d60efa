package peers

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

const (
	maxJitter = 10 * time.Minute
	// lateAfter is how long after its time a rotation without a window has been missed.
	lateAfter = 10 * time.Minute
	// horizon is how many days are looked at for the next occurrence of a window: a week, and what the ends
	// of the earth and of a window that goes on after midnight may add.
	horizon = 12
)

// Zones finds a time zone by its name. Which zones there are is nothing that peers knows.
type Zones func(name string) (*time.Location, error)

// A Slot is when the next rotation is due.
type Slot struct {
	At     time.Time // it begins then, or as soon after as it can
	Missed bool      // a slot before this one has passed without a rotation
}

// Due reports whether the rotation begins now.
func (s Slot) Due(now time.Time) bool { return !now.Before(s.At) }

// NextSlot is the slot of the next rotation, where the last one began at a time. It is a function of its
// arguments: whoever asks again, also after a restart or on another controller, gets the same slot, until
// it is missed. In a mesh of its own each slot is moved a little, so that meshes on the same machines do
// not all rotate at the same moment.
func (m *Mesh) NextSlot(last, now time.Time, zones Zones) (Slot, error) {
	s := m.Schedule
	if len(s.Windows) == 0 {
		due := last.Add(s.every())
		at := due.Add(m.jitter(due, min(s.every()/10, maxJitter)))
		return Slot{At: at, Missed: now.After(at.Add(lateAfter))}, nil
	}
	due, err := s.due(last, zones)
	if err != nil {
		return Slot{}, err
	}
	first, err := s.open(due, zones)
	if err != nil {
		return Slot{}, err
	}
	switch at := m.within(first, due); {
	case now.Before(first.end):
		return Slot{At: at}, nil
	case s.CatchUp:
		return Slot{At: at, Missed: true}, nil
	}
	next, err := s.open(now, zones)
	if err != nil {
		return Slot{}, err
	}
	return Slot{At: m.within(next, due), Missed: true}, nil
}

// due is the earliest time of the next rotation. Days are counted from the beginning of the window in which
// the last one was, and on the calendar of its zone: otherwise every rotation, which begins a little after
// its window, would move the next one, until one falls behind the window's end, and so would the clock
// change. But no two are closer to each other than half of what was asked for.
func (s *Schedule) due(last time.Time, zones Zones) (time.Time, error) {
	due := last.Add(s.every())
	if s.every()%day != 0 {
		return due, nil
	}
	for _, w := range s.Windows {
		zone, err := zones(w.zone)
		if err != nil {
			return time.Time{}, fmt.Errorf("window %v: %v", w, err)
		}
		o := w.open(last, zone)
		if last.Before(o.start) {
			continue
		}
		y, month, d := o.date.Date()
		early := wall(zone, y, month, d+int(s.every()/day), w.from, false)
		if soonest := last.Add(s.every() / 2); early.Before(soonest) {
			early = soonest
		}
		if early.Before(due) {
			due = early
		}
	}
	return due, nil
}

// within is the moment of an occurrence at which a rotation that is due begins.
func (m *Mesh) within(o occurrence, due time.Time) time.Time {
	at := o.start
	if at.Before(due) {
		at = due
	}
	return at.Add(m.jitter(o.start, min(o.end.Sub(at)/10, m.Schedule.every()/10, maxJitter)))
}

// keysUntil is when a rotation is overdue, whatever the windows are: they come again within a week. It is
// zero where there is no schedule.
func (m *Mesh) keysUntil() time.Time {
	s := m.Schedule
	if s == nil || len(m.Generations) == 0 {
		return time.Time{}
	}
	slack := s.every()/10 + lateAfter
	if len(s.Windows) > 0 {
		slack = 8 * day
	}
	return m.Generations[len(m.Generations)-1].Started.Add(s.every() + slack)
}

// jitter is less than most, and always the same for a mesh and a slot.
func (m *Mesh) jitter(slot time.Time, most time.Duration) time.Duration {
	seed := append([]byte("warren/slot/1\n"), m.ID...)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(seed, uint64(slot.Unix())))
	if most <= 0 {
		return 0
	}
	return time.Duration(binary.BigEndian.Uint64(sum[:]) % uint64(most)).Truncate(time.Millisecond)
}

// An occurrence is a window on one day.
type occurrence struct {
	start, end time.Time
	date       time.Time // the day, at midnight UTC
}

// open is the first occurrence of any window that ends after t.
func (s *Schedule) open(t time.Time, zones Zones) (first occurrence, err error) {
	for i, w := range s.Windows {
		zone, err := zones(w.zone)
		if err != nil {
			return first, fmt.Errorf("window %v: %v", w, err)
		}
		if o := w.open(t, zone); i == 0 || o.start.Before(first.start) {
			first = o
		}
	}
	return first, nil
}

// open is the first occurrence that ends after t.
func (w Window) open(t time.Time, zone *time.Location) occurrence {
	y, month, d := t.In(zone).Date()
	for n := d - 2; n < d+horizon; n++ {
		date := time.Date(y, month, n, 0, 0, 0, 0, time.UTC)
		if w.days&(1<<date.Weekday()) == 0 {
			continue
		}
		if o := w.on(date, zone); o.end.After(t) {
			return o
		}
	}
	return occurrence{} // cannot be: a week has all days
}

// on is the occurrence on a day. Where the clock is put forward over all of it, it is moved behind that and
// keeps its length: a week without a window would be a surprise.
func (w Window) on(date time.Time, zone *time.Location) occurrence {
	y, month, d := date.Date()
	o := occurrence{date: date, start: wall(zone, y, month, d, w.from, false)}
	if w.to <= w.from {
		d++
	}
	o.end = wall(zone, y, month, d, w.to, true)
	if !o.end.After(o.start) {
		o.end = o.start.Add(time.Duration(w.minutes()) * time.Minute)
	}
	return o
}

// wall is when the clocks of a zone show a time. A time that they show twice is the first or the second one;
// one that they skip is the moment at which they skip it. (time.Date leaves open which it gives.)
func wall(zone *time.Location, y int, month time.Month, d, minute int, second bool) time.Time {
	shown := time.Date(y, month, d, 0, minute, 0, 0, time.UTC)
	at := func(from time.Time) time.Time {
		_, offset := from.In(zone).Zone()
		return shown.Add(-time.Duration(offset) * time.Second)
	}
	early, late := at(shown.Add(-day-2*time.Hour)), at(shown.Add(day+2*time.Hour))
	if late.Before(early) {
		early, late = late, early
	}
	shows := func(t time.Time) bool {
		_, offset := t.In(zone).Zone()
		return t.Add(time.Duration(offset) * time.Second).Equal(shown)
	}
	switch {
	case second && shows(late):
		return late
	case shows(early):
		return early
	case shows(late):
		return late
	}
	if _, skip := early.In(zone).ZoneBounds(); !skip.IsZero() {
		return skip.UTC()
	}
	return early
}
