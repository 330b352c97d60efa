package cli_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers"
)

func TestAgoAndUntil(t *testing.T) {
	now := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
	for ahead, want := range map[time.Duration]string{
		0:                       "now",
		-999 * time.Millisecond: "now",
		-time.Second:            "1s ago",
		-119 * time.Second:      "119s ago",
		-2 * time.Minute:        "2m ago",
		-119 * time.Minute:      "119m ago",
		-2 * time.Hour:          "2h ago",
		-47 * time.Hour:         "47h ago",
		-48 * time.Hour:         "2d ago",
		-400 * 24 * time.Hour:   "400d ago",
		59 * time.Minute:        "in 59m",
		time.Hour - 1:           "in 60m",
	} {
		if got := cli.Until(now, now.Add(ahead)); got != want {
			t.Errorf("%v: got %q, want %q", ahead, got, want)
		}
	}
	if got := cli.Ago(now, now.Add(time.Hour)); got != "now" {
		t.Errorf("a clock that is ahead: got %q, want now", got)
	}
	if got := cli.AgoOf(now, nil); got != "never" {
		t.Errorf("no time: got %q, want never", got)
	}
	if got := cli.Ago(now, time.Time{}); got != "never" {
		t.Errorf("the zero time: got %q, want never", got)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 9950: "10 kB", 999_499: "999 kB", 999_500: "1.0 MB",
		1_400_000: "1.4 MB", 23_000_000_000: "23 GB", 18_000_000_000_000_000_000: "18 EB",
	} {
		if got := cli.Size(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain – ünï":         "plain – ünï",
		"\x1b[2Jboo":          "[2Jboo",
		"\x1b]0;title\aboo":   "]0;titleboo",
		"two\nlines\tand\r":   "two lines and",
		"left\u202eright\x9b": "leftright",
		"zero\u200bwidth":     "zerowidth",
		"not \xff UTF-8":      "not  UTF-8",
	} {
		if got := cli.Clean(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestPage(t *testing.T) {
	draw := func(colour bool) string {
		var b strings.Builder
		p := &cli.Page{W: &b, Colour: colour}
		p.Fields(cli.F("host", "%s", "shop"), cli.F("none", ""), cli.Field{Name: "state", Value: cli.Cell{Text: "ok", Tone: cli.Good}})
		p.Title("Peers", "1 up")
		p.Grid([]string{"HOST", "STATE"}, [][]any{{"warehouse", cli.Cell{Text: "up", Tone: cli.Good}}, {"tîll", ""}})
		p.Problems([]peers.Problem{{Code: "mtu", Message: "too\nlarge", Hint: "warren mesh set mtu=1380"}})
		return b.String()
	}
	plain := `host   shop
state  ok

Peers  1 up
HOST       STATE
warehouse  up
tîll       -
mtu  too large
  hint: warren mesh set mtu=1380
`
	if diff := cmp.Diff(plain, draw(false)); diff != "" {
		t.Error(diff)
	}
	coloured := draw(true)
	for _, want := range []string{"\x1b[32mok\x1b[0m", "\x1b[1mPeers\x1b[0m", "\x1b[31mmtu\x1b[0m"} {
		if !strings.Contains(coloured, want) {
			t.Errorf("%q is not in %q", want, coloured)
		}
	}
	bare := strings.NewReplacer("\x1b[32m", "", "\x1b[31m", "", "\x1b[2m", "", "\x1b[1m", "", "\x1b[0m", "").Replace(coloured)
	if diff := cmp.Diff(plain, bare); diff != "" {
		t.Errorf("colour moves text:\n%s", diff)
	}
}
