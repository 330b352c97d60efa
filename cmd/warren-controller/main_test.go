package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/pin"
	"github.com/warren-mesh/warren/peers/wire"
)

// beProgram makes the test binary be the program itself.
const beProgram = "WARREN_CONTROLLER_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A process is the program as systemd runs it.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	notify *net.UnixConn
	stderr *tail
	done   chan struct{}
}

// tail keeps what a process writes.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	address := filepath.Join(t.TempDir(), "n")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = notify.Close() })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, notify: notify, stderr: &tail{}, done: make(chan struct{})}
	p.cmd = exec.CommandContext(t.Context(), self, args...)
	p.cmd.Env = append(os.Environ(), beProgram+"=1", "NOTIFY_SOCKET="+address)
	p.cmd.Stderr = p.stderr
	p.cmd.Stdout = p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); <-p.done })
	return p
}

// told waits for a message to systemd.
func (p *process) told(want string) {
	p.t.Helper()
	_ = p.notify.SetReadDeadline(time.Now().Add(15 * time.Second))
	buf := make([]byte, 256)
	n, err := p.notify.Read(buf)
	if err != nil || string(buf[:n]) != want {
		p.t.Fatalf("systemd is told %q (%v), want %q; the program says:\n%s", buf[:n], err, want, p.stderr)
	}
}

// exit waits for the end and gives the exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(15 * time.Second):
		p.t.Fatalf("the program does not end; it says:\n%s", p.stderr)
		return -1
	}
}

// fails holds that a start fails with an exit code and says all the parts.
func fails(t *testing.T, code int, args []string, parts ...string) {
	t.Helper()
	p := start(t, args...)
	got := p.exit()
	if got != code {
		t.Errorf("%q exits with %d, want %d", args, got, code)
	}
	for _, part := range parts {
		if !strings.Contains(p.stderr.String(), part) {
			t.Errorf("%q does not say %q but:\n%s", args, part, p.stderr)
		}
	}
}

// A place is where a controller keeps its things.
type place struct{ data, socket, listen string }

func newPlace(t *testing.T) place {
	t.Helper()
	dir := t.TempDir()
	return place{data: filepath.Join(dir, "state", "deep"), socket: filepath.Join(dir, "run", "s"), listen: freePort(t)}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (p place) args(more ...string) []string {
	return append([]string{"run", "--data-dir", p.data, "--socket", p.socket, "--listen", p.listen}, more...)
}

// client talks to the controller of the place over its socket.
func (p place) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", p.socket)
		},
	}}
}

// post makes a request and decodes the answer.
func post(t *testing.T, client *http.Client, url string, in, out any) {
	t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode > 299 {
		t.Fatalf("POST %s: %s %s %v", url, resp.Status, body, err)
	}
	if err := json.Unmarshal(body, out); err != nil {
		t.Fatal(err)
	}
}

// token makes one for hosts.
func (p place) token(t *testing.T) wire.Token {
	t.Helper()
	var v wire.TokenView
	post(t, p.client(), "http://controller"+wire.PathTokens, wire.TokenOrder{Site: "shop"}, &v)
	token, err := wire.ParseToken(v.Token)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestStartAndStop holds that a host can enrol as soon as systemd is told READY, and that SIGTERM ends the
// program soon although a stream is open.
func TestStartAndStop(t *testing.T) {
	at := newPlace(t)
	p := start(t, at.args()...)
	p.told("READY=1")
	token := at.token(t)
	if len(token.Controllers) != 1 || token.Controllers[0] != at.listen {
		t.Errorf("the token leads to %v, want %s", token.Controllers, at.listen)
	}
	lines := openStream(t, token)
	if line, err := lines.ReadString('\n'); err != nil || !strings.HasPrefix(line, `{"kind":"snapshot"`) {
		t.Fatalf("the stream begins with %q, %v", line, err)
	}
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.told("STOPPING=1")
	if code := p.exit(); code != 0 || time.Since(began) > 5*time.Second {
		t.Errorf("stopped with %d after %v; it says:\n%s", code, time.Since(began), p.stderr)
	}
	if _, err := lines.ReadString('\n'); err == nil {
		t.Error("the stream goes on without a controller")
	}
	if info, err := os.Stat(filepath.Join(at.data, "warren.db")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the database has mode %v, want 0600 (%v)", info.Mode(), err)
	}
	if strings.Contains(p.stderr.String(), "level=ERROR") || strings.Contains(p.stderr.String(), "level=WARN") {
		t.Errorf("it complains:\n%s", p.stderr)
	}
}

// openStream enrols a host and opens its stream.
func openStream(t *testing.T, token wire.Token) *bufio.Reader {
	t.Helper()
	id, err := key.NewIdentityKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := key.NewPrivate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pin.Certificate(rand.Reader, id.Signer())
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   pin.Client(cert, token.Pin[:]),
		ForceAttemptHTTP2: true,
	}}
	base := "https://" + token.Controllers[0]
	var offer wire.EnrollOffer
	post(t, client, base+wire.PathEnrollCheck,
		wire.EnrollCheck{Protocol: wire.Protocol, TokenID: token.ID, Secret: token.Secret[:]}, &offer)
	k := peers.SignKey(offer.MeshID, id, 1, private.Public())
	post(t, client, base+wire.PathEnroll, wire.EnrollRequest{
		Protocol: wire.Protocol, TokenID: token.ID, Secret: token.Secret[:], Name: "erp", Port: 51820,
		Keys: []peers.HostKey{k},
	}, &wire.Enrolled{})
	body, up := io.Pipe()
	t.Cleanup(func() { _ = up.Close() })
	go func() { _, _ = fmt.Fprintln(up, `{"kind":"hello","hello":{"protocol":1,"session":"s"}}`) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+wire.PathStream, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return bufio.NewReader(resp.Body)
}

func TestWhatIsInTheWay(t *testing.T) {
	at := newPlace(t)
	running := start(t, at.args()...)
	running.told("READY=1")

	same := newPlace(t)
	same.data = at.data
	fails(t, 1, same.args(), "in use by another controller")
	same = newPlace(t)
	same.socket = at.socket
	fails(t, 1, same.args(), "answers on the socket", "hint: ")
	same = newPlace(t)
	same.listen = at.listen
	fails(t, 1, same.args(), "another program has this port", "hint: ")
	// What failed has left nothing behind that the next start would stumble over.
	same.listen = freePort(t)
	second := start(t, same.args("--name", "orders")...)
	second.told("READY=1")

	// A socket that a dead controller left is no obstacle.
	if err := second.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	second.exit()
	start(t, same.args()...).told("READY=1")
}

func TestBrokenDataDir(t *testing.T) {
	at := newPlace(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	at.data = filepath.Join(file, "state")
	fails(t, 1, at.args(), "data directory", "hint: ")

	at = newPlace(t)
	if err := os.MkdirAll(at.data, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"empty": "", "garbage": strings.Repeat("garbage", 10_000)} {
		if err := os.WriteFile(filepath.Join(at.data, "warren.db"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		fails(t, 1, at.args(), "damaged", "hint: ")
		if now, err := os.ReadFile(filepath.Join(at.data, "warren.db")); err != nil || string(now) != content {
			t.Errorf("%s: the damaged database was written to (%v)", name, err)
		}
	}
}

func TestAnotherOverlayLater(t *testing.T) {
	at := newPlace(t)
	first := start(t, at.args("--overlay", "10.7.0.0/16")...)
	first.told("READY=1")
	if err := first.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := first.exit(); code != 0 {
		t.Errorf("interrupted with %d", code)
	}
	fails(t, 1, at.args("--overlay", "10.8.0.0/16"), "10.7.0.0/16", "10.8.0.0/16", "hint: leave --overlay away")
	fails(t, 1, at.args("--name", "orders"), `"warren", not "orders"`, "hint: leave --name away")
	fails(t, 1, newPlace(t).args("--overlay", "8.8.8.0/24"), "not a private range", "hint: ")
	start(t, at.args()...).told("READY=1")
}

func TestWrongUsage(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown flag":       {"run", "--nope"},
		"argument":           {"run", "now"},
		"overlay":            {"run", "--overlay", "ten"},
		"listen":             {"run", "--listen", "7443"},
		"advertise":          {"run", "--advertise", "a b:1"},
		"advertise port":     {"run", "--advertise", "a:99999"},
		"too many addresses": {"run", "--advertise", "a,b,c,d,e,f,g,h,i"},
		"log format":         {"run", "--log-format", "xml"},
	} {
		t.Run(name, func(t *testing.T) { fails(t, 2, args, "--help") })
	}
}

func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}} {
		fails(t, 0, args, "warren-controller ")
	}
	fails(t, 0, []string{"run", "--help"}, "--data-dir", "--advertise", "Examples:")
}

// TestExampleSettings: the file that the package brings is one that the controller takes.
func TestExampleSettings(t *testing.T) {
	cmd := runCommand()
	if err := cmd.ParseFlags([]string{"--config", "../../systemd/packages/controller.yaml.example"}); err != nil {
		t.Fatal(err)
	}
	if err := cmd.PreRunE(cmd, nil); err != nil {
		t.Error(err)
	}
	if at := cmd.Flag("advertise").Value.String(); at != "[controller.example.com:7443]" {
		t.Errorf("it advertises %s", at)
	}
}
