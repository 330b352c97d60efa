package systemtest

import (
	"fmt"
	"strings"
	"time"

	"github.com/warren-mesh/warren/peers/wire"
)

// A tunnel is what must be the same before and after.
type tunnel struct {
	index, process string
	handshake      time.Time
	rx, tx         uint64
}

// tunnel looks at the one tunnel of the machine, once that is well.
func (m *machine) tunnel() tunnel {
	m.t.Helper()
	s := m.well()
	p := s.Peers[0]
	t := tunnel{index: m.sh("cat /sys/class/net/" + p.Interface + "/ifindex"), rx: p.RxBytes, tx: p.TxBytes}
	if s.Backend == "userspace" {
		t.process = m.sh("pgrep -f '^/usr/bin/warren-agent tunnel .*" + p.Interface + "'")
		if share := m.sh("cat /proc/" + strings.TrimSpace(t.process) + "/autogroup"); !strings.HasSuffix(strings.TrimSpace(share), " nice -10") {
			m.t.Errorf("%s: the tunnel process has no larger share of the processor: %s", m.name, share)
		}
	}
	if p.LastHandshake != nil {
		t.handshake = *p.LastHandshake
	}
	return t
}

// same holds the tunnel against how it was.
func (m *machine) same(before tunnel) {
	m.t.Helper()
	now := m.tunnel()
	if now.index != before.index || now.process != before.process {
		m.t.Errorf("%s: interface %s of process %q, before %s of %q", m.name, now.index, now.process, before.index, before.process)
	}
	if now.rx <= before.rx || now.tx <= before.tx {
		m.t.Errorf("%s: the counters began anew: %d/%d, then %d/%d", m.name, before.rx, before.tx, now.rx, now.tx)
	}
	if now.handshake.Before(before.handshake) {
		m.t.Errorf("%s: the session began anew: %v, then %v", m.name, before.handshake, now.handshake)
	}
}

// outlives does to the agents what administrators and accidents do, while packets flow.
func outlives(w *world) {
	m := w.shop
	m.downgraded(w.warehouse)
	before := []tunnel{m.tunnel(), w.warehouse.tunnel()}
	s := m.stream(w.warehouse, w.warehouse.well().Address)
	s.more(perSecond)
	for _, it := range []struct {
		what string
		do   func()
	}{
		{"restart", func() { m.sh("systemctl restart warren-agent") }},
		{"kill -9, 5 times", func() {
			for i := range 5 {
				m.killed(time.Duration(i) * 150 * time.Millisecond)
			}
		}},
		{"controller killed", func() { w.warehouse.sh("systemctl kill -s KILL warren-controller") }},
		{"stop and start", func() {
			m.sh("systemctl stop warren-agent")
			s.more(perSecond)
			m.sh("systemctl start warren-agent")
		}},
		{"upgrade", func() {
			m.install(second, "warren", "warren-agent")
			w.warehouse.install(second, "warren", "warren-agent", "warren-controller")
		}},
	} {
		start := s.look()
		it.do()
		s.more(perSecond)
		m.well()
		now := s.look()
		m.t.Logf("%s: %d packets, %d without an answer yet", it.what, now.Sent-start.Sent, now.Lost())
	}
	m.same(before[0])
	w.warehouse.same(before[1])
	for _, m := range []*machine{w.shop, w.warehouse} {
		if s := m.well(); !strings.HasPrefix(s.Version, second+" ") {
			m.t.Errorf("after the upgrade %s has version %q", m.name, s.Version)
		}
		// A program that does not end when it is told to, or is not ready in time, would make others wait.
		if late := m.sh("journalctl -b --no-pager _PID=1 | grep 'warren-.* timed out' || true"); late != "" {
			m.t.Errorf("%s: a unit took too long:\n%s", m.name, late)
		}
	}
	s.lossless()
}

// downgraded goes back to the first version, where an earlier part has left the second.
func (m *machine) downgraded(controller *machine) {
	m.t.Helper()
	if s := m.well(); strings.HasPrefix(s.Version, first+" ") {
		return
	}
	m.install(first, "warren", "warren-agent")
	controller.install(first, "warren", "warren-agent", "warren-controller")
}

// killed kills the agent after a moment and waits until systemd has started another one.
func (m *machine) killed(after time.Duration) {
	m.t.Helper()
	pid := m.sh("systemctl show -P MainPID warren-agent")
	m.sh(fmt.Sprintf("sleep %.2f; kill -9 %s", after.Seconds(), pid))
	m.restarted(pid, patience)
}

// restarted waits until the agent's process is another one, and ready.
func (m *machine) restarted(pid string, within time.Duration) {
	m.t.Helper()
	m.until(within, "has another agent than "+pid, func() bool {
		return m.is("systemctl is-active -q warren-agent && [ $(systemctl show -P MainPID warren-agent) != " + pid + " ]")
	})
}

// stopped holds the agent still until systemd's watchdog has had enough.
func stopped(w *world) {
	m := w.shop
	before := m.tunnel()
	s := m.stream(w.warehouse, w.warehouse.well().Address)
	pid := m.sh("systemctl show -P MainPID warren-agent")
	start := time.Now()
	m.sh("kill -STOP " + pid)
	m.t.Cleanup(func() { _ = m.is("kill -CONT " + pid) }) // where nobody has ended it
	m.restarted(pid, 2*time.Minute)
	m.t.Logf("another agent after %.0f s", time.Since(start).Seconds())
	if why := m.sh("journalctl -b -u warren-agent --no-pager | grep -ci watchdog"); why == "0" {
		m.t.Error("the journal says nothing of a watchdog")
	}
	m.well()
	s.more(perSecond)
	m.same(before)
	s.lossless()
}

// hasWord reports whether the status has a problem or a line with the word.
func hasWord(s wire.Status, word string) bool {
	for _, p := range s.Problems {
		if strings.Contains(strings.ToLower(p.Code+" "+p.Message), strings.ToLower(word)) {
			return true
		}
	}
	return false
}
