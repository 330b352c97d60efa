package peers_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/warren-mesh/warren/peers"
)

func TestSpan(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"30d": 30 * 24 * time.Hour, "1d12h": 36 * time.Hour, "2w": 14 * 24 * time.Hour, "90m": 90 * time.Minute, "15s": 15 * time.Second,
	} {
		if got, err := peers.ParseSpan(in); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "30", "d", "-1d", "1.5h", "1d 2h", "99999999999d", "999999999w999999999w", "1y", "３d"} {
		if got, err := peers.ParseSpan(in); err == nil {
			t.Errorf("%q is %v", in, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, 1e9).Draw(t, "seconds")) * time.Second
		if got, err := peers.ParseSpan(peers.FormatSpan(d)); err != nil || got != d {
			t.Fatalf("%v is written %s and read as %v, %v", d, peers.FormatSpan(d), got, err)
		}
	})
}

func TestWindowText(t *testing.T) {
	for in, want := range map[string]string{
		"Sun 02:00-04:00 Europe/Berlin":           "Sun 02:00-04:00 Europe/Berlin",
		"sunday 02:00-04:00 Europe/Berlin":        "Sun 02:00-04:00 Europe/Berlin",
		"22:00-02:00":                             "22:00-02:00 UTC",
		"Mon-Sun 00:00-24:00 UTC":                 "00:00-24:00 UTC",
		"sat,mon-wed 23:30-00:00":                 "Mon,Tue,Wed,Sat 23:30-00:00 UTC",
		"Fri-Mon 01:00-01:05 Etc/GMT+5":           "Mon,Fri,Sat,Sun 01:00-01:05 Etc/GMT+5",
		"  Sun   02:00-04:00   America/New_York ": "Sun 02:00-04:00 America/New_York",
	} {
		w, err := peers.ParseWindow(in)
		if err != nil || w.String() != want {
			t.Errorf("%q is %q, %v; want %q", in, w, err, want)
		}
	}
	for in, part := range map[string]string{
		"":                              "want days, times and a zone",
		"Sun":                           "want days, times and a zone",
		"Sun 02:00 04:00 UTC":           "want days, times and a zone",
		"Son 02:00-04:00":               `"Son" is no day`,
		"Sun, 02:00-04:00":              "is no day",
		"Sun 2:00-04:00":                "is no time of the day",
		"Sun 02:00-25:00":               "is no time of the day",
		"Sun 02:00-24:30":               "beyond the day",
		"Sun 24:00-02:00":               "beyond the day",
		"Sun 02:00-02:00":               "begins when it ends",
		"Sun 02:00-02:04":               "4 minutes",
		"Sun 02:00-04:00 Europe/../etc": "no name of a time zone",
		"Sun 02:00-04:00 " + strings.Repeat("a", 70): "no name of a time zone",
	} {
		if w, err := peers.ParseWindow(in); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is %v, %v; want %q", in, w, err, part)
		}
	}
}

func TestSetSchedule(t *testing.T) {
	inv := threeSites(t)
	every := func(d time.Duration, windows ...string) *peers.Schedule {
		s := &peers.Schedule{Every: int64(d / time.Second)}
		for _, text := range windows {
			w, err := peers.ParseWindow(text)
			if err != nil {
				t.Fatal(err)
			}
			s.Windows = append(s.Windows, w)
		}
		return s
	}
	month := every(30*24*time.Hour, "Sun 02:00-04:00 Europe/Berlin")
	set, entry, err := inv.Record(peers.Change{At: epoch, By: "admin:anna", Op: peers.SetSchedule{Schedule: month}})
	if err != nil {
		t.Fatal(err)
	}
	if want := "keys are rotated every 30d, Sun 02:00-04:00 Europe/Berlin"; entry.Tell() != want {
		t.Errorf("told as %q, want %q", entry.Tell(), want)
	}
	raw, err := json.Marshal(entry)
	if err != nil {
		t.Fatal(err)
	}
	read, err := peers.DecodeEntry(raw)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := inv.Replay(read); err != nil || again.Mesh.Schedule.String() != month.String() {
		t.Errorf("replayed: %v, %v", again, err)
	}
	many := every(time.Hour)
	for range 17 {
		many.Windows = append(many.Windows, month.Windows[0])
	}
	for code, op := range map[string]peers.SetSchedule{
		"schedule-every":   {Schedule: every(9 * time.Second)},
		"schedule-windows": {Schedule: many},
		"schedule-window":  {Schedule: &peers.Schedule{Every: 3600, Windows: make([]peers.Window, 1)}},
		"schedule-same":    {Schedule: every(30*24*time.Hour, "sunday 02:00-04:00 Europe/Berlin")},
	} {
		_, err := set.Apply(peers.Change{At: epoch, By: "admin:anna", Op: op})
		if problems, ok := err.(peers.Problems); !ok || !problems.Has(code) {
			t.Errorf("%+v: %v, want %s", op, err, code)
		}
	}
	if off, err := set.Apply(peers.Change{At: epoch, By: "admin:anna", Op: peers.SetSchedule{}}); err != nil || off.Mesh.Schedule != nil {
		t.Errorf("taken away: %v", err)
	}
}

// FuzzWindow: what is read is written so that it is read as the same, and every window comes again.
func FuzzWindow(f *testing.F) {
	f.Add("Sun 02:00-04:00 Europe/Berlin")
	f.Add("Mon-Wed,Sat 22:15-02:00")
	f.Fuzz(func(t *testing.T, s string) {
		w, err := peers.ParseWindow(s)
		if err != nil {
			return
		}
		again, err := peers.ParseWindow(w.String())
		if err != nil || again != w {
			t.Fatalf("%q is %v, which is read as %v, %v", s, w, again, err)
		}
		m := meshWith(peers.Schedule{Every: 86400, Windows: []peers.Window{w}})
		slot, err := m.NextSlot(epoch, epoch, utcOnly)
		if err != nil || slot.At.Before(epoch) || slot.At.After(epoch.Add(9*24*time.Hour)) {
			t.Fatalf("%v: next slot %v, %v", w, slot, err)
		}
	})
}

// FuzzSpan: what is read is written so that it is read as the same.
func FuzzSpan(f *testing.F) {
	f.Add("30d")
	f.Add("1w2d3h4m5s")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := peers.ParseSpan(s)
		if err != nil {
			return
		}
		if again, err := peers.ParseSpan(peers.FormatSpan(d)); err != nil || again != d || d < 0 {
			t.Fatalf("%q is %v, read again %v, %v", s, d, again, err)
		}
	})
}
