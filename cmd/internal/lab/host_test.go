package lab_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/lab/labtest"
)

func TestCommandPassesStreamsAndExitCodes(t *testing.T) {
	shop := labtest.New(t, twoHosts()).Host("shop")
	var stdout, stderr bytes.Buffer
	cmd := shop.Command(t.Context(), "sh", "-c", "cat; echo to stderr >&2; pwd; hostname; exit 7")
	cmd.Dir = t.TempDir()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("to stdout\n"), &stdout, &stderr
	exit := (*exec.ExitError)(nil)
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("it ended with %v, want exit status 7", err)
	}
	if got, want := stdout.String(), "to stdout\n"+cmd.Dir+"\nshop\n"; got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
	if got := stderr.String(); got != "to stderr\n" {
		t.Errorf("stderr %q", got)
	}
}

func TestCommandThatCannotBeRun(t *testing.T) {
	shop := labtest.New(t, twoHosts()).Host("shop")
	for program, code := range map[string]int{"no-such-program": 127, "/etc/hostname": 126} {
		cmd := shop.Command(t.Context(), program)
		out, err := cmd.CombinedOutput()
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != code {
			t.Errorf("%s: %v, want exit status %d", program, err, code)
		}
		if !strings.Contains(string(out), program+" on shop: ") {
			t.Errorf("%s: the message does not say what failed where: %s", program, out)
		}
	}
}

func TestProgramsUnderTestLeadPath(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "hostname"), []byte("#!/bin/sh\necho ours\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	topology := twoHosts()
	topology.Bin = bin
	out, err := labtest.New(t, topology).Host("shop").Command(t.Context(), "hostname").CombinedOutput()
	if err != nil || string(out) != "ours\n" {
		t.Errorf("%v %s", err, out)
	}
}

func TestProgramsMustBeSeenOnHosts(t *testing.T) {
	dir := "/run/programs"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, c := range []struct{ program, complaint string }{
		{"warren", "no program warren-agent"},
		{"warren-agent", "no program warren-controller"},
		{"warren-controller", "would not see"},
	} {
		if err := os.WriteFile(filepath.Join(dir, c.program), nil, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := lab.FindPrograms(dir); err == nil || !strings.Contains(err.Error(), c.complaint) {
			t.Errorf("with %s there: %v, want %q", c.program, err, c.complaint)
		}
	}
}

func TestMountsArePrivate(t *testing.T) {
	l := labtest.New(t, twoHosts())
	shop, warehouse := l.Host("shop"), l.Host("warehouse")
	for _, dir := range []string{"/run", "/var/run", "/var/lib"} {
		path := dir + "/lab-test"
		if out, err := shop.Command(t.Context(), "sh", "-c", "echo mine > "+path).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		if err := warehouse.Command(t.Context(), "test", "-e", path).Run(); err == nil {
			t.Errorf("the warehouse sees the shop's %s", path)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the router sees the shop's %s: %v", path, err)
		}
		if got, err := os.ReadFile(shop.Path(path)); err != nil || string(got) != "mine\n" {
			t.Errorf("Path(%s) leads to %q (%v)", path, got, err)
		}
	}
	if err := shop.Command(t.Context(), "cmp", "/run/lab-test", "/var/run/lab-test").Run(); err != nil {
		t.Errorf("/var/run does not lead to /run: %v", err)
	}
}

func TestDiskIsFinite(t *testing.T) {
	shop := labtest.New(t, twoHosts()).Host("shop")
	file, err := os.Create(shop.Path("/var/lib/big"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	block := make([]byte, 1<<20)
	for range 1024 {
		if _, err = file.Write(block); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("after 1 GiB: %v, want a full disk", err)
	}
}

func TestDoIsOnTheHost(t *testing.T) {
	shop := labtest.New(t, twoHosts()).Host("shop")
	var listener net.Listener
	err := shop.Do(func() (err error) {
		listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(shop.IPv4().String(), "8080"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	if _, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(t.Context(), "tcp", listener.Addr().String()); err != nil {
		t.Errorf("the router does not reach what listens on the host: %v", err)
	}
	links, err := net.Interfaces()
	if err != nil || len(links) != 3 {
		t.Errorf("this program is in the router's namespace no more: links %v (%v)", links, err)
	}
}

func TestDaemonTellsWhenItIsReadyAndHowItEnded(t *testing.T) {
	shop := labtest.New(t, twoHosts()).Host("shop")
	daemon := startReady(t, shop, "echo")
	if err := daemon.Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	<-daemon.Done()
	if daemon.ExitCode() != 137 {
		t.Errorf("killed, but exit code %d", daemon.ExitCode())
	}
	failing, err := shop.Start("failing", "sh", "-c", "echo why it failed; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	err = failing.Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), "code 3") || !strings.Contains(err.Error(), "why it failed") {
		t.Errorf("Ready says %v: want the code and the log", err)
	}
	patient, err := startRole(shop, "wait")
	if err != nil {
		t.Fatal(err)
	}
	if err := patient.Stop(t.Context()); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func TestReboot(t *testing.T) {
	shop, warehouse := pairWithEcho(t)
	daemon, err := startRole(shop, "wait")
	if err != nil {
		t.Fatal(err)
	}
	orphan, err := runRole(t, shop, "leave")
	if err != nil {
		t.Fatalf("%v %s", err, orphan)
	}
	prepare := "touch /run/volatile && echo kept > /var/lib/disk && echo 1 > /proc/sys/net/ipv4/ip_forward"
	if out, err := shop.Command(t.Context(), "sh", "-c", prepare).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := shop.Reboot(); err != nil {
		t.Fatal(err)
	}
	<-daemon.Done()
	eventually(t, "the process that had left its parent is gone", func() bool {
		_, err := os.Stat("/proc/" + orphan)
		return errors.Is(err, fs.ErrNotExist)
	})
	check := "test ! -e /run/volatile && grep -q kept /var/lib/disk && grep -q 0 /proc/sys/net/ipv4/ip_forward"
	if out, err := shop.Command(t.Context(), "sh", "-c", check).CombinedOutput(); err != nil {
		t.Errorf("after the reboot: %v %s", err, out)
	}
	if seen, err := reach(t, shop, "udp6", warehouse.IPv6(), "10s"); err != nil || seen != shop.IPv6().String() {
		t.Errorf("after the reboot the warehouse is not reached: %v %s", err, seen)
	}
	if len(shop.Daemons()) != 0 {
		t.Error("daemons that were running before the reboot are still listed")
	}
}

func TestLogsAreKept(t *testing.T) {
	l := labtest.New(t, twoHosts())
	for _, text := range []string{"first life", "second life"} {
		daemon, err := l.Host("shop").Start("talker", "echo", text)
		if err != nil {
			t.Fatal(err)
		}
		<-daemon.Done()
		if err := l.Host("shop").Reboot(); err != nil {
			t.Fatal(err)
		}
	}
	var logs strings.Builder
	l.WriteLogs(&logs)
	if want := "--- talker.log on shop\nfirst life\nsecond life\n"; !strings.HasPrefix(logs.String(), want) {
		t.Errorf("logs %q, want %q", logs.String(), want)
	}
}

func TestTopologyIsChecked(t *testing.T) {
	for name, topology := range map[string]lab.Topology{
		"at least one host":    {},
		"host name \"Shop\"":   {Hosts: []lab.HostSpec{{Name: "Shop"}}},
		"at most 15":           {Hosts: []lab.HostSpec{{Name: "a-name-too-long-x"}}},
		"\"shop\" is taken":    {Hosts: []lab.HostSpec{{Name: "shop"}, {Name: "shop"}}},
		"\"lo\" is taken":      {Hosts: []lab.HostSpec{{Name: "lo"}}},
		"no documentation":     {Hosts: make([]lab.HostSpec, 97)},
		"LAN name \"Stock\"":   {LANs: []string{"Stock"}},
		"\"stock\" is taken":   {LANs: []string{"stock", "stock"}},
		"LAN \"stock\", which": {Hosts: []lab.HostSpec{{Name: "till", LAN: lab.LANLink{Segment: "stock"}}}},
		"and no LAN":           {Hosts: []lab.HostSpec{{Name: "till", LAN: lab.LANLink{Only: true}}}},
		"only on a LAN": {LANs: []string{"stock"}, Hosts: []lab.HostSpec{{
			Name: "till", IPv4: netip.MustParsePrefix("192.0.2.2/24"), LAN: lab.LANLink{Segment: "stock", Only: true},
		}}},
		"default routes": {LANs: []string{"stock"}, Hosts: []lab.HostSpec{{
			Name: "till", LAN: lab.LANLink{Segment: "stock", Via: []netip.Addr{netip.MustParseAddr("10.20.0.1")}},
		}}},
	} {
		if l, err := lab.New(topology); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error is %v", name, err)
			if err == nil {
				_ = l.Close()
			}
		}
	}
}
