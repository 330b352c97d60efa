package e2e

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers/wire"
)

// What TestControllerOutage wants of an agent.
const (
	outageRestarts = 5
	outageLines    = 100 // of log, at most
	outageGrowth   = 2e6 // bytes of RSS that stay, per hour or shorter outage
)

// TestControllerOutage keeps the controller dead for as long as WARREN_OUTAGE says. In between it is started again, five
// times, and killed after some seconds, or at once. Packets flow meanwhile, and agents neither grow nor talk.
func TestControllerOutage(t *testing.T) {
	text := os.Getenv("WARREN_OUTAGE")
	if text == "" {
		t.Skip("takes minutes: make test-outage")
	}
	outage, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	m := startMesh(t, "shop", "warehouse", "accounting")
	m.allUp(2)
	before := map[string]wire.Status{}
	streams := map[string]*traffic{}
	for _, pair := range [][2]string{{"shop", "warehouse"}, {"warehouse", "accounting"}, {"accounting", "shop"}} {
		before[pair[0]] = m.status(pair[0])
		streams[pair[0]+" to "+pair[1]] = flow(t, m.lab.Host(pair[0]), m.lab.Host(pair[1]), m.status(pair[1]).Address)
	}
	<-time.After(min(time.Minute, outage/5)) // what an agent needs at first is no growth
	rss, said := map[string]int{}, map[string]int{}
	for name := range before {
		rss[name], said[name] = m.rss(name), len(m.Agent(name).Log())
	}
	m.outage(outage)
	for name := range before {
		grown, log := m.rss(name)-rss[name], m.Agent(name).Log()[said[name]:]
		lines := bytes.Count([]byte(log), []byte("\n"))
		t.Logf("%s: RSS %.1f MB, grown by %.1f MB; %d lines of log", name, float64(m.rss(name))/1e6, float64(grown)/1e6, lines)
		if grown > outageGrowth || lines > outageLines {
			t.Errorf("%s has grown by %d bytes and said\n%s", name, grown, log)
		}
	}
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	for name, was := range before {
		until(t, patience, name+" is back", func() bool {
			s := m.status(name)
			return s.Controller.Connected && s.State == wire.StateOK
		})
		if now := m.status(name); now.Interfaces[0].Name != was.Interfaces[0].Name || now.ID != was.ID {
			t.Errorf("%s was %+v and is %+v", name, was, now)
		}
	}
	for name, tr := range streams {
		sent, lost := tr.end()
		t.Logf("%s: %d of %d packets lost", name, lost, sent)
		if lost != 0 {
			t.Errorf("%s: %d of %d packets lost", name, lost, sent)
		}
	}
}

// outage kills the controller, starts it again and again, and kills it each time.
func (m *mesh) outage(whole time.Duration) {
	m.t.Helper()
	start := time.Now()
	if err := m.Controller().Kill(); err != nil {
		m.t.Fatal(err)
	}
	for i := range outageRestarts {
		<-time.After(time.Until(start.Add(whole * time.Duration(i+1) / (outageRestarts + 1))))
		// The first one dies before it is ready, the others when agents are coming back, or are back for a while.
		d, err := m.lab.Host(lab.DefaultController).Start("warren-controller", "warren-controller", "run")
		if err != nil {
			m.t.Fatal(err)
		}
		if i == 0 {
			<-time.After(20 * time.Millisecond)
			if err := d.Kill(); err != nil {
				m.t.Fatal(err)
			}
			continue
		}
		if err := d.Ready(m.patient()); err != nil {
			m.t.Fatal(err)
		}
		<-time.After(time.Duration(i-1) * 1500 * time.Millisecond)
		m.t.Logf("restart %d: shop is connected: %v", i+1, m.status("shop").Controller.Connected)
		if err := d.Kill(); err != nil {
			m.t.Fatal(err)
		}
	}
	<-time.After(time.Until(start.Add(whole)))
}

// rss is the memory of a host's agent, in bytes.
func (m *mesh) rss(host string) int {
	m.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.Agent(host).PID()))
	if err != nil {
		m.t.Fatal(err)
	}
	for line := range bytes.Lines(raw) {
		var kB int
		if n, _ := fmt.Sscanf(string(line), "VmRSS: %d kB", &kB); n == 1 {
			return kB << 10
		}
	}
	m.t.Fatalf("no VmRSS of the agent of %s", host)
	return 0
}
