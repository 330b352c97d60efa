package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestRaceForOneToken lets two hosts at once have a token that admits one.
func TestRaceForOneToken(t *testing.T) {
	m := newMesh(t, "shop", "warehouse")
	token, is := m.token("--site", "shop")
	var wg sync.WaitGroup
	type result struct {
		out  string
		code int
	}
	results := map[string]*result{"shop": {}, "warehouse": {}}
	for host, r := range results {
		wg.Go(func() { r.out, _, r.code = m.run(host, "enroll", token, "-o", "json") })
	}
	wg.Wait()
	winner := ""
	for host, r := range results {
		var doc struct{ Error failure }
		if err := json.Unmarshal([]byte(r.out), &doc); err != nil {
			t.Fatalf("%s: %v: %s", host, err, r.out)
		}
		switch {
		case r.code == 0 && winner == "":
			winner = host
		case r.code != 1 || doc.Error.Code != "token-used-up" || doc.Error.Hint == "":
			t.Errorf("%s: exit code %d, %+v", host, r.code, doc.Error)
		}
	}
	hosts := m.hosts()
	if len(hosts) != 1 || hosts[winner].State != "active" || m.used(is.ID) != 1 {
		t.Errorf("%q has won, the token was used %d times, the hosts are %v", winner, m.used(is.ID), hosts)
	}
}

// TestAgentKilledWhileEnrolling kills an agent at each step of an enrolment and enrols again with the same token.
func TestAgentKilledWhileEnrolling(t *testing.T) {
	at := map[string]string{"shop": "token", "warehouse": "controller", "accounting": "keys", "office": "enrolled"}
	m := newMesh(t, "shop", "warehouse", "accounting", "office")
	for _, host := range m.Members() {
		t.Run("at "+at[host.Name()], func(t *testing.T) {
			m := m.in(t)
			token, is := m.token("--site", "here")
			if err := m.killAt(host.Name(), at[host.Name()], token); err != nil {
				t.Fatal(err)
			}
			if _, err := m.StartAgent(m.patient(), host.Name()); err != nil {
				t.Fatal(err)
			}
			if out, diag, code := m.run(host.Name(), "enroll", token); code != 0 && code != 3 {
				t.Errorf("again: exit code %d\n%s%s", code, out, diag)
			}
			if n := m.used(is.ID); n != 1 {
				t.Errorf("the token was used %d times, want 1", n)
			}
		})
	}
	if hosts := m.hosts(); len(hosts) != 4 {
		t.Errorf("the hosts are %v", hosts)
	}
	m.allUp(3)
}

// killAt enrols a host and kills its agent as soon as it tells of a step.
func (m *mesh) killAt(host, step, token string) error {
	m.t.Helper()
	cmd := m.Warren(m.patient(), host, "enroll", token)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.Contains(lines.Text(), " "+step+" ") {
	}
	err = m.Agent(host).Kill()
	_, _ = io.Copy(io.Discard, stderr)
	_ = cmd.Wait() // it fails or not, as the moment has it
	return err
}

// TestLostReplies takes the controller's answer to an enrolment away. The host is a member without knowing it, its
// agent is killed, and another start makes up for it without another use of the token.
func TestLostReplies(t *testing.T) {
	m := newMesh(t, "shop", "warehouse")
	for host, again := range map[string]bool{"shop": true, "warehouse": false} {
		token, is := m.token("--site", host)
		r := m.relay(m.lab.Host(host), is)
		is.Controllers = []string{r.l.Addr().String()}
		enrolling := m.Warren(m.patient(), host, "enroll", is.Encode())
		if err := enrolling.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-r.swallowed:
		case <-m.patient().Done():
			t.Fatal("there was no answer to an enrolment")
		}
		if s := m.status(host); s.State != wire.StateUnenrolled || m.used(is.ID) != 1 {
			t.Errorf("%s is %s and has used the token %d times", host, s.State, m.used(is.ID))
		}
		if err := m.Agent(host).Kill(); err != nil {
			t.Fatal(err)
		}
		_ = enrolling.Wait() // its agent is gone
		if _, err := m.StartAgent(m.patient(), host); err != nil {
			t.Fatal(err)
		}
		if again {
			// The token with other addresses is another string, and still the same token.
			if out, diag, code := m.run(host, "enroll", token); code != 0 && code != 3 {
				t.Errorf("%s, again: exit code %d\n%s%s", host, code, out, diag)
			}
		}
		until(t, patience, host+" is a member", func() bool { return m.status(host).State == wire.StateOK })
		if n := m.used(is.ID); n != 1 {
			t.Errorf("the token was used %d times", n)
		}
	}
	m.allUp(1)
	if hosts := m.hosts(); len(hosts) != 2 {
		t.Errorf("the hosts are %v", hosts)
	}
}

// A relay stands before a controller and swallows what one connection is answered after a token was used.
type relay struct {
	l          net.Listener
	controller string
	used       func() bool
	swallowed  chan struct{} // closed by swallow, when there was something
	swallow    func()
}

// relay begins to relay at the router's address on the host's network.
func (m *mesh) relay(h *lab.Host, token wire.Token) *relay {
	m.t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(h.IPv4().Prev(), 0).String())
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = l.Close() })
	ctx := m.patient()
	r := &relay{l: l, controller: token.Controllers[0], swallowed: make(chan struct{})}
	r.swallow = sync.OnceFunc(func() { close(r.swallowed) })
	r.used = func() bool {
		out, err := m.Warren(ctx, lab.DefaultController, "token", "ls", "-o", "json").Output()
		var list []wire.TokenView
		return err == nil && json.Unmarshal(out, &list) == nil &&
			slices.ContainsFunc(list, func(v wire.TokenView) bool { return v.ID == token.ID && v.Used > 0 })
	}
	go r.run()
	return r
}

func (r *relay) run() {
	for {
		near, err := r.l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", r.controller)
		if err != nil {
			_ = near.Close()
			return
		}
		go func() {
			_, err := io.Copy(far, near)
			_ = errors.Join(err, far.Close())
		}()
		go func() {
			_, err := io.Copy(near, r.answers(far))
			_ = errors.Join(err, near.Close())
		}()
	}
}

// answers is what a controller sends, except for those of the first connection that has used the token.
func (r *relay) answers(far net.Conn) io.Reader {
	select {
	case <-r.swallowed:
		return far
	default:
		return &forgetful{far, r}
	}
}

type forgetful struct {
	net.Conn
	r *relay
}

// Read returns nothing more once the token is used; the connection stays open.
func (f *forgetful) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if err != nil || !f.r.used() {
		return n, err
	}
	f.r.swallow()
	for err == nil {
		_, err = f.Conn.Read(p)
	}
	return 0, err
}

// TestControllerKilledBetweenEnrolments: what it had said yes to is there, and what it had not can be tried again.
func TestControllerKilledBetweenEnrolments(t *testing.T) {
	m := newMesh(t, "shop", "warehouse")
	for _, host := range []string{"shop", "warehouse"} {
		token, is := m.token("--site", host)
		at := m.revision()
		if err := m.Controller().Kill(); err != nil {
			t.Fatal(err)
		}
		m.refused(1, "controller-unreachable", host, "enroll", token, "--timeout", "5s")
		if _, err := m.StartController(m.patient()); err != nil {
			t.Fatal(err)
		}
		if now := m.revision(); now != at {
			t.Errorf("the ledger was at revision %d and is at %d", at, now)
		}
		m.must(host, "enroll", token)
		if n := m.used(is.ID); n != 1 {
			t.Errorf("the token was used %d times", n)
		}
	}
	m.allUp(1)
}
