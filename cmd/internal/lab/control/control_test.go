package control

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// here is a backend that runs commands where the test is.
type here struct{}

func (here) Command(ctx context.Context, r Request) (*exec.Cmd, error) {
	if r.Host == "nowhere" {
		return nil, errors.New("no such host")
	}
	return exec.CommandContext(ctx, r.Argv[0], r.Argv[1:]...), nil
}

func (here) Status() any { return map[string]int{"answer": 42} }

// serve runs a server and returns its place, and the channel on which it says that it has ended.
func serve(t *testing.T, ctx context.Context) (Place, <-chan error) {
	t.Helper()
	runtime := t.TempDir()
	place, err := At("test", func(string) string { return runtime })
	if err != nil {
		t.Fatal(err)
	}
	file, err := place.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.FileListener(file)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, listener, here{}) }()
	return place, ended
}

func dial(t *testing.T, place Place) *Client {
	t.Helper()
	client, err := place.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestStatusAndErrors(t *testing.T) {
	place, _ := serve(t, t.Context())
	var status struct{ Answer int }
	if err := dial(t, place).Status(&status); err != nil || status.Answer != 42 {
		t.Errorf("status %v (%v)", status, err)
	}
	for _, r := range []Request{
		{Host: "nowhere", Argv: []string{"true"}},
		{Argv: []string{"/no/such/program"}},
	} {
		code, err := dial(t, place).Exec(r, os.Stdin, os.Stdout, os.Stderr)
		if err == nil || !strings.Contains(err.Error(), "no such") {
			t.Errorf("%v: code %d, error %v", r, code, err)
		}
	}
}

// TestCommandHasATerminalOfItsOwn shows a command on a terminal and interrupts it from there.
func TestCommandHasATerminalOfItsOwn(t *testing.T) {
	place, _ := serve(t, t.Context())
	keyboard, caller, err := openPair()
	if err != nil {
		t.Fatal(err)
	}
	defer closeStreams([]*os.File{keyboard, caller})
	size := &unix.Winsize{Row: 33, Col: 77}
	if err := unix.IoctlSetWinsize(int(caller.Fd()), unix.TIOCSWINSZ, size); err != nil {
		t.Fatal(err)
	}
	before, err := unix.IoctlGetTermios(int(caller.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	type end struct {
		code int
		err  error
	}
	ended := make(chan end, 1)
	client := dial(t, place)
	go func() {
		script := `stty size; trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done`
		code, err := client.Exec(Request{Argv: []string{"sh", "-c", script}}, caller, caller, caller)
		ended <- end{code, err}
	}()
	readUntil(t, keyboard, "33 77\r\nready\r\n")
	if _, err := keyboard.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	readUntil(t, keyboard, "interrupted\r\n")
	if end := <-ended; end.err != nil || end.code != 9 {
		t.Errorf("code %d (%v), want 9", end.code, end.err)
	}
	after, err := unix.IoctlGetTermios(int(caller.Fd()), unix.TCGETS)
	if err != nil || after.Lflag != before.Lflag {
		t.Errorf("the caller's terminal was left with flags %#x, not %#x (%v)", after.Lflag, before.Lflag, err)
	}
}

func readUntil(t *testing.T, from *os.File, want string) {
	t.Helper()
	if err := from.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for buffer := make([]byte, 1000); !strings.Contains(got.String(), want); {
		n, err := from.Read(buffer)
		got.Write(buffer[:n])
		if err != nil {
			t.Fatalf("the terminal shows %q, not %q (%v)", got.String(), want, err)
		}
	}
}

func TestServeEnds(t *testing.T) {
	place, ended := serve(t, t.Context())
	client := dial(t, place)
	told := make(chan error, 1)
	go func() { told <- client.Down(time.Now().Add(20 * time.Second)) }()
	if err := <-ended; err != nil {
		t.Errorf("told to end, Serve returns %v", err)
	}
	select {
	case err := <-told:
		t.Errorf("the caller was told of the end (%v) before the process has ended", err)
	default:
	}

	ctx, cancel := context.WithCancel(t.Context())
	place, ended = serve(t, ctx)
	client = dial(t, place)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("its context done, Serve returns %v", err)
	}
	if err := client.Down(time.Now()); err == nil {
		t.Error("the caller was told of the end while the process, this one, lives")
	}
}

func TestPlace(t *testing.T) {
	place, _ := serve(t, t.Context())
	if _, err := place.Listen(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("a second lab of the name: %v", err)
	}
	if err := os.Chmod(place.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := place.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "yours alone") {
		t.Errorf("a directory that others may enter: %v", err)
	}
	for _, name := range []string{"", "../other", "Name", strings.Repeat("x", 32)} {
		if _, err := At(name, os.Getenv); err == nil {
			t.Errorf("the name %q is taken for one", name)
		}
	}
	if place, err := At("test", func(string) string { return "" }); err != nil || filepath.Dir(place.dir) != "/tmp" {
		t.Errorf("without XDG_RUNTIME_DIR the place is %v (%v)", place, err)
	}
}

// TestStaleSocketIsReplaced: kill -9 of all processes of a lab at once leaves one behind.
func TestStaleSocketIsReplaced(t *testing.T) {
	runtime := t.TempDir()
	place, err := At("test", func(string) string { return runtime })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := place.Dial(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no lab: %v", err)
	}
	for range 2 {
		file, err := place.Listen(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := place.Dial(t.Context()); !errors.Is(err, ErrNotRunning) {
			t.Errorf("a socket on which nobody answers: %v", err)
		}
	}
}
