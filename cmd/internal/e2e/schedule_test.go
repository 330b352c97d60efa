package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestScheduleLosesNothing lets rotations begin by themselves while traffic flows, in a window that is open now,
// with the controller killed before a slot and in the middle of a rotation.
func TestScheduleLosesNothing(t *testing.T) {
	m := startMesh(t, sites()...)
	m.allUp(2)
	tr := flow(t, m.lab.Host("shop"), m.lab.Host("warehouse"), m.status("warehouse").Address)
	now := time.Now().UTC()
	window := now.Add(-time.Minute).Format("15:04-") + now.Add(3*time.Hour).Format("15:04")
	m.must(lab.DefaultController, "rotate", "schedule", "--every", "25s", "--window", window)
	rotation := func() (v wire.RotationView) {
		if err := json.Unmarshal([]byte(m.must(lab.DefaultController, "rotate", "status", "-o", "json")), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	restart := func() {
		if err := m.Controller().Kill(); err != nil {
			t.Fatal(err)
		}
		if _, err := m.StartController(m.patient()); err != nil {
			t.Fatal(err)
		}
	}
	restart()
	if v := rotation(); v.Next == nil || v.Generation != 1 {
		t.Fatalf("after a restart: %+v", v)
	}
	until(t, 2*patience, "the first one begins", func() bool { return rotation().Generation == 2 })
	restart()
	over := func(g peers.Generation) func() bool {
		return func() bool {
			v := rotation()
			return v.Generation >= g && v.Previous == nil
		}
	}
	until(t, 2*patience, "the first one is over", over(2))
	until(t, 2*patience, "the second one is over", over(3))
	m.must(lab.DefaultController, "rotate", "schedule", "--off")
	before := rotation().Generation

	out := m.must(lab.DefaultController, "rotate", "--now", "--wait", "--reason", "to see it")
	if !strings.Contains(out, "3 hosts have new keys, the old ones are gone, and no pair of hosts lost its tunnel") {
		t.Errorf("rotate --wait: %s", out)
	}
	if v := rotation(); v.Generation != before+1 || v.Previous != nil || v.Last == nil || v.Last.Keys != 3 {
		t.Errorf("afterwards: %+v", v)
	}
	if sent, lost := tr.end(); lost != 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	m.allUp(2)
	log := m.must(lab.DefaultController, "audit", "log")
	for _, want := range []string{
		"keys are rotated every 25s, " + window + " UTC",
		"schedule          rotation to generation 2 begins  (every 25s, " + window + " UTC)",
		fmt.Sprintf("rotation to generation %d begins  (to see it)", before+1),
		"generation 1 is retired, its keys are gone; the rotation to generation 2 took ",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is not in the log:\n%s", want, log)
		}
	}
	m.must(lab.DefaultController, "audit", "verify")
}
