package peers

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	minWindow     = 5 // minutes: less could be over before anybody looks
	dayMinutes    = 24 * 60
	maxZone       = 64
	windowExample = `for instance: --window "Sun 02:00-04:00 Europe/Berlin"`
)

// A Window is a span of time that comes again every week: on some days, from one time of the clock to
// another, in a zone. Where the second time is not later than the first, it is that of the following day.
type Window struct {
	days     byte // bit 0 is Sunday, as with time.Weekday
	from, to int  // minutes since midnight; to may be 24:00
	zone     string
}

const everyDay = 1<<7 - 1

// zoneName is the form of the names in the IANA time zone database.
var zoneName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$`)

// ParseWindow reads "Sun 02:00-04:00 Europe/Berlin". Days may be a list and ranges ("Mon-Thu,Sat") or be
// left out for every day, the zone may be left out for UTC.
func ParseWindow(s string) (Window, error) {
	w := Window{days: everyDay, zone: "UTC"}
	words := strings.Fields(s)
	if len(words) > 0 && !strings.Contains(words[0], ":") {
		var err error
		if w.days, err = parseDays(words[0]); err != nil {
			return Window{}, fmt.Errorf("window %.80q: %v", s, err)
		}
		words = words[1:]
	}
	if len(words) == 2 {
		w.zone = words[1]
	}
	if len(words) == 0 || len(words) > 2 {
		return Window{}, fmt.Errorf("window %.80q: want days, times and a zone", s)
	}
	from, to, ok := strings.Cut(words[0], "-")
	if !ok {
		return Window{}, fmt.Errorf("window %.80q: %q are no two times", s, words[0])
	}
	var err1, err2 error
	w.from, err1 = parseClock(from)
	w.to, err2 = parseClock(to)
	if err := errors.Join(err1, err2, w.check()); err != nil {
		return Window{}, fmt.Errorf("window %.80q: %s", s, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return w, nil
}

func parseDays(s string) (days byte, err error) {
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, ok1 := parseDay(first)
		to, ok2 := parseDay(last)
		if !ok1 || !ok2 {
			return 0, fmt.Errorf("%q is no day: want Mon, Tue, Wed, Thu, Fri, Sat or Sun", part)
		}
		for d := from; ; d = (d + 1) % 7 {
			days |= 1 << d
			if d == to {
				break
			}
		}
	}
	return days, nil
}

func parseDay(s string) (time.Weekday, bool) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(s, d.String()[:3]) || strings.EqualFold(s, d.String()) {
			return d, true
		}
	}
	return 0, false
}

// clock is a time of the day.
var clock = regexp.MustCompile(`^([01][0-9]|2[0-4]):([0-5][0-9])$`)

func parseClock(s string) (int, error) {
	m := clock.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%.20q is no time of the day: want HH:MM", s)
	}
	h, _ := strconv.Atoi(m[1])
	minute, _ := strconv.Atoi(m[2])
	return h*60 + minute, nil
}

// check says why there is no such window.
func (w Window) check() error {
	switch {
	case w.days == 0 || w.days > everyDay:
		return errors.New("it is on no day")
	case w.from < 0 || w.from >= dayMinutes || w.to < 0 || w.to > dayMinutes:
		return errors.New("its times are beyond the day")
	case w.from == w.to:
		return errors.New("it begins when it ends: for a whole day write 00:00-24:00")
	case w.minutes() < minWindow:
		return fmt.Errorf("it has %d minutes, %d are needed", w.minutes(), minWindow)
	case len(w.zone) > maxZone || !zoneName.MatchString(w.zone):
		return fmt.Errorf("%.40q is no name of a time zone", w.zone)
	}
	return nil
}

// minutes is how long the window is where no clock is changed.
func (w Window) minutes() int {
	if w.to > w.from {
		return w.to - w.from
	}
	return w.to + dayMinutes - w.from
}

// Zone is the name of the time zone, as in the IANA database.
func (w Window) Zone() string { return w.zone }

// String is the window as ParseWindow reads it, with every day by its name.
func (w Window) String() string {
	s := fmt.Sprintf("%02d:%02d-%02d:%02d %s", w.from/60, w.from%60, w.to/60, w.to%60, w.zone)
	if w.days == everyDay {
		return s
	}
	var names []string
	for i := range 7 { // the week begins on Monday
		if d := time.Weekday((i + 1) % 7); w.days&(1<<d) != 0 {
			names = append(names, d.String()[:3])
		}
	}
	return strings.Join(names, ",") + " " + s
}

// MarshalText is String.
func (w Window) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText is ParseWindow.
func (w *Window) UnmarshalText(text []byte) (err error) {
	*w, err = ParseWindow(string(text))
	return err
}
