package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// rotating are the views of a rotation from its begin to its end.
func rotating(offline bool) []wire.RotationView {
	now, previous, grace := time.Now(), peers.Generation(3), time.Now().Add(7*24*time.Hour)
	view := func(phase peers.Phase, proven, switched, retired int, waits ...wire.RotationWait) wire.RotationView {
		return wire.RotationView{
			Generation: 4, Previous: &previous, Phase: phase, Started: now, GraceEnds: &grace, Waiting: waits,
			Pairs: wire.RotationPairs{Total: 3, Proven: proven, Switched: switched, Retired: retired},
		}
	}
	key := wire.RotationWait{Host: "shop", Reason: "it has not announced its key", Code: peers.WaitKey}
	views := []wire.RotationView{view("announce", 0, 0, 0, key), view("prove", 1, 0, 0), view("switch", 3, 2, 0), view("retire", 3, 3, 1)}
	if offline {
		away := wire.RotationWait{Host: "till", Reason: "it is not connected to the controller", Code: peers.WaitOffline, Since: now}
		return append(views[:2], view("prove", 1, 1, 1, away))
	}
	return append(views, wire.RotationView{
		Generation: 4, Phase: peers.PhaseIdle, Started: now,
		Last: &wire.RotationEnd{Generation: 4, Took: 5.25, Keys: 3, Behind: []string{}},
	})
}

// rotations is where a controller listens that shows one view of a rotation after the other, and the last for ever.
func rotations(t *testing.T, views []wire.RotationView) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "c")
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	mux, shown := http.NewServeMux(), 0
	show := func(w http.ResponseWriter, _ *http.Request) {
		answer(w, views[min(shown, len(views)-1)])
		shown++
	}
	mux.HandleFunc("POST "+wire.PathRotation, show)
	mux.HandleFunc("GET "+wire.PathRotation, show)
	mux.HandleFunc("POST "+wire.PathRotationAbort, show)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return path
}

// rotate runs warren rotate against such a controller.
func rotate(t *testing.T, views []wire.RotationView, interrupt string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, errs := &trigger{}, &trigger{text: interrupt, call: cancel}
	code = run(ctx, hurried(out, errs, append([]string{"--controller", rotations(t, views), "rotate"}, args...)...))
	return code, out.String(), errs.String()
}

// hurried is a process for which what takes seconds does not.
func hurried(out, errs io.Writer, args ...string) *cli.Process {
	began := time.Now()
	return &cli.Process{
		Args: args, Stdin: strings.NewReader(""), Stdout: out, Stderr: errs, Env: func(string) string { return "" },
		Now: func() time.Time { return began.Add(20 * time.Since(began)) },
	}
}

func TestRotateWait(t *testing.T) {
	code, out, diag := rotate(t, rotating(false), "", "--wait")
	if code != 0 || out != "All traffic is on generation 4, after 5.3s: 3 hosts have new keys, the old ones are gone, "+
		"and no pair of hosts lost its tunnel.\n" {
		t.Errorf("exit code %d, %q", code, out)
	}
	want := []string{
		"announce: hosts make their keys  0 of 3 pairs proven, 0 switched, 0 retired; waiting for shop (it has not announced its key)",
		"prove: pairs shake hands  1 of 3 pairs proven, 0 switched, 0 retired",
		"switch: traffic moves  3 of 3 pairs proven, 2 switched, 0 retired",
		"retire: what is under way arrives  3 of 3 pairs proven, 3 switched, 1 retired",
	}
	if got := strings.TrimSpace(diag); got != strings.Join(want, "\n") {
		t.Errorf("told\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if code, out, _ = rotate(t, rotating(false), "", "--wait", "-o", "json"); code != 0 || !strings.Contains(out, `"took": 5.25`) ||
		!strings.Contains(out, `"cut": 0`) {
		t.Errorf("exit code %d, %s", code, out)
	}
	without := rotating(false)
	last := without[len(without)-1].Last
	last.Cut, last.Keys, last.Behind = 2, 2, []string{"till"}
	if code, out, _ = rotate(t, without, "", "--wait"); code != 0 || !strings.Contains(out, "have no tunnel: 2") ||
		!strings.Contains(out, "Left behind, until they announce a key: till") {
		t.Errorf("exit code %d, %s", code, out)
	}
}

// TestRotateWaitOnTerminal: there it is one line that is written again and again, no longer than there is room for, and gone
// in the end.
func TestRotateWaitOnTerminal(t *testing.T) {
	master, slave, err := openTerminal()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	shown := make(chan string, 1)
	go func() {
		raw, _ := io.ReadAll(master) // it ends with an error
		shown <- string(raw)
	}()
	out := &trigger{}
	code := run(t.Context(), hurried(out, slave, "--controller", rotations(t, rotating(false)), "rotate", "--wait"))
	if err := slave.Close(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(<-shown, clearLine)
	if code != 0 || len(lines) != 6 || lines[0] != "" || lines[5] != "" || !strings.HasPrefix(out.String(), "All traffic is on generation 4") {
		t.Fatalf("exit code %d, %q, then %q", code, lines, out.String())
	}
	for i, begin := range []string{"announce: hosts make their keys  0 of 3", "prove: ", "switch: ", "retire: what is under way arrives  3 of 3"} {
		line := lines[i+1]
		if !strings.HasPrefix(line, begin) || strings.Contains(line, "\n") || utf8.RuneCountInString(line) >= 100 {
			t.Errorf("line %d is %q", i, line)
		}
	}
	if !strings.HasSuffix(lines[1], "…") {
		t.Errorf("what is too long is not cut: %q", lines[1])
	}
}

// TestRotateWaitOffline: nobody waits for a week because a host is off.
func TestRotateWaitOffline(t *testing.T) {
	code, out, _ := rotate(t, rotating(true), "", "--wait")
	if code != cli.ExitDegraded || !strings.Contains(out, "till  ") || !strings.Contains(out, "it is not connected to the controller") {
		t.Errorf("exit code %d, %s", code, out)
	}
}

// TestRotateWaitInterrupted: the rotation goes on, and that is said.
func TestRotateWaitInterrupted(t *testing.T) {
	views := rotating(false)[:2]
	code, out, diag := rotate(t, views, "prove: pairs", "--wait")
	if code != cli.ExitFailed || out != "" || !strings.Contains(diag, "the rotation goes on") || !strings.Contains(diag, "warren rotate status") {
		t.Errorf("exit code %d, %q, %s", code, out, diag)
	}
}

// TestRotateNow: an emergency has a reason, and says who keeps the old keys for now.
func TestRotateNow(t *testing.T) {
	if code, _, diag := rotate(t, rotating(true), "", "--now"); code != cli.ExitUsage || !strings.Contains(diag, "--reason") {
		t.Errorf("exit code %d, %s", code, diag)
	}
	code, _, diag := rotate(t, rotating(true)[2:], "", "--now", "--reason", "stolen")
	if code != 0 || !strings.Contains(diag, "on the old keys until they are back: till") || !strings.Contains(diag, "warren host revoke") ||
		!strings.Contains(diag, "warren mesh set grace=") {
		t.Errorf("exit code %d, %s", code, diag)
	}
	for _, grace := range []string{"soon", "0s", "-5m"} {
		if code, _, diag := rotate(t, rotating(true), "", "--grace", grace); code != cli.ExitUsage || !strings.Contains(diag, "--grace") {
			t.Errorf("--grace %s: exit code %d, %s", grace, code, diag)
		}
	}
	if code, _, diag = rotate(t, rotating(false)[1:2], "", "--now", "--reason", "stolen"); code != 0 || !strings.Contains(diag, "All hosts are online") {
		t.Errorf("exit code %d, %s", code, diag)
	}
}

// TestRotateAbort: it says how it went, and its exit code does.
func TestRotateAbort(t *testing.T) {
	held, on := rotating(false)[1], rotating(false)[1]
	held.Held = true
	held.Waiting = []wire.RotationWait{{Host: "till", Code: peers.WaitOffline, Reason: "it is not connected to the controller"}}
	gone := wire.RotationView{Generation: 3, Phase: peers.PhaseIdle}
	for _, c := range []struct {
		name  string
		views []wire.RotationView
		args  []string
		code  int
		out   string
		diag  string
	}{
		{"given up", []wire.RotationView{held, gone}, nil, 0, "given up: all hosts keep the keys of generation 3", "the word of till"},
		{"it goes on", []wire.RotationView{held, on}, nil, cli.ExitFailed, "the rotation goes on", "the word of till"},
		{"nobody answers", []wire.RotationView{held}, []string{"--timeout", "2s"}, cli.ExitDegraded, "no more traffic moves", "till"},
		{"dry run", []wire.RotationView{on}, []string{"--dry-run"}, 0, "generation 4 can be given up. Nothing was changed", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, diag := rotate(t, c.views, "", append([]string{"abort"}, c.args...)...)
			if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(diag, c.diag) {
				t.Errorf("exit code %d, %q, %s", code, out, diag)
			}
		})
	}
	if code, out, _ := rotate(t, []wire.RotationView{held}, "", "abort", "--timeout", "1s", "-o", "json"); code != cli.ExitDegraded ||
		!strings.Contains(out, `"held": true`) {
		t.Errorf("as JSON: exit code %d, %s", code, out)
	}
	// Who waits for the rotation hears that there will be none.
	if code, out, _ := rotate(t, []wire.RotationView{on, gone}, "", "--wait"); code != cli.ExitFailed || !strings.Contains(out, "was given up") {
		t.Errorf("a rotation that is waited for: exit code %d, %s", code, out)
	}
}
