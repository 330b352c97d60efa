package report_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/controller/report"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

func TestReportsAddUp(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	b := report.NewBook(map[peers.HostID]time.Time{"old": now})
	if got := b.Of("nobody"); !reflect.DeepEqual(got, report.Page{}) {
		t.Errorf("nobody has the page %+v", got)
	}
	if got := b.Of("old"); got.Seen != now {
		t.Errorf("last seen %v, want %v", got.Seen, now)
	}
	b.Hello("a", &wire.Hello{Version: "1.0", Backend: "kernel", Revision: 7}, now)
	b.Report("a", &wire.Report{
		Generation: 1, Problems: &[]peers.Problem{{Code: "x", Message: "y"}},
		Peers: []wire.PeerReport{
			{ID: "c", Generation: 1, State: wire.PeerConnecting},
			{ID: "b", Generation: 2, State: wire.PeerUp, Routed: true},
			{ID: "b", Generation: 1, State: wire.PeerDown},
			{ID: "d", Generation: 1, State: "sideways"},
			{ID: "d", Generation: 1 << 40, State: wire.PeerUp},
			{ID: peers.HostID(strings.Repeat("long", 30)), Generation: 1, State: wire.PeerUp},
		},
	}, now)
	b.Report("a", &wire.Report{Revision: 9, Backend: "userspace", Peers: []wire.PeerReport{
		{ID: "c", Generation: 1, State: wire.PeerUp},
	}}, now.Add(time.Second))
	want := report.Page{
		Seen: now.Add(time.Second), Version: "1.0", Backend: "userspace", Revision: 9, Generation: 1,
		Problems: []peers.Problem{{Code: "x", Message: "y"}},
	}
	wantPeers := []wire.PeerReport{
		{ID: "c", Generation: 1, State: wire.PeerUp},
		{ID: "b", Generation: 1, State: wire.PeerDown},
		{ID: "b", Generation: 2, State: wire.PeerUp, Routed: true},
	}
	if got := b.Peers("a"); !reflect.DeepEqual(got, wantPeers) {
		t.Errorf("got  %+v\nwant %+v", got, wantPeers)
	}
	if got := b.Of("a"); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	b.Accuse("a", peers.Problem{Code: "identity-in-use"})
	if got := b.Of("a").Problems; len(got) != 2 || got[1].Code != "identity-in-use" {
		t.Errorf("problems %+v", got)
	}
	// A hello begins anew: what the last run of the agent said counts no more.
	b.Hello("a", &wire.Hello{Version: "1.1"}, now)
	if got := b.Of("a"); len(got.Problems)+len(b.Peers("a")) != 0 || got.Version != "1.1" || got.Revision != 0 {
		t.Errorf("after another hello %+v", got)
	}
	b.Touch("a", now.Add(time.Hour))
	if seen := b.Seen(); len(seen) != 2 || seen["a"] != now.Add(time.Hour) {
		t.Errorf("seen %v", seen)
	}
	b.Forget("a")
	if got := b.Of("a"); !got.Seen.IsZero() || b.Peers("a") != nil {
		t.Errorf("a forgotten host has the page %+v", got)
	}
}

// TestHostileReports holds that a host cannot make the controller keep whatever it likes.
func TestHostileReports(t *testing.T) {
	b := report.NewBook(nil)
	now := time.Now()
	huge := strings.Repeat("é", 100_000) + "\x1b[2J\x00"
	problems := make([]peers.Problem, 1000)
	for i := range problems {
		problems[i] = peers.Problem{Code: huge, Message: "a\x1b[2J\nb", Hint: "\xff"}
	}
	b.Hello("a", &wire.Hello{Version: huge, Backend: huge}, now)
	b.Report("a", &wire.Report{Problems: &problems}, now)
	for i := range 30_000 {
		one := wire.PeerReport{ID: peers.HostID(fmt.Sprint(i)), Generation: 1, State: wire.PeerUp}
		b.Report("a", &wire.Report{Peers: []wire.PeerReport{one}}, now)
	}
	p := b.Of("a")
	if len(p.Version) > 2000 || len(p.Problems) > 100 || len(p.Problems[0].Code) > 2000 || len(b.Peers("a")) > 20_000 {
		t.Errorf("kept: version of %d bytes, %d problems with codes of %d bytes, %d peers",
			len(p.Version), len(p.Problems), len(p.Problems[0].Code), len(b.Peers("a")))
	}
	for _, text := range []string{p.Version, p.Problems[0].Message, p.Problems[0].Hint} {
		if strings.ContainsAny(text, "\x1b\x00\n\uFFFD") {
			t.Errorf("%.20q can write to a terminal", text)
		}
	}
}
