package lab

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
)

// DefaultController is the host of the controller where nothing else is said.
const DefaultController = "controller"

// MeshOptions say how StartMesh goes about it.
type MeshOptions struct {
	Controller     string            // host of the controller; DefaultController if empty
	Backend        string            // of the agents; "auto" if empty
	Progress       func(line string) // called before each step; may be nil
	ControllerArgs []string          // added to `warren-controller run`
	AgentArgs      []string          // added to `warren-agent run`
}

// Mesh is a controller on one host of a lab and agents on the others.
type Mesh struct {
	lab     *Lab
	options MeshOptions

	mu         sync.Mutex // guards what follows
	controller *Daemon
	agents     map[string]*Daemon
}

// NewMesh describes a mesh on a lab's hosts and starts nothing yet. The lab's Bin must hold the programs.
func NewMesh(l *Lab, o MeshOptions) (*Mesh, error) {
	o.Controller = cmp.Or(o.Controller, DefaultController)
	o.Backend = cmp.Or(o.Backend, "auto")
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	host := l.Host(o.Controller)
	if host == nil {
		return nil, fmt.Errorf("the lab has no host %q for the controller", o.Controller)
	}
	return &Mesh{lab: l, options: o, agents: make(map[string]*Daemon)}, FindPrograms(host.bin)
}

// StartMesh does what an operator would do to connect all hosts of a lab: it starts the controller, starts an agent on
// every other host on the internet, and enrols each of these under its own name, with a token of its own for its site.
func StartMesh(ctx context.Context, l *Lab, o MeshOptions) (*Mesh, error) {
	m, err := NewMesh(l, o)
	if err != nil {
		return nil, err
	}
	if _, err := m.StartController(ctx); err != nil {
		return nil, err
	}
	for _, host := range m.Members() {
		if _, err := m.StartAgent(ctx, host.Name()); err != nil {
			return nil, err
		}
	}
	for _, host := range m.Members() {
		if err := m.Enrol(ctx, host.Name(), host.Site()); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Members are the hosts that have an agent: all on the internet but the controller's.
func (m *Mesh) Members() []*Host {
	var members []*Host
	for _, host := range m.lab.Hosts() {
		if host.Name() != m.options.Controller && host.OnInternet() {
			members = append(members, host)
		}
	}
	return members
}

// StartController starts the controller, for the first time or again, and waits until it is ready.
func (m *Mesh) StartController(ctx context.Context) (*Daemon, error) {
	argv := append([]string{"warren-controller", "run"}, m.options.ControllerArgs...)
	daemon, err := m.start(ctx, m.options.Controller, argv)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.controller = daemon
	return daemon, nil
}

// StartAgent starts the agent of a host, for the first time or again, and waits until it is ready.
func (m *Mesh) StartAgent(ctx context.Context, host string) (*Daemon, error) {
	argv := append([]string{"warren-agent", "run", "--backend", m.options.Backend}, m.options.AgentArgs...)
	daemon, err := m.start(ctx, host, argv)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agents[host] = daemon
	return daemon, nil
}

func (m *Mesh) start(ctx context.Context, name string, argv []string) (*Daemon, error) {
	host := m.lab.Host(name)
	if host == nil {
		return nil, fmt.Errorf("the lab has no host %q", name)
	}
	m.options.Progress(fmt.Sprintf("%s: %s", name, strings.Join(argv, " ")))
	daemon, err := host.Start(argv[0], argv...)
	if err != nil {
		return nil, err
	}
	return daemon, daemon.Ready(ctx)
}

// Enrol makes a token for the site on the controller and enrols the host with it, under its own name.
func (m *Mesh) Enrol(ctx context.Context, host, site string) error {
	token, err := m.Token(ctx, "--site", site, "--name", host)
	if err != nil {
		return err
	}
	m.options.Progress(host + ": warren enroll TOKEN")
	if out, err := m.Warren(ctx, host, "enroll", token).CombinedOutput(); err != nil {
		return fmt.Errorf("enrolling %s: %v\n%s", host, err, out)
	}
	return nil
}

// Token runs `warren token create` on the controller with the given flags and returns the token.
func (m *Mesh) Token(ctx context.Context, flags ...string) (string, error) {
	args := append([]string{"token", "create"}, flags...)
	m.options.Progress(fmt.Sprintf("%s: warren %s", m.options.Controller, strings.Join(args, " ")))
	command := m.Warren(ctx, m.options.Controller, append(args, "-o", "json")...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("creating a token: %v\n%s%s", err, out, &stderr)
	}
	var created struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(out, &created); err != nil || created.Token == "" {
		return "", fmt.Errorf("`warren token create -o json` printed no token (%v)", err)
	}
	return created.Token, nil
}

// Controller is the controller's process, nil before it was started.
func (m *Mesh) Controller() *Daemon {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.controller
}

// Agent is the process of the host's agent, nil if none was started.
func (m *Mesh) Agent(host string) *Daemon {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.agents[host]
}

// Warren prepares the command `warren args…` on a host of the lab, which must exist.
func (m *Mesh) Warren(ctx context.Context, host string, args ...string) *exec.Cmd {
	return m.lab.Host(host).Command(ctx, append([]string{"warren"}, args...)...)
}
