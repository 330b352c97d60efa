package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers/wire"
)

// A leaver is a host with things of its own on it, which is in the mesh for a while.
type leaver struct {
	*mesh
	t      *testing.T
	host   *lab.Host
	before string
}

// TestHostIsRestored takes Warren off a host in every way that there is, and wants everything else to be as it was
// before.
func TestHostIsRestored(t *testing.T) {
	ways := []struct {
		name string
		do   func(*leaver)
	}{
		{"online", (*leaver).leaveOnline},
		{"offline", (*leaver).leaveOffline},
		{"killed", (*leaver).cleanKilled},
		{"damaged", (*leaver).cleanDamaged},
	}
	names := make([]string, len(ways))
	for i, w := range ways {
		names[i] = w.name
	}
	l := newLab(t, names...)
	lm, err := lab.NewMesh(l, lab.MeshOptions{Progress: func(line string) { t.Log(line) }})
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{Mesh: lm, t: t, lab: l}
	if _, err := m.StartController(m.patient()); err != nil {
		t.Fatal(err)
	}
	leavers := make([]*leaver, len(ways))
	for i, name := range names {
		h := l.Host(name)
		furnish(t, h)
		leavers[i] = &leaver{mesh: m, host: h, before: snapshot(t, h)}
	}
	for _, name := range names {
		if _, err := m.StartAgent(m.patient(), name); err != nil {
			t.Fatal(err)
		}
		if err := m.Enrol(m.patient(), name, name); err != nil {
			t.Fatal(err)
		}
	}
	m.allUp(len(names) - 1)
	for i, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			leavers[i].t, leavers[i].mesh = t, m.in(t)
			if snapshot(t, leavers[i].host) == leavers[i].before {
				t.Fatal("a member looks like a host that is none: this test sees nothing")
			}
			w.do(leavers[i])
		})
	}
}

// networkOnly leaves the files of a snapshot out.
func networkOnly(snapshot string) string {
	var out []string
	for line := range strings.Lines(snapshot) {
		if !strings.HasPrefix(line, "file ") && !strings.HasPrefix(line, "directory ") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

func (l *leaver) leaveOnline() {
	l.t.Helper()
	l.must(l.host.Name(), "leave")
	if h, listed := l.hosts()[l.host.Name()]; listed {
		l.t.Errorf("the controller still lists %+v", h)
	}
	l.left()
	// The agent is as good as new.
	if err := l.Enrol(l.patient(), l.host.Name(), l.host.Name()); err != nil {
		l.t.Fatal(err)
	}
	l.must(l.host.Name(), "leave")
	l.left()
	l.stopped()
}

func (l *leaver) leaveOffline() {
	l.t.Helper()
	if err := l.host.Cut(); err != nil {
		l.t.Fatal(err)
	}
	before := snapshot(l.t, l.host)
	if f := l.fails(l.host.Name(), "leave"); !strings.Contains(f.Hint, "warren leave --force") {
		l.t.Errorf("without the controller: %+v", f)
	}
	same(l.t, "a leave that was refused", networkOnly(before), networkOnly(snapshot(l.t, l.host)))
	_, said, code := l.run(l.host.Name(), "leave", "--force")
	if code != 0 || !strings.Contains(said, "warren host rm "+l.host.Name()) {
		l.t.Errorf("by force: exit code %d, said:\n%s", code, said)
	}
	l.left()
	l.stopped()
	if err := l.host.Restore(); err != nil {
		l.t.Fatal(err)
	}
}

// left checks the host while its agent still runs.
func (l *leaver) left() {
	l.t.Helper()
	same(l.t, "after warren leave", networkOnly(l.before), networkOnly(snapshot(l.t, l.host)))
	if s := l.status(l.host.Name()); s.State != wire.StateUnenrolled {
		l.t.Errorf("after warren leave: %+v", s)
	}
	entries, err := os.ReadDir(l.host.Path(agentData))
	if err != nil || len(entries) > 0 {
		l.t.Errorf("in the data directory: %v, %v", entries, err)
	}
}

// stopped ends the agent in order and removes what the package would.
func (l *leaver) stopped() {
	l.t.Helper()
	if err := l.Agent(l.host.Name()).Stop(l.patient()); err != nil {
		l.t.Fatal(err)
	}
	l.clean()
}

// clean cleans twice, as whoever is not sure does.
func (l *leaver) clean() {
	l.t.Helper()
	for range 2 {
		if out, err := l.host.Command(l.patient(), "warren-agent", "clean").CombinedOutput(); err != nil {
			l.t.Fatalf("warren-agent clean: %v\n%s", err, out)
		}
		same(l.t, "after warren-agent clean", l.before, snapshot(l.t, l.host))
	}
}

func (l *leaver) cleanKilled() {
	l.t.Helper()
	out, err := l.host.Command(l.patient(), "warren-agent", "clean").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "warren leave") {
		l.t.Errorf("clean beside an agent that runs: %v\n%s", err, out)
	}
	if s := l.status(l.host.Name()); len(s.Interfaces) == 0 {
		l.t.Error("it took the tunnels of an agent that runs")
	}
	if err := l.Agent(l.host.Name()).Kill(); err != nil {
		l.t.Fatal(err)
	}
	l.clean()
}

// cleanDamaged has files that cannot be read, and half of the network gone already.
func (l *leaver) cleanDamaged() {
	l.t.Helper()
	if err := l.Agent(l.host.Name()).Kill(); err != nil {
		l.t.Fatal(err)
	}
	dir := l.host.Path(agentData) + "/"
	for _, name := range []string{"membership", "identity", "plan"} {
		if err := os.Remove(dir + name); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir+"plan", 0o700); err != nil {
		l.t.Fatal(err)
	}
	for name, content := range map[string]string{"membership": "", "plan/deep": "x", "key-9.tmp": "half a"} {
		if err := os.WriteFile(dir+name, []byte(content), 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := l.host.Do(func() error {
		link, err := netlink.LinkByName("wrn1")
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	}); err != nil {
		l.t.Fatal(err)
	}
	l.clean()
}
