package e2e

import (
	"os"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestBadLine enrols two hosts over lines that lose, delay and reorder, then kills agents and controller. Of the traffic
// nothing is lost but what the lines lose. It needs netem, which the VM of `make test-vm` has.
func TestBadLine(t *testing.T) {
	m := newMesh(t, "shop", "warehouse")
	for _, h := range m.Members() {
		err := h.Disturb(lab.Weather{Loss: 5, Delay: 50 * time.Millisecond, Jitter: 10 * time.Millisecond, Reorder: 25})
		if lab.NoNetem(err) && os.Getenv("WARREN_IN_VM") == "" {
			t.Skip("this machine's kernel has no netem; make test-vm")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range m.Members() {
		if err := m.Enrol(m.patient(), h.Name(), h.Name()); err != nil {
			t.Fatal(err)
		}
	}
	m.allUp(1)
	dropped := m.dropped()
	tr := flow(t, m.lab.Host("shop"), m.lab.Host("warehouse"), m.status("warehouse").Address)
	tr.more(100)
	for _, name := range []string{"shop", "warehouse", "shop"} {
		if err := m.Agent(name).Kill(); err != nil {
			t.Fatal(err)
		}
		tr.more(50)
		if _, err := m.StartAgent(m.patient(), name); err != nil {
			t.Fatal(err)
		}
		tr.more(50)
	}
	for range 2 {
		if err := m.Controller().Kill(); err != nil {
			t.Fatal(err)
		}
		tr.more(100)
		if _, err := m.StartController(m.patient()); err != nil {
			t.Fatal(err)
		}
	}
	until(t, patience, "all are well again", func() bool {
		return m.status("shop").State == wire.StateOK && m.status("warehouse").State == wire.StateOK
	})
	tr.more(100)
	sent, lost := tr.end()
	dropped = m.dropped() - dropped
	t.Logf("%d packets there and back, %d lost; the lines dropped %d packets of all kinds", sent, lost, dropped)
	if dropped < uint64(sent)/20 {
		t.Errorf("the lines dropped %d packets while %d went there and back: they are too good for this test", dropped, sent)
	}
	if uint64(lost) > dropped {
		t.Errorf("%d packets lost, of which the lines dropped %d at most", lost, dropped)
	}
}

// dropped is what the lines of all members have dropped.
func (m *mesh) dropped() (total uint64) {
	m.t.Helper()
	for _, h := range m.Members() {
		n, err := h.Dropped()
		if err != nil {
			m.t.Fatal(err)
		}
		total += n
	}
	return total
}
