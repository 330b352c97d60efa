package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/lab/labtest"
	"github.com/warren-mesh/warren/cmd/internal/orders"
)

// TestMain makes the test binary one of the services where a test starts it on a host.
func TestMain(m *testing.M) {
	lab.Reexec()
	if len(os.Args) > 1 && os.Args[1] == "orders" {
		root := orders.Command()
		cli.Prepare(root)
		p := &cli.Process{Args: os.Args[2:], Stdout: os.Stdout, Stderr: os.Stderr, Env: os.Getenv, Now: time.Now}
		ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		os.Exit(cli.Execute(ctx, p, root))
	}
	labtest.Main(m)
}

// show runs a demo with the real programs.
func runDemo(t *testing.T, change func(*Options)) Report {
	t.Helper()
	programs, err := filepath.Abs("../../../bin") // where `make build` puts them
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Programs: programs, Orders: 60, Backend: "auto", Logs: t.Output(), Progress: func(message string) { t.Log(message) },
	}
	if change != nil {
		change(&o)
	}
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// failed are the names of the verdicts that are not as they should be.
func failed(r Report) string {
	var names []string
	for _, v := range r.Verdicts {
		if !v.OK {
			names = append(names, v.Name)
		}
	}
	return strings.Join(names, " ")
}

func text(r Report) string {
	var b bytes.Buffer
	r.Print(&cli.Page{W: &b})
	return b.String()
}

func TestDemo(t *testing.T) {
	r := runDemo(t, nil)
	t.Log(text(r))
	if !r.OK || failed(r) != "" {
		t.Errorf("failed: %s", failed(r))
	}
	if len(r.Mesh) != 4 || len(r.After) != 3 || r.Sale.Acknowledged != 60 || len(r.Books.Books) != 3 || len(r.Tap.Links) != 5 {
		t.Errorf("%+v", r)
	}
	for _, link := range r.Tap.Links {
		tunnelled := link.Packets.Handshake > 0 && link.Packets.Data > 0
		if tunnelled == (link.Link == lab.DefaultController) || link.Packets.Control == 0 {
			t.Errorf("%+v", link)
		}
	}
	for i := range r.Faults {
		if f := &r.Faults[i]; f.Lost == 0 || f.Seconds == 0 || f.After == 0 || f.After >= 60 {
			t.Errorf("a fault that nobody has noticed, or not in the middle: %+v", f)
		}
	}
	if len(r.Faults) != 2 {
		t.Errorf("the faults were %+v", r.Faults)
	}
	out, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var again Report
	if err := json.Unmarshal(out, &again); err != nil || !again.OK || again.Mesh[0].Address != r.Mesh[0].Address {
		t.Errorf("as JSON: %v %s", err, out)
	}
}

// TestOrdersOutsideTheTunnels sends all orders the wrong way: what the demo is there to notice.
func TestOrdersOutsideTheTunnels(t *testing.T) {
	r := runDemo(t, func(o *Options) { o.flow, o.calm = outside, true })
	if got := failed(r); r.OK || got != "carried nothing-else no-content" {
		t.Errorf("ok: %v, failed: %s\n%s", r.OK, got, text(r))
	}
}

// TestControlMustBeCaught sends the control through the tunnel, where no watch can see it.
func TestControlMustBeCaught(t *testing.T) {
	r := runDemo(t, func(o *Options) { o.leak, o.calm = inside, true })
	if got := failed(r); r.OK || got != "control" || !r.Control.Sent {
		t.Errorf("ok: %v, failed: %s\n%s", r.OK, got, text(r))
	}
}

func TestProgramsThatFail(t *testing.T) {
	no, err := exec.LookPath("false")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"warren", "warren-agent", "warren-controller"} {
		if err := os.Symlink(no, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	var logs bytes.Buffer
	for range 2 { // the first one left nothing in the way of the second
		_, err = Run(t.Context(), Options{Programs: dir, Orders: 1, Logs: &logs, Progress: func(string) {}})
		if err == nil || !strings.Contains(err.Error(), "warren-controller on controller ended with code 1") {
			t.Errorf("error: %v", err)
		}
	}
	if !strings.Contains(logs.String(), "warren-controller.log on controller") {
		t.Errorf("logs: %q", &logs)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"--orders", "0"}, {"more"}, {"-o", "yaml"}} {
		root := Command()
		cli.Prepare(root)
		p := &cli.Process{
			Args: args, Stdout: t.Output(), Stderr: t.Output(), Env: os.Getenv, Now: time.Now,
		}
		if code := cli.Execute(t.Context(), p, root); code != cli.ExitUsage {
			t.Errorf("%v: code %d", args, code)
		}
	}
}
