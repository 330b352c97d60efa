package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// refused runs what must fail with an exit code and an error code, and must say what happened and what helps.
func (m *mesh) refused(exit int, code, host string, args ...string) failure {
	m.t.Helper()
	out, diag, got := m.run(host, append(args, "-o", "json")...)
	var doc struct{ Error failure }
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		m.t.Fatalf("warren %v on %s: exit code %d, no JSON error (%v):\n%s%s", args, host, got, err, out, diag)
	}
	f := doc.Error
	if got != exit || f.Code != code || f.Message == "" || f.Hint == "" {
		m.t.Errorf("warren %v on %s: exit code %d, want %d and %s: %+v", args, host, got, exit, code, f)
	}
	m.t.Logf("%s: exit code %d, %s: %s | hint: %s", host, got, f.Code, f.Message, f.Hint)
	return f
}

// token makes a token; its id is in what ParseToken gives.
func (m *mesh) token(flags ...string) (string, wire.Token) {
	m.t.Helper()
	text, err := m.Token(m.patient(), flags...)
	if err != nil {
		m.t.Fatal(err)
	}
	token, err := wire.ParseToken(text)
	if err != nil {
		m.t.Fatal(err)
	}
	return text, token
}

// tokenView is a token as the controller lists it.
func (m *mesh) tokenView(id string) wire.TokenView {
	m.t.Helper()
	var list []wire.TokenView
	m.list(&list, "token", "ls")
	for _, v := range list {
		if v.ID == id {
			return v
		}
	}
	m.t.Fatalf("the controller does not list token %s: %+v", id, list)
	return wire.TokenView{}
}

func (m *mesh) used(id string) int { return m.tokenView(id).Used }

// list reads what an admin's command prints on the controller.
func (m *mesh) list(into any, args ...string) {
	m.t.Helper()
	if err := json.Unmarshal([]byte(m.must(lab.DefaultController, append(args, "-o", "json")...)), into); err != nil {
		m.t.Fatalf("warren %v -o json: %v", args, err)
	}
}

func (m *mesh) revision() peers.Revision {
	m.t.Helper()
	var view wire.MeshView
	m.list(&view, "mesh", "show")
	return view.Revision
}

// outside checks that a host is not a member and has nothing of one, and that the ledger has not moved.
func (m *mesh) outside(host string, at peers.Revision) {
	m.t.Helper()
	if now := m.revision(); now != at {
		m.t.Errorf("the ledger went from revision %d to %d", at, now)
	}
	s := m.status(host)
	if s.State != wire.StateUnenrolled || len(s.Interfaces)+len(s.Peers) > 0 {
		m.t.Errorf("status of a refused host: %+v", s)
	}
	if names := linkNames(m.t, m.lab.Host(host)); len(names) > 0 {
		m.t.Errorf("a refused host has the links %v", names)
	}
	for _, file := range []string{"membership", "enrolment", "plan"} {
		path := m.lab.Host(host).Path("/var/lib/warren-agent/" + file)
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			m.t.Errorf("a refused host keeps %s (%v)", filepath.Base(path), err)
		}
	}
}

// linkNames are the tunnel interfaces of a host.
func linkNames(t testing.TB, h *lab.Host) (names []string) {
	t.Helper()
	if err := h.Do(func() error {
		links, err := netlink.LinkList()
		for _, l := range links {
			if strings.HasPrefix(l.Attrs().Name, "wrn") {
				names = append(names, l.Attrs().Name)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return names
}

// listenUDP opens a UDP port of a host in place of another program; the caller closes it.
func listenUDP(t testing.TB, h *lab.Host, port int) (conn *net.UDPConn) {
	t.Helper()
	if err := h.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", &net.UDPAddr{Port: port})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return conn
}

// second starts another controller on a host that has an agent, and gives a token of it.
func (m *mesh) second(host string) (string, wire.Token) {
	m.t.Helper()
	other, err := m.lab.Host(host).Start("warren-controller", "warren-controller", "run", "--name", "other")
	if err != nil {
		m.t.Fatal(err)
	}
	if err := other.Ready(m.patient()); err != nil {
		m.t.Fatal(err)
	}
	var view wire.TokenView
	if err := json.Unmarshal([]byte(m.must(host, "token", "create", "--site", "there", "-o", "json")), &view); err != nil {
		m.t.Fatal(err)
	}
	token, err := wire.ParseToken(view.Token)
	if err != nil {
		m.t.Fatal(err)
	}
	return view.Token, token
}

// TestRefusedEnrolments tries every way not to get in. In the end the same host enrols as if nothing had been.
func TestRefusedEnrolments(t *testing.T) {
	m := newMesh(t, "shop", "warehouse", "other")
	usedUp, _ := m.token("--site", "shop", "--name", "shop")
	m.must("shop", "enroll", usedUp)
	good, open := m.token("--site", "warehouse")
	named, bound := m.token("--site", "warehouse", "--name", "depot")
	expired, short := m.token("--site", "warehouse", "--ttl", "1s")
	revoked, gone := m.token("--site", "warehouse")
	m.must(lab.DefaultController, "token", "revoke", gone.ID)
	until(t, patience, "a token expires", func() bool { return m.tokenView(short.ID).State == "expired" })
	at := m.revision()

	foreign, theirs := m.second("other")
	foreignID, swapped := theirs, open
	foreignID.Controllers, foreignID.Pin = open.Controllers, open.Pin
	swapped.Controllers = theirs.Controllers
	silent := open
	silent.Controllers = []string{netip.AddrPortFrom(m.lab.Host("shop").IPv4(), 7443).String()}

	for _, c := range []struct {
		name, code string
		args       []string
	}{
		{"half of a token", "token-malformed", []string{good[:len(good)/2]}},
		{"another letter", "token-malformed", []string{flipLetter(good)}},
		{"something else", "token-malformed", []string{"hunter2"}},
		{"expired", "token-expired", []string{expired}},
		{"used up", "token-used-up", []string{usedUp, "--name", "shop"}},
		{"revoked", "token-revoked", []string{revoked}},
		{"unknown to this controller", "token-unknown", []string{foreignID.Encode()}},
		{"another controller at the address", "controller-mismatch", []string{swapped.Encode()}},
		{"nobody at the address", "controller-unreachable", []string{silent.Encode(), "--timeout", "3s"}},
		{"for another name", "token-name", []string{named, "--name", "warehouse"}},
		{"name taken", "name-taken", []string{good, "--name", "shop"}},
		{"name that is none", "name-invalid", []string{good, "--name", "ware house"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := m.in(t)
			m.refused(1, c.code, "warehouse", append([]string{"enroll"}, c.args...)...)
			m.outside("warehouse", at)
		})
	}
	t.Run("no token", func(t *testing.T) { m.in(t).refused(2, "usage", "warehouse", "enroll") })
	t.Run("enrolled already", func(t *testing.T) {
		m := m.in(t)
		m.refused(1, "already-enrolled", "shop", "enroll", good)
		m.refused(1, "already-enrolled", "shop", "enroll", foreign)
		if s := m.status("shop"); s.State != wire.StateOK || s.Mesh != "warren" {
			t.Errorf("the member is %s in mesh %s", s.State, s.Mesh)
		}
	})
	t.Run("range on the host already", func(t *testing.T) {
		m := m.in(t)
		rangeTaken(m, "warehouse", good)
		m.outside("warehouse", at)
	})
	for _, port := range []int{51820, 51821} {
		t.Run(fmt.Sprintf("port %d taken", port), func(t *testing.T) {
			m := m.in(t)
			conn := listenUDP(t, m.lab.Host("warehouse"), port)
			defer conn.Close()
			m.refused(1, "port-taken", "warehouse", "enroll", good)
			m.outside("warehouse", at)
		})
	}
	t.Run("damaged identity", func(t *testing.T) {
		m := m.in(t)
		damagedIdentity(m, "warehouse", good)
		m.outside("warehouse", at)
	})
	for _, id := range []string{open.ID, bound.ID, gone.ID, short.ID} {
		if n := m.used(id); n != 0 {
			t.Errorf("a refused enrolment used token %s: %d", id, n)
		}
	}
	m.must("warehouse", "enroll", good)
	if n := m.used(open.ID); n != 1 {
		t.Errorf("the token was used %d times, want 1", n)
	}
	if hosts := m.hosts(); len(hosts) != 2 {
		t.Errorf("%d hosts in the mesh, want 2", len(hosts))
	}
}

// in is the mesh for a subtest.
func (m *mesh) in(t testing.TB) *mesh { return &mesh{Mesh: m.Mesh, t: t, lab: m.lab} }

// flipLetter makes another letter of one in the middle.
func flipLetter(token string) string {
	b, i := []byte(token), len(token)/2
	if b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

// rangeTaken tries to enrol a host that has an address of the mesh's range on its own network.
func rangeTaken(m *mesh, host, token string) {
	m.t.Helper()
	own := func(change func(netlink.Link, *netlink.Addr) error) {
		m.t.Helper()
		if err := m.lab.Host(host).Do(func() error {
			eth, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			addr, err := netlink.ParseAddr("10.90.7.1/24")
			if err != nil {
				return err
			}
			return change(eth, addr)
		}); err != nil {
			m.t.Fatal(err)
		}
	}
	own(netlink.AddrAdd)
	defer own(netlink.AddrDel)
	if f := m.refused(1, "route-conflict", host, "enroll", token); !strings.Contains(f.Message, "10.90.") {
		m.t.Errorf("the message does not name the range: %+v", f)
	}
}
