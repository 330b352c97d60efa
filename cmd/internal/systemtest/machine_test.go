package systemtest

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/vm"
	"github.com/warren-mesh/warren/cmd/internal/vm/hand"
	"github.com/warren-mesh/warren/peers/wire"
)

// A machine of the world, as one part of the test sees it.
type machine struct {
	t     *testing.T
	name  string
	spec  vm.GuestSpec
	guest *vm.Guest
}

// boot starts the machine, with its disk as it is.
func (m *machine) boot() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	start := time.Now()
	g, err := vm.Boot(ctx, m.spec)
	if err != nil {
		return err
	}
	m.guest = g
	m.t.Logf("%s answers %.0f s after its start %s", m.name, time.Since(start).Seconds(), m.spec.Words)
	return nil
}

// powerCut takes the power away and gives it back, with other words for the kernel and another clock.
func (m *machine) powerCut(words string, clock time.Time) {
	m.t.Helper()
	m.off()
	m.on(words, clock)
}

// off takes the power away.
func (m *machine) off() {
	m.t.Helper()
	if err := m.guest.Cut(); err != nil {
		m.t.Fatal(err)
	}
}

// on gives the power back.
func (m *machine) on(words string, clock time.Time) {
	m.t.Helper()
	m.spec.Words, m.spec.Clock = words, clock
	if err := m.boot(); err != nil {
		m.t.Fatal(err)
	}
}

// end shows what the units said, if the test has failed, and takes the power away.
func (m *machine) end() {
	if m.guest == nil {
		return
	}
	if m.t.Failed() {
		m.journal()
	}
	if err := m.guest.Cut(); err != nil {
		m.t.Error(err)
	}
}

// journal shows the end of what our units and the kernel said.
func (m *machine) journal() {
	r, err := m.try("journalctl -b --no-pager -o short-monotonic -n 150 -u 'warren*' -u systemd-networkd; " +
		"systemctl --no-pager -n 0 status 'warren*'; systemctl --no-pager list-jobs; systemctl --no-pager --failed; " +
		"ip -br addr; ip route; wg show all dump | cut -f1,4-8; nft list ruleset | head -60")
	if err != nil {
		m.t.Logf("%s does not answer any more: %v\n%s", m.name, err, m.guest.Console())
		return
	}
	m.t.Logf("--- %s\n%s%s", m.name, r.Stdout, r.Stderr)
}

// try runs a shell script on the machine.
func (m *machine) try(script string) (hand.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	// An upgrade of three packages is the longest.
	return m.guest.Hand.Run(ctx, hand.Command{Argv: []string{"/bin/sh", "-c", script}, Timeout: 3 * patience})
}

// sh is try for what must succeed.
func (m *machine) sh(script string) string {
	m.t.Helper()
	r, err := m.try(script)
	if err != nil {
		m.t.Fatalf("%s: %s: %v", m.name, script, err)
	}
	if r.Code != 0 {
		m.t.Fatalf("%s: %s: exit code %d\n%s%s", m.name, script, r.Code, r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout)
}

// is reports whether a script succeeds.
func (m *machine) is(script string) bool {
	m.t.Helper()
	r, err := m.try(script)
	if err != nil {
		m.t.Fatalf("%s: %s: %v", m.name, script, err)
	}
	return r.Code == 0
}

// status is what warren status tells, and its exit code.
func (m *machine) status() (s wire.Status, code int) {
	m.t.Helper()
	r, err := m.try("warren status -o json")
	if err != nil {
		m.t.Fatalf("%s: warren status: %v", m.name, err)
	}
	if err := json.Unmarshal([]byte(r.Stdout), &s); err != nil {
		m.t.Fatalf("%s: warren status: exit code %d, %v:\n%s%s", m.name, r.Code, err, r.Stdout, r.Stderr)
	}
	return s, r.Code
}

// well waits until the host is healthy with one peer that is up.
func (m *machine) well() wire.Status {
	m.t.Helper()
	var s wire.Status
	m.until(patience, "is well", func() bool {
		r, err := m.try("warren status -o json")
		if err != nil || r.Code != 0 || json.Unmarshal([]byte(r.Stdout), &s) != nil {
			return false
		}
		return s.State == wire.StateOK && len(s.Peers) == 1 && s.Peers[0].State == wire.PeerUp
	})
	return s
}

// until waits for a condition.
func (m *machine) until(within time.Duration, what string, is func() bool) {
	m.t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline:
			m.t.Fatalf("not within %v: %s %s", within, m.name, what)
		case <-tick.C:
		}
	}
}

// A stream is packets from one machine to another that echoes them.
type stream struct {
	from *machine
	name string
}

const perSecond = 100

// stream starts packets to an address of the other machine, and waits for the first answer.
func (m *machine) stream(to *machine, addr netip.Addr) *stream {
	m.t.Helper()
	at := netip.AddrPortFrom(addr, 7)
	if err := to.guest.Hand.Echo(m.t.Context(), at); err != nil {
		m.t.Fatal(err)
	}
	s := &stream{m, m.t.Name() + " " + at.String()}
	if err := m.guest.Hand.Begin(m.t.Context(), hand.FlowSpec{Name: s.name, To: at, PerSecond: perSecond}); err != nil {
		m.t.Fatal(err)
	}
	s.more(1)
	return s
}

func (s *stream) look() hand.Flow {
	s.from.t.Helper()
	f, err := s.from.guest.Hand.Look(s.from.t.Context(), s.name)
	if err != nil {
		s.from.t.Fatal(err)
	}
	return f
}

// more waits for that many more answers.
func (s *stream) more(n int) {
	s.from.t.Helper()
	have := s.look().Answered
	s.from.until(patience, "gets answers", func() bool { return s.look().Answered >= have+n })
}

// end stops the stream and gives how it went.
func (s *stream) end() hand.Flow {
	s.from.t.Helper()
	f, err := s.from.guest.Hand.End(s.from.t.Context(), s.name)
	if err != nil {
		s.from.t.Fatal(err)
	}
	return f
}

// lossless ends the stream, of which no packet may be lost.
func (s *stream) lossless() {
	s.from.t.Helper()
	f := s.end()
	if f.Lost() != 0 {
		s.from.t.Errorf("%d of %d packets lost, the longest gap was %v", f.Lost(), f.Sent, f.Gap)
	}
	s.from.t.Logf("%d packets, %d lost, longest gap %v", f.Sent, f.Lost(), f.Gap.Round(time.Millisecond))
}
