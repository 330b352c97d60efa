package store

import "time"

// Clock reads how late it was when PutClock was called last; errors as for Identity.
func (s *Store) Clock() (time.Time, error) { return readJSON[time.Time](s, fileClock, "clock") }

// PutClock keeps how late it is.
func (s *Store) PutClock(t time.Time) error { return s.writeJSON(fileClock, "clock", t.UTC().Round(0)) }
