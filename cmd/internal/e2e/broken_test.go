package e2e

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestHostWithoutTun hides /dev/net/tun from a host: it says so, uses no token, and goes on when it is back.
func TestHostWithoutTun(t *testing.T) {
	m := &mesh{t: t, lab: newLab(t, "shop")}
	var err error
	if m.Mesh, err = lab.NewMesh(m.lab, lab.MeshOptions{Backend: "userspace"}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	shop := m.lab.Host("shop")
	onHost := func(f func() error) {
		t.Helper()
		if err := shop.Do(f); err != nil {
			t.Fatal(err)
		}
	}
	onHost(func() error { return unix.Mount("/dev/null", "/dev/net/tun", "", unix.MS_BIND, "") })
	if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
		t.Fatal(err)
	}
	token, is := m.token("--site", "shop")
	at := m.revision()
	f := m.refused(1, "backend", "shop", "enroll", token)
	if !strings.Contains(f.Message, "/dev/net/tun") {
		t.Errorf("the message does not name the device: %s", f.Message)
	}
	m.outside("shop", at)
	if n := m.used(is.ID); n != 0 {
		t.Errorf("the token was used %d times", n)
	}
	onHost(func() error { return unix.Unmount("/dev/net/tun", 0) })
	until(t, patience, "the host can enrol", func() bool {
		_, _, code := m.run("shop", "enroll", token)
		return code == 0
	})
	if n := m.used(is.ID); n != 1 {
		t.Errorf("the token was used %d times, want 1", n)
	}
}

// TestAgentWithoutNetAdmin runs an agent that may not change the network.
func TestAgentWithoutNetAdmin(t *testing.T) {
	m := &mesh{t: t, lab: newLab(t, "shop")}
	var err error
	if m.Mesh, err = lab.NewMesh(m.lab, lab.MeshOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	weak, err := startWithout(m.lab.Host("shop"), unix.CAP_NET_ADMIN, "warren-agent", "run")
	if err != nil {
		t.Fatal(err)
	}
	if err := weak.Ready(m.patient()); err != nil {
		t.Fatal(err)
	}
	token, is := m.token("--site", "shop")
	at := m.revision()
	f := m.refused(1, "backend", "shop", "enroll", token)
	if !strings.Contains(f.Message, "CAP_NET_ADMIN") {
		t.Errorf("the message does not name the capability: %s", f.Message)
	}
	m.outside("shop", at)
	if n := m.used(is.ID); n != 0 {
		t.Errorf("the token was used %d times", n)
	}
	if err := weak.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartAgent(m.patient(), "shop"); err != nil {
		t.Fatal(err)
	}
	m.must("shop", "enroll", token)
}

// startWithout starts a daemon that can never have a capability.
func startWithout(h *lab.Host, capability uintptr, argv ...string) (d *lab.Daemon, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with this function
		if err = unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err == nil {
			d, err = h.Start(argv[0], argv...)
		}
	}()
	<-done
	return d, err
}

// TestAgentDoesNotStart: what keeps an agent from starting is said in a line, with what helps.
func TestAgentDoesNotStart(t *testing.T) {
	m := newMesh(t, "shop")
	shop := m.lab.Host("shop")
	if err := os.WriteFile(shop.Path("/var/lib/file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m.stillborn("shop", "another agent runs", "warren-agent", "run", "--socket", "/run/2.sock")
	m.stillborn("shop", "socket", "warren-agent", "run", "--data-dir", "/var/lib/2")
	m.stillborn("shop", "not a directory", "warren-agent", "run", "--data-dir", "/var/lib/file", "--socket", "/run/2.sock")
	if s := m.status("shop"); s.State != wire.StateUnenrolled {
		t.Errorf("the agent that was there is %s", s.State)
	}
}

// stillborn runs a daemon that must end with code 1, one line that says why and a hint.
func (m *mesh) stillborn(host, says string, argv ...string) string {
	m.t.Helper()
	cmd := m.lab.Host(host).Command(m.patient(), argv...)
	raw, err := cmd.CombinedOutput()
	out := string(raw)
	if cmd.ProcessState == nil {
		m.t.Fatalf("%v: %v", argv, err)
	}
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		m.t.Errorf("%v: exit code %d, want 1", argv, code)
	}
	if !strings.Contains(out, says) || !strings.Contains(out, "hint: ") || strings.Contains(out, "goroutine ") {
		m.t.Errorf("%v: want %q and a hint:\n%s", argv, says, out)
	}
	m.t.Logf("%v: exit code %d: %s", argv, cmd.ProcessState.ExitCode(), strings.TrimSpace(out))
	return out
}

// fill writes until the disk of a host is full; the function that it returns makes room again.
func fill(t testing.TB, h *lab.Host) (free func()) {
	t.Helper()
	path := h.Path("/var/lib/ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

func TestHostDiskFull(t *testing.T) {
	m := newMesh(t, "shop", "warehouse")
	if err := m.Enrol(m.patient(), "shop", "shop"); err != nil {
		t.Fatal(err)
	}
	token, is := m.token("--site", "warehouse")
	at := m.revision()
	free := fill(t, m.lab.Host("warehouse"))
	m.refused(1, "disk-full", "warehouse", "enroll", token)
	m.outside("warehouse", at)
	if n := m.used(is.ID); n != 0 {
		t.Errorf("the token was used %d times", n)
	}
	free()
	m.must("warehouse", "enroll", token)
	m.allUp(1)

	// A member whose disk fills up keeps its tunnels, says so, and catches up by itself.
	free = fill(t, m.lab.Host("warehouse"))
	m.must(lab.DefaultController, "mesh", "set", "keepalive=20")
	until(t, patience, "the full disk is shown", func() bool { return hasProblem(m.status("warehouse"), "disk-full") })
	if s := m.status("warehouse"); s.Revision != m.revision() || m.up("warehouse") != 1 {
		t.Errorf("with a full disk: revision %d, %d peers up", s.Revision, m.up("warehouse"))
	}
	free()
	until(t, patience, "the plan is kept", func() bool { return len(m.status("warehouse").Problems) == 0 })
}

// TestControllerDiskFull: changes are refused one by one and whole, tunnels and reading go on, and when there
// is room again everything is as it was.
func TestControllerDiskFull(t *testing.T) {
	m := newMesh(t, "shop", "warehouse")
	if err := m.Enrol(m.patient(), "shop", "shop"); err != nil {
		t.Fatal(err)
	}
	token, is := m.token("--site", "warehouse")
	free := fill(t, m.lab.Host(lab.DefaultController))
	// Pages that the file has already can still be written: changes work until it must grow.
	at := m.revision()
	for code := 0; code == 0; {
		if _, _, code = m.run(lab.DefaultController, "token", "create", "--site", "x"); code == 0 {
			at++
		}
	}
	m.refused(1, "disk-full", lab.DefaultController, "token", "create", "--site", "x")
	m.refused(1, "disk-full", lab.DefaultController, "host", "suspend", "shop")
	m.refused(1, "disk-full", "warehouse", "enroll", token, "--timeout", "2s")
	if now := m.revision(); now != at {
		t.Errorf("refused changes moved the ledger from revision %d to %d", at, now)
	}
	if s := m.status("shop"); s.State != wire.StateOK || m.hosts()["shop"].State != "active" {
		t.Errorf("the member is %s, and %s to the controller", s.State, m.hosts()["shop"].State)
	}
	if m.used(is.ID) != 0 || len(m.hosts()) != 1 {
		t.Errorf("half an enrolment: token used %d times, hosts %v", m.used(is.ID), m.hosts())
	}
	// A crash with a full disk: the controller comes back with all that it had said yes to.
	if err := m.Controller().Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	if now := m.revision(); now != at {
		t.Errorf("after a crash the ledger is at revision %d, not %d", now, at)
	}
	free()
	// The host goes on by itself with the enrolment that it began.
	m.allUp(1)
	if m.used(is.ID) != 1 || len(m.hosts()) != 2 {
		t.Errorf("token used %d times, hosts %v", m.used(is.ID), m.hosts())
	}
}
