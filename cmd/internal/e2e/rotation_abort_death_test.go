package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	agentpoint "github.com/warren-mesh/warren/agent/failpoint"
	"github.com/warren-mesh/warren/cmd/internal/lab"
	controllerpoint "github.com/warren-mesh/warren/controller/failpoint"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// abortDeaths are the cases of TestRotationAbortSurvivesDeaths: agents that die while they build what is given up, or
// while they take it away, and a controller that dies as it writes that down, or wipes the secret. The whole matrix has
// each alone, and each agent's point with each of the controller's.
func abortDeaths(whole bool) (cases [][]death) {
	agents := []string{
		agentpoint.PlanHeard, agentpoint.KeyMade, agentpoint.LinkBuilt, agentpoint.PeersSet,
		agentpoint.EndHeard, agentpoint.LinkGone, agentpoint.KeyWiped,
	}
	controllers := controllerpoint.AbortPoints()
	hosts := sites()
	of := func(p int) death { return death{hosts[p%len(hosts)], agents[p%len(agents)]} }
	main := func(p int) death { return death{lab.DefaultController, controllers[p%len(controllers)]} }
	if !whole {
		return [][]death{{of(0), of(4), of(5), main(0)}, {of(1), of(6), main(2)}, {of(3), main(4)}}
	}
	for p := range agents {
		cases = append(cases, []death{of(p)})
		for q := range controllers {
			cases = append(cases, []death{of(p), main(q)})
		}
	}
	for q := range controllers {
		cases = append(cases, []death{main(q)})
	}
	return cases
}

// TestRotationAbortSurvivesDeaths gives rotations up while agents and the controller die. Started again they end on the
// generation before, nothing is lost, and no key of the other one is left.
func TestRotationAbortSurvivesDeaths(t *testing.T) { matrix(t, abortDeaths, (*mesh).givingUp) }

// givingUp gives a rotation up, in which nobody reaches the second port, while daemons die.
func (m *mesh) givingUp(deaths []death) {
	m.t.Helper()
	before := m.rotation().Generation
	for _, d := range deaths {
		m.arm(d)
	}
	m.calm()
	flows := m.everybody()
	strict := func(rule ...string) {
		for _, h := range m.Members() {
			m.nft(h.Name(), rule...)
		}
	}
	strict("table inet foreign { chain strict { type filter hook input priority 0; udp dport 51820 drop; }; }")
	m.must(lab.DefaultController, "rotate", "--reason", "test")
	g := m.rotation().Generation
	for _, h := range m.Members() {
		until(m.t, patience, h.Name()+" has built the next generation, or died of it", func() bool {
			var s wire.Status
			out, _, _ := m.run(h.Name(), "status", "-o", "json")
			return ended(m.Agent(h.Name())) || json.Unmarshal([]byte(out), &s) == nil && len(s.Interfaces) == 2
		})
	}
	given := m.secretOf(g)
	began := time.Now()
	end := m.raising(deaths)
	until(m.t, patience, "it is given up", func() bool { return m.givenUp(before) })
	end()
	m.onlyGeneration(before)
	m.nowhere([]secret{given})
	m.noKeyOf(g)
	m.t.Logf("given up and all well %v after the order", time.Since(began).Round(time.Millisecond))
	strict("delete", "table", "inet", "foreign")
	for name, f := range flows {
		if sent, lost := f.end(); lost > 0 || sent == 0 {
			m.t.Errorf("%s: %d of %d packets lost", name, lost, sent)
		}
	}
}

// raising starts daemons again a moment after they died, also while an order to the controller waits for that. Its end is
// when all have died.
func (m *mesh) raising(deaths []death) (end func()) {
	done, ctx := make(chan error, 1), m.patient()
	go func() {
		var errs []error
		waiting, tick := slices.Clone(deaths), time.NewTicker(20*time.Millisecond)
		defer tick.Stop()
		for len(waiting) > 0 && ctx.Err() == nil {
			waiting = slices.DeleteFunc(waiting, func(d death) bool {
				if !ended(m.daemon(d.host)) {
					return false
				}
				<-time.After(rand.N(time.Second)) // in which the others go on without it
				errs = append(errs, m.start(d.host))
				return true
			})
			<-tick.C
		}
		done <- errors.Join(errs...)
	}()
	return func() {
		m.t.Helper()
		select {
		case err := <-done:
			if err != nil {
				m.t.Fatal(err)
			}
		case <-time.After(patience):
			m.t.Fatalf("not all of %v died", deaths)
		}
	}
}

// givenUp reports whether no rotation runs, and orders that it be given up where the controller does not know it.
func (m *mesh) givenUp(before peers.Generation) bool {
	m.t.Helper()
	var v wire.RotationView
	out, _, code := m.run(lab.DefaultController, "rotate", "status", "-o", "json")
	if code != 0 || json.Unmarshal([]byte(out), &v) != nil {
		return false // it is dead
	}
	if v.Phase != peers.PhaseIdle && !v.Held {
		_, _, _ = m.run(lab.DefaultController, "rotate", "abort", "--reason", "test") // it may die of it
		return false
	}
	return v.Phase == peers.PhaseIdle && v.Generation == before
}

// noKeyOf wants no host to have a private key of a generation.
func (m *mesh) noKeyOf(g peers.Generation) {
	m.t.Helper()
	for _, h := range m.Members() {
		m.eachFile(h, func(path string, _ []byte) {
			if filepath.Base(path) == fmt.Sprintf("key-%d", g) {
				m.t.Errorf("%s still has %s", h.Name(), path)
			}
		})
	}
}
