package orders

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/cli"
)

func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) }

// freePort finds an address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// run runs a command line as a process would, until ctx ends, and returns its output and exit code.
func run(ctx context.Context, stdout, stderr io.Writer, args ...string) int {
	root := Command()
	cli.Prepare(root)
	p := &cli.Process{
		Args: args, Stdout: stdout, Stderr: stderr, Now: time.Now, Env: func(string) string { return "" },
	}
	return cli.Execute(ctx, p, root)
}

// start runs a service until the end of the test, and returns when it listens.
func start(t *testing.T, args ...string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	reader, log := io.Pipe()
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, io.Discard, log, args...); _ = log.Close() }()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("%v ended with code %d", args, code)
		}
	})
	lines := bufio.NewScanner(reader)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "listening") {
			go func() { _, _ = io.Copy(io.Discard, reader) }()
			return
		}
		t.Log(lines.Text())
	}
	t.Fatalf("%v does not listen", args)
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	shop, erp, accounting := freePort(t), freePort(t), freePort(t)
	start(t, "accounting", "--listen", accounting, "--book", filepath.Join(dir, "accounting"))
	start(t, "erp", "--listen", erp, "--next", "http://"+accounting, "--book", filepath.Join(dir, "erp"))

	output, stdout := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, stdout, t.Output(), "shop", "--listen", shop, "--to", "http://"+erp, "--count", "40",
			"--book", filepath.Join(dir, "shop"), "--note", "n0te", "--stay")
	}()
	var result Result
	if err := json.NewDecoder(output).Decode(&result); err != nil || result.Acknowledged != 40 {
		t.Fatalf("%+v %v", result, err)
	}

	services := []string{"shop=http://" + shop, "erp=http://" + erp, "accounting=http://" + accounting}
	reconciled, code := reconcileWith(t, "40", services)
	if code != 0 || len(reconciled.Books) != 3 || len(reconciled.Differences) != 0 {
		t.Errorf("code %d, %+v", code, reconciled)
	}
	reconciled, code = reconcileWith(t, "41", services)
	if code != cli.ExitFailed || len(reconciled.Differences) != 3 {
		t.Errorf("code %d, %+v", code, reconciled)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("the shop ended with code %d", code)
	}
	if _, code = reconcileWith(t, "40", services); code != cli.ExitFailed {
		t.Errorf("the shop is closed: code %d", code)
	}
	if code := run(t.Context(), io.Discard, t.Output(), "reconcile", "nonsense"); code != cli.ExitUsage {
		t.Errorf("nonsense: code %d", code)
	}
}

func reconcileWith(t *testing.T, count string, services []string) (r Reconciliation, code int) {
	t.Helper()
	var out strings.Builder
	code = run(t.Context(), &out, t.Output(), append([]string{"reconcile", "--count", count}, services...)...)
	if out.Len() > 0 {
		if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
			t.Error(err)
		}
	}
	return r, code
}

func TestMoney(t *testing.T) {
	for cents, want := range map[Cents]string{0: "0.00 €", 5: "0.05 €", 123456: "1234.56 €", -250: "-2.50 €"} {
		if got := cents.String(); got != want {
			t.Errorf("%d cents are %q, want %q", cents, got, want)
		}
	}
}
