package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers/wire"
)

func sites() []string { return []string{"shop", "warehouse", "accounting"} }

func TestThreeHostsReachEachOther(t *testing.T) {
	m := startMesh(t, sites()...)
	m.allUp(2)
	for _, to := range m.Members() {
		s := m.status(to.Name())
		for _, addr := range []netip.Addr{s.Address, s.Address6} {
			greet(t, m, to, addr)
		}
	}
	t.Run("status is as promised", func(t *testing.T) { statusContract(t, m) })
	t.Run("host ls is as promised", func(t *testing.T) { hostsContract(t, m) })
	t.Run("ping and doctor", func(t *testing.T) {
		var summary wire.PingSummary
		lines := strings.Split(strings.TrimSpace(m.must("shop", "ping", "warehouse", "--count", "3", "-o", "json")), "\n")
		if err := json.Unmarshal([]byte(strings.Join(lines, "\n")), &summary); err != nil || summary.Received != 3 {
			t.Errorf("ping: %v: %s", err, lines)
		}
		if summary.PathMTU != 1420 || summary.Generation != 1 {
			t.Errorf("ping found path MTU %d and generation %d", summary.PathMTU, summary.Generation)
		}
		if out, diag, code := m.run("shop", "doctor"); code != 0 && code != 3 {
			t.Errorf("doctor: exit code %d\n%s%s", code, out, diag)
		}
	})
}

// greet opens a TCP connection from every other host to one, which must see the other's mesh address.
func greet(t *testing.T, m *mesh, to *lab.Host, addr netip.Addr) {
	t.Helper()
	var l net.Listener
	if err := to.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(conn, conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap())
			_ = conn.Close()
		}
	}()
	for _, from := range m.Members() {
		if from == to {
			continue
		}
		var seen string
		err := from.Do(func() error {
			conn, err := net.DialTimeout("tcp", l.Addr().String(), 10*time.Second)
			if err != nil {
				return err
			}
			defer conn.Close()
			seen, err = bufio.NewReader(conn).ReadString('\n')
			return err
		})
		if err != nil {
			t.Errorf("%s to %s at %v: %v", from.Name(), to.Name(), addr, err)
			continue
		}
		s := m.status(from.Name())
		if seen = strings.TrimSpace(seen); seen != s.Address.String() && seen != s.Address6.String() {
			t.Errorf("%s was seen as %s by %s", from.Name(), seen, to.Name())
		}
	}
}

// keysOf are the names of a JSON object.
func keysOf(t *testing.T, raw json.RawMessage) []string {
	t.Helper()
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	var names []string
	for k := range doc {
		names = append(names, k)
	}
	return names
}

func wantKeys(t *testing.T, what string, raw json.RawMessage, want ...string) {
	t.Helper()
	have := keysOf(t, raw)
	for _, k := range want {
		if !slices.Contains(have, k) {
			t.Errorf("%s lacks %q: it has %v", what, k, have)
		}
	}
}

func statusContract(t *testing.T, m *mesh) {
	out := m.must("shop", "status", "-o", "json")
	wantKeys(t, "status", json.RawMessage(out), "host", "id", "mesh", "site", "address", "address6", "state", "backend",
		"version", "revision", "generation", "controller", "interfaces", "peers", "problems")
	var doc struct {
		Controller        json.RawMessage
		Interfaces, Peers []json.RawMessage
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, "controller", doc.Controller, "address", "connected", "last_contact")
	wantKeys(t, "interface", doc.Interfaces[0], "name", "generation", "port", "public_key", "mtu")
	wantKeys(t, "peer", doc.Peers[0], "host", "id", "site", "address", "state", "generation", "interface", "endpoint",
		"last_handshake", "rx_bytes", "tx_bytes", "allowed_ips")
	s := m.status("shop")
	if s.State != wire.StateOK || s.Host != "shop" || s.Site != "shop" || len(s.Interfaces) != 1 || len(s.Problems) != 0 {
		t.Errorf("status of a healthy host: %+v", s)
	}
}

func hostsContract(t *testing.T, m *mesh) {
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(m.must(lab.DefaultController, "host", "ls", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 3 {
		t.Fatalf("%d hosts, want 3", len(list))
	}
	wantKeys(t, "host", list[0], "name", "id", "site", "address", "state", "online", "last_seen", "revision", "generation",
		"backend", "version", "problems")
}

func TestApprovalIsWaitedFor(t *testing.T) {
	m := newMesh(t, "shop", "warehouse")
	if err := m.Enrol(m.patient(), "shop", "shop"); err != nil {
		t.Fatal(err)
	}
	token, err := m.Token(m.patient(), "--site", "warehouse", "--approve")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, code := m.run("warehouse", "enroll", token, "--timeout", "2s"); code != 3 {
		t.Errorf("enrolling without approval: exit code %d, want 3", code)
	}
	if s := m.hosts()["warehouse"]; s.State != "pending" {
		t.Errorf("the host is %s, want pending", s.State)
	}
	if n := len(m.status("shop").Peers); n != 0 {
		t.Errorf("a pending host is in the plan of another: %d peers", n)
	}
	m.must(lab.DefaultController, "host", "approve", "warehouse")
	m.allUp(1)
}

func TestRemoteAdmin(t *testing.T) {
	m := startMesh(t, "shop")
	var view wire.MeshView
	if err := json.Unmarshal([]byte(m.must(lab.DefaultController, "mesh", "show", "-o", "json")), &view); err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(m.lab.Host(lab.DefaultController).IPv4(), 7443).String()
	remote := func(args ...string) []string {
		return append([]string{"--controller", at, "--pin", view.Pin.String()}, args...)
	}
	home := func(args ...string) (string, int) {
		cmd := m.Warren(m.patient(), "shop", args...)
		cmd.Env = append(cmd.Env, "HOME=/run/anna", "XDG_CONFIG_HOME=/run/anna/.config")
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	key, code := home("admin", "key")
	if code != 0 {
		t.Fatalf("admin key: %s", key)
	}
	if out, code := home(remote("host", "ls")...); code == 0 {
		t.Errorf("a stranger may list hosts:\n%s", out)
	}
	m.must(lab.DefaultController, "admin", "add", "anna", strings.TrimSpace(key))
	if out, code := home(remote("host", "ls")...); code != 0 || !strings.Contains(out, "shop") {
		t.Errorf("an admin may not list hosts: exit code %d\n%s", code, out)
	}
	m.must(lab.DefaultController, "admin", "rm", "anna")
	if out, code := home(remote("host", "ls")...); code == 0 {
		t.Errorf("a former admin may list hosts:\n%s", out)
	}
}
