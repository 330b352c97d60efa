package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	agentpoint "github.com/warren-mesh/warren/agent/failpoint"
	"github.com/warren-mesh/warren/cmd/internal/lab"
	controllerpoint "github.com/warren-mesh/warren/controller/failpoint"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// converges is how long after the end of a fault all must be well again.
const converges = 30 * time.Second

const (
	// failpointBin holds programs that die where they are told to; `make failpoint` builds them.
	failpointBin      = "../../../bin/failpoint"
	failpointVariable = "WARREN_FAILPOINT"

	// matrixVariable asks for every case of the matrices: `make test-rotation`. It says which share of them, as in
	// "0/2" for the first half.
	matrixVariable = "WARREN_ROTATION_MATRIX"
)

// A death is that of a daemon which kills itself at a point of a rotation.
type death struct{ host, point string }

func (d death) String() string { return d.host + " at " + d.point }

// skipped reports whether a rotation may pass a point by: where all pairs settle together, the older generation ends for
// all hosts before any of them drops a peer of it.
func (d death) skipped() bool {
	return d.point == agentpoint.RetireHeard || d.point == agentpoint.PeerRetired
}

// deaths are the cases of TestRotationSurvivesDeaths. In each of the representative ones the controller and all agents
// die, at different points, so that every point of an agent is there. The whole matrix has each daemon die alone at each
// of its points, and every two points of two daemons together.
func deaths(whole bool) (cases [][]death) {
	agents, controllers, hosts := agentpoint.Points(), controllerpoint.Points(), sites()
	of := func(host, point int) death { return death{hosts[host], agents[point%len(agents)]} }
	main := func(point int) death {
		return death{lab.DefaultController, controllers[point%len(controllers)]}
	}
	if !whole {
		for i := range 4 {
			cases = append(cases, []death{of(0, i), of(1, i+4), of(2, i+8), main(2*i + 1)})
		}
		return cases
	}
	for p := range agents {
		for host := range hosts {
			cases = append(cases, []death{of(host, p)})
		}
	}
	for p := range controllers {
		cases = append(cases, []death{main(p)})
	}
	// p and q are every two points of two agents; with p+q every two of an agent and the controller are there, too.
	for p := range agents {
		for q := range agents {
			cases = append(cases, []death{of(0, p), of(1, q), of(2, p+2*q), main(p + q)})
		}
	}
	return cases
}

// share is which cases of a matrix are asked for: all of them, or every n-th.
func share(t *testing.T) (whole bool, which, of int) {
	t.Helper()
	text := os.Getenv(matrixVariable)
	if text == "" {
		return false, 0, 1
	}
	first, second, ok := strings.Cut(text, "/")
	which, err1 := strconv.Atoi(first)
	of, err2 := strconv.Atoi(second)
	if !ok || err1 != nil || err2 != nil || of < 1 {
		t.Fatalf("%s=%s: want for example 0/1", matrixVariable, text)
	}
	return true, which, of
}

// mortalMesh is a mesh of three hosts whose daemons can be told where to die.
func mortalMesh(t *testing.T) *mesh {
	t.Helper()
	if os.Getenv("WARREN_IN_VM") != "" {
		t.Skip("the VM has no programs that were built with -tags failpoint")
	}
	if _, err := os.Stat(failpointBin); err != nil {
		t.Fatalf("%v: make failpoint", err)
	}
	m := startMeshOf(t, failpointBin, sites()...)
	m.allUp(2)
	return m
}

// TestRotationSurvivesDeaths kills agents and the controller at the boundaries of a rotation. Started again they go on,
// and nothing is lost meanwhile.
func TestRotationSurvivesDeaths(t *testing.T) { matrix(t, deaths, (*mesh).dying) }

// matrix runs the cases that are asked for on one mesh.
func matrix(t *testing.T, cases func(whole bool) [][]death, run func(*mesh, []death)) {
	t.Helper()
	whole, which, of := share(t)
	m := mortalMesh(t)
	for i, c := range cases(whole) {
		if i%of != which {
			continue
		}
		t.Run(fmt.Sprint(c), func(t *testing.T) { run(m.in(t), c) })
		if t.Failed() {
			return // the next one would begin with what this one has left
		}
	}
}

// dying rotates while daemons die.
func (m *mesh) dying(deaths []death) {
	m.t.Helper()
	g := m.rotation().Generation + 1
	for _, d := range deaths {
		m.arm(d)
	}
	m.calm()
	old := append(m.secrets(), m.secretOf(g-1))
	flows := m.everybody()
	began := time.Now()
	// The order may be lost with the controller that got it.
	_, _, _ = m.run(lab.DefaultController, "rotate", "--reason", "test")
	risen := m.raise(g, deaths)
	m.over(g) // which begins it again if that is needed
	since := time.Now()
	m.rotated(g, converges)
	m.onlyGeneration(g)
	m.nowhere(old)
	m.t.Logf("%v in all, %v after the last one rose; %d of %d died", time.Since(began).Round(time.Millisecond),
		time.Since(since).Round(time.Millisecond), risen, len(deaths))
	if len(deaths) == 1 && risen == 0 && !deaths[0].skipped() {
		m.t.Errorf("%v was never come to", deaths[0])
	}
	for name, f := range flows {
		if sent, lost := f.end(); lost > 0 || sent == 0 {
			m.t.Errorf("%s: %d of %d packets lost", name, lost, sent)
		}
	}
	m.disarm(deaths, risen)
}

// calm waits until all are connected and well.
func (m *mesh) calm() {
	m.t.Helper()
	for _, h := range m.Members() {
		until(m.t, patience, h.Name()+" is well", func() bool { return m.status(h.Name()).State == wire.StateOK })
	}
}

// arm starts a daemon anew that will die.
func (m *mesh) arm(d death) {
	m.t.Helper()
	m.t.Setenv(failpointVariable, d.point)
	if err := m.daemon(d.host).Kill(); err != nil {
		m.t.Fatal(err)
	}
	m.rise(d.host)
	m.t.Setenv(failpointVariable, "")
}

func (m *mesh) daemon(host string) *lab.Daemon {
	if host == lab.DefaultController {
		return m.Controller()
	}
	return m.Agent(host)
}

// rise starts a daemon.
func (m *mesh) rise(host string) {
	m.t.Helper()
	if err := m.start(host); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mesh) start(host string) (err error) {
	if host == lab.DefaultController {
		_, err = m.StartController(m.patient())
	} else {
		_, err = m.StartAgent(m.patient(), host)
	}
	return err
}

// raise starts daemons again a moment after they died, until all have died or the rotation is over for everybody, and
// gives how many died.
func (m *mesh) raise(g peers.Generation, deaths []death) (risen int) {
	m.t.Helper()
	up := map[death]bool{}
	until(m.t, patience, fmt.Sprintf("all of %v died, or the rotation is over", deaths), func() bool {
		for _, d := range deaths {
			if !up[d] && ended(m.daemon(d.host)) {
				<-time.After(rand.N(time.Second)) // in which the others go on without it
				m.rise(d.host)
				up[d] = true
			}
		}
		return len(up) == len(deaths) || m.over(g)
	})
	return len(up)
}

// over reports whether all daemons live and have come to the end of a rotation. It begins it again if the controller
// died before it had written down that there is one.
func (m *mesh) over(g peers.Generation) bool {
	m.t.Helper()
	var v wire.RotationView
	out, _, code := m.run(lab.DefaultController, "rotate", "status", "-o", "json")
	if code != 0 || json.Unmarshal([]byte(out), &v) != nil || v.Phase != peers.PhaseIdle {
		return false
	}
	if v.Generation < g {
		_, _, _ = m.run(lab.DefaultController, "rotate", "--reason", "test")
		return false
	}
	for _, h := range m.Members() {
		if ended(m.Agent(h.Name())) || len(m.status(h.Name()).Interfaces) != 1 {
			return false
		}
	}
	return true
}

func ended(d *lab.Daemon) bool {
	select {
	case <-d.Done():
		return true
	default:
		return false
	}
}

// disarm starts those anew that did not come to the point at which they would have died, or died after all.
func (m *mesh) disarm(deaths []death, risen int) {
	m.t.Helper()
	if risen == len(deaths) {
		return
	}
	for _, d := range deaths {
		if err := m.daemon(d.host).Kill(); err != nil {
			m.t.Fatal(err)
		}
		m.rise(d.host)
	}
}
