package peers_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // as in the controller

	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/peers"
)

func meshWith(s peers.Schedule) *peers.Mesh { return &peers.Mesh{ID: meshID, Schedule: &s} }

// zoneBook is time.LoadLocation, which reads each zone only once.
func zoneBook() peers.Zones {
	known := map[string]*time.Location{}
	return func(name string) (*time.Location, error) {
		if zone, ok := known[name]; ok {
			return zone, nil
		}
		zone, err := time.LoadLocation(name)
		if err == nil {
			known[name] = zone
		}
		return zone, err
	}
}

func utcOnly(string) (*time.Location, error) { return time.UTC, nil }

func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// scheduleOf makes a schedule of texts.
func scheduleOf(t interface{ Fatal(...any) }, every string, catchUp bool, windows ...string) peers.Schedule {
	d, err := peers.ParseSpan(every)
	if err != nil {
		t.Fatal(err)
	}
	s := peers.Schedule{Every: int64(d / time.Second), CatchUp: catchUp}
	for _, text := range windows {
		w, err := peers.ParseWindow(text)
		if err != nil {
			t.Fatal(err)
		}
		s.Windows = append(s.Windows, w)
	}
	return s
}

// TestNextSlot: each slot lies between two times, which are as far apart as it may be moved.
func TestNextSlot(t *testing.T) {
	berlin := "Sun 02:00-04:00 Europe/Berlin"
	for name, c := range map[string]struct {
		every, window, also string
		catchUp             bool
		last, now           string
		from, to            string
		missed              bool
	}{
		"at any time": {
			every: "10h", last: "2026-11-01T00:00:00Z", now: "2026-11-01T01:00:00Z",
			from: "2026-11-01T10:00:00Z", to: "2026-11-01T10:10:00Z",
		},
		"at any time, late": {
			every: "10h", last: "2026-11-01T00:00:00Z", now: "2026-11-05T01:00:00Z",
			from: "2026-11-01T10:00:00Z", to: "2026-11-01T10:10:00Z", missed: true,
		},
		"first window after 30 days": {
			every: "30d", window: berlin, last: "2026-10-14T12:00:00Z", now: "2026-10-15T00:00:00Z",
			from: "2026-11-15T01:00:00Z", to: "2026-11-15T01:10:00Z",
		},
		"every week, from window to window": {
			every: "7d", window: berlin, last: "2026-11-15T02:59:59Z", now: "2026-11-15T03:00:00Z",
			from: "2026-11-22T01:00:00Z", to: "2026-11-22T01:10:00Z",
		},
		"every week, clocks go back": {
			every: "7d", window: berlin, last: "2026-10-18T00:09:00Z", now: "2026-10-19T00:00:00Z",
			from: "2026-10-25T00:00:00Z", to: "2026-10-25T00:10:00Z",
		},
		"every week, clocks go forward": {
			every: "7d", window: berlin, last: "2026-03-22T01:09:00Z", now: "2026-03-23T00:00:00Z",
			from: "2026-03-29T01:00:00Z", to: "2026-03-29T01:06:00Z",
		},
		"window that the clocks skip": {
			every: "7d", window: "Sun 02:10-02:40 Europe/Berlin", last: "2026-03-22T01:12:00Z", now: "2026-03-23T00:00:00Z",
			from: "2026-03-29T01:00:00Z", to: "2026-03-29T01:03:00Z",
		},
		"window that the clocks repeat": {
			every: "7d", window: "Sun 02:10-02:40 Europe/Berlin", last: "2026-10-18T00:12:00Z", now: "2026-10-19T00:00:00Z",
			from: "2026-10-25T00:10:00Z", to: "2026-10-25T00:19:00Z",
		},
		"repeated window is open all the time": {
			every: "7d", window: "Sun 02:10-02:40 Europe/Berlin", last: "2026-10-18T00:12:00Z", now: "2026-10-25T01:39:00Z",
			from: "2026-10-25T00:10:00Z", to: "2026-10-25T00:19:00Z",
		},
		"repeated window is one": {
			every: "7d", window: "Sun 02:10-02:40 Europe/Berlin", last: "2026-10-25T00:12:00Z", now: "2026-10-25T01:10:00Z",
			from: "2026-11-01T01:10:00Z", to: "2026-11-01T01:13:00Z",
		},
		"across midnight, in the middle": {
			every: "30d", window: "Sat 22:00-02:00 UTC", last: "2026-09-01T00:00:00Z", now: "2026-11-15T01:00:00Z",
			from: "2026-11-14T22:00:00Z", to: "2026-11-14T22:10:00Z", missed: true,
		},
		"missed: the next window": {
			every: "30d", window: berlin, last: "2026-10-14T12:00:00Z", now: "2026-11-15T03:00:00Z",
			from: "2026-11-22T01:00:00Z", to: "2026-11-22T01:10:00Z", missed: true,
		},
		"missed: at once": {
			every: "30d", window: berlin, catchUp: true, last: "2026-10-14T12:00:00Z", now: "2026-11-15T03:00:00Z",
			from: "2026-11-15T01:00:00Z", to: "2026-11-15T01:10:00Z", missed: true,
		},
		"late, but within its window": {
			every: "30d", window: berlin, last: "2026-10-14T12:00:00Z", now: "2026-11-15T02:59:59Z",
			from: "2026-11-15T01:00:00Z", to: "2026-11-15T01:10:00Z",
		},
		"several windows: the first": {
			every: "1d", window: berlin, also: "Wed 12:00-13:00 UTC", last: "2026-11-15T01:00:00Z", now: "2026-11-15T02:00:00Z",
			from: "2026-11-18T12:00:00Z", to: "2026-11-18T12:06:00Z",
		},
		"several within one window": {
			every: "1h", window: "Sun 02:00-06:00 UTC", last: "2026-11-15T02:10:00Z", now: "2026-11-15T02:11:00Z",
			from: "2026-11-15T03:10:00Z", to: "2026-11-15T03:20:00Z",
		},
		"often within one window": {
			every: "25s", window: "00:00-24:00 UTC", last: "2026-11-15T10:00:00Z", now: "2026-11-15T10:00:01Z",
			from: "2026-11-15T10:00:25Z", to: "2026-11-15T10:00:28Z",
		},
		"not again so soon": {
			every: "1d", window: "00:00-24:00 UTC", last: "2026-11-15T23:59:00Z", now: "2026-11-15T23:59:30Z",
			from: "2026-11-16T11:59:00Z", to: "2026-11-16T12:09:00Z",
		},
		"a day that an island skipped": {
			every: "1d", window: "Fri 10:00-11:00 Pacific/Apia", last: "2011-12-29T00:00:00Z", now: "2011-12-29T00:00:00Z",
			from: "2011-12-30T10:00:00Z", to: "2011-12-30T10:06:00Z",
		},
	} {
		t.Run(name, func(t *testing.T) {
			windows := []string{}
			for _, w := range []string{c.window, c.also} {
				if w != "" {
					windows = append(windows, w)
				}
			}
			m := meshWith(scheduleOf(t, c.every, c.catchUp, windows...))
			slot, err := m.NextSlot(at(t, c.last), at(t, c.now), time.LoadLocation)
			if err != nil {
				t.Fatal(err)
			}
			if slot.At.Before(at(t, c.from)) || !slot.At.Before(at(t, c.to)) || slot.Missed != c.missed {
				t.Errorf("%v, missed %v; want from %s to %s, %v", slot.At.UTC(), slot.Missed, c.from, c.to, c.missed)
			}
		})
	}
	m := meshWith(scheduleOf(t, "1d", false, "Sun 02:00-04:00 Middle/Earth"))
	if _, err := m.NextSlot(epoch, epoch, time.LoadLocation); err == nil {
		t.Error("a zone that there is not gives a slot")
	}
	failing := func(string) (*time.Location, error) { return nil, errors.New("no zones") }
	if _, err := m.NextSlot(epoch, epoch, failing); err == nil {
		t.Error("without zones there is a slot")
	}
}

// TestJitter: meshes do not all begin at the same moment, and each always at the same.
func TestJitter(t *testing.T) {
	s := scheduleOf(t, "7d", false, "Sun 02:00-04:00 UTC")
	seen := map[time.Time]bool{}
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		m := peers.Mesh{ID: id, Schedule: &s}
		for range 2 {
			slot, err := m.NextSlot(epoch, epoch, utcOnly)
			if err != nil {
				t.Fatal(err)
			}
			seen[slot.At] = true
		}
	}
	if len(seen) != 8 {
		t.Errorf("8 meshes begin at %d moments", len(seen))
	}
}

func drawSchedule(t *rapid.T) peers.Schedule {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca"}
	days := []string{"", "Sun ", "Mon-Fri ", "Sat,Wed "}
	spans := []string{"30d", "7d", "1d", "36h", "2h", "90d"}
	var windows []string
	for range rapid.IntRange(1, 3).Draw(t, "windows") {
		from := rapid.IntRange(0, 1439).Draw(t, "from")
		to := (from + rapid.IntRange(5, 1439).Draw(t, "length")) % 1440
		windows = append(windows, rapid.SampledFrom(days).Draw(t, "days")+
			time.Unix(int64(from)*60, 0).UTC().Format("15:04-")+time.Unix(int64(to)*60, 0).UTC().Format("15:04 ")+
			rapid.SampledFrom(zones).Draw(t, "zone"))
	}
	return scheduleOf(t, rapid.SampledFrom(spans).Draw(t, "every"), rapid.Bool().Draw(t, "catch up"), windows...)
}

// TestSlotProperties drives a schedule for some years, with a controller that is away now and then: every
// rotation begins within a window (or catches up), none is sooner than half of what was asked for, none is
// later than the first window after what was asked for while the controller is there, and two who look at
// the same time see the same.
func TestSlotProperties(t *testing.T) {
	zones := zoneBook()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchedule(t)
		m := meshWith(s)
		every := time.Duration(s.Every) * time.Second
		last := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 400*86400).Draw(t, "last")) * time.Second)
		now := last
		for range 12 {
			slot, err := m.NextSlot(last, now, zones)
			if err != nil {
				t.Fatal(err)
			}
			if again, _ := m.NextSlot(last, now, zones); again != slot {
				t.Fatalf("%v and %v for the same", slot, again)
			}
			away := time.Duration(0)
			if rapid.IntRange(0, 3).Draw(t, "away") == 0 {
				away = time.Duration(rapid.IntRange(1, 40*86400).Draw(t, "seconds")) * time.Second
			}
			if at := now.Add(away); at.After(slot.At) {
				if slot, err = m.NextSlot(last, at, zones); err != nil {
					t.Fatal(err)
				}
				now = at
			}
			if slot.At.After(now) {
				now = slot.At
			}
			if early, _ := m.NextSlot(last, now.Add(-time.Second), zones); now.Equal(slot.At) && early.Due(now.Add(-time.Second)) {
				t.Fatalf("due a second before %v", slot.At)
			}
			if gap := now.Sub(last); gap < every/2 {
				t.Fatalf("%v after %v, every %v", now, last, every)
			}
			if gap := slot.At.Sub(last); away == 0 && gap > every+8*24*time.Hour+2*time.Hour {
				t.Fatalf("%v only after %v", slot.At, gap)
			}
			if !slot.Missed && !insideOf(t, &s, zones, now) {
				t.Fatalf("%v is in no window of %v", now, &s)
			}
			last = now
		}
	})
}

// insideOf looks whether a time lies in a window in the plain way: at the clock on the wall, and at the text
// of the window. Where that clock was changed within a day it does not know.
func insideOf(t *rapid.T, s *peers.Schedule, zones peers.Zones, now time.Time) bool {
	for _, w := range s.Windows {
		zone, err := zones(w.Zone())
		if err != nil {
			t.Fatal(err)
		}
		here := now.In(zone)
		if offsetAt(here) != offsetAt(here.Add(-26*time.Hour)) {
			return true
		}
		text, days := w.String(), "Mon,Tue,Wed,Thu,Fri,Sat,Sun"
		if text[0] > '9' {
			days, text, _ = strings.Cut(text, " ")
		}
		from, to, shown := text[:5], text[6:11], here.Format("15:04")
		today := strings.Contains(days, here.Format("Mon"))
		yesterday := strings.Contains(days, here.AddDate(0, 0, -1).Format("Mon"))
		across := to <= from
		switch {
		case !across && today && from <= shown && shown < to,
			across && today && from <= shown,
			across && yesterday && shown < to:
			return true
		}
	}
	return false
}

func offsetAt(t time.Time) int {
	_, offset := t.Zone()
	return offset
}
