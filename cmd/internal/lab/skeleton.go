package lab

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
)

// Options of Enter.
type Options struct {
	// Files are open in the program inside the lab, from descriptor 3 on.
	Files []*os.File
	// Remove lists files (then directories, if empty) to delete on the machine when the lab ends, however it ends.
	Remove []string
}

// Reexec must be the first statement of main (TestMain does it itself). Where this process was started as the lab's
// process 1, or to become a command on a host, it does that and never returns; otherwise it returns at once.
func Reexec() {}

// Enter puts the program into a lab: it re-executes the same command line inside, forwards signals, and exits with
// its status. So it returns only inside the lab (nil), or with an error that says what this machine lacks.
func Enter(Options) error { return errors.ErrUnsupported }

// Inside reports whether this process is the program that Enter started inside the lab.
func Inside() bool { return false }

// TestMain runs the tests of a package inside a lab and returns the exit code: `os.Exit(lab.TestMain(m))`.
func TestMain(m interface{ Run() int }) int { return m.Run() }

// Topology says which hosts a lab has.
type Topology struct {
	Hosts []HostSpec
	// Bin is the directory of the programs under test; it leads PATH on every host. May be empty.
	Bin string
}

// HostSpec is one host. Addresses (host address with prefix length) left out are taken from the documentation ranges.
type HostSpec struct {
	Name string // ≤ 15 characters: also the name of its link in the router
	IPv4 netip.Prefix
	IPv6 netip.Prefix
}

// Lab is the internet and its hosts.
type Lab struct{}

// New builds the topology. Needs Enter before it.
func New(Topology) (*Lab, error) { return nil, errors.ErrUnsupported }

// Close ends all processes on the hosts and removes everything New built.
func (l *Lab) Close() error { return nil }

// Host returns the host of that name, nil if there is none.
func (l *Lab) Host(name string) *Host { return nil }

// Hosts in the order of the topology.
func (l *Lab) Hosts() []*Host { return nil }

// WriteLogs writes the logs of all daemons of all hosts, for a test that failed.
func (l *Lab) WriteLogs(w io.Writer) {}

// Host is one machine of the lab.
type Host struct{}

// Name of the host; the router's link to it has the same name.
func (h *Host) Name() string { return "" }

// IPv4 is the host's address on the internet.
func (h *Host) IPv4() netip.Addr { return netip.Addr{} }

// IPv6 is the host's address on the internet; the zero Addr where the machine has no IPv6.
func (h *Host) IPv6() netip.Addr { return netip.Addr{} }

// Path returns where the program (in the router) sees a file of the host that lies under /run or /var/lib.
func (h *Host) Path(path string) string { return "" }

// Command prepares a command on the host; run it with Run, Output, Start … as any other. The program is looked up
// in the host's PATH. Extra files of the caller begin at descriptor 6.
func (h *Host) Command(ctx context.Context, argv ...string) *exec.Cmd { return nil }

// Do calls f on a thread that is on the host: sockets it opens are the host's, paths are the host's. Not so
// goroutines that f starts.
func (h *Host) Do(f func() error) error { return errors.ErrUnsupported }

// Start starts a daemon on the host; its output goes to a log. The name is for people and logs.
func (h *Host) Start(name string, argv ...string) (*Daemon, error) { return nil, errors.ErrUnsupported }

// Cut drops every packet between the host and the internet without a sign: no carrier loss, no ICMP.
func (h *Host) Cut() error { return nil }

// Restore undoes Cut.
func (h *Host) Restore() error { return nil }

// Block drops packets from the host to the prefix in the internet, this direction only, without a sign.
func (h *Host) Block(to netip.Prefix) error { return nil }

// Unblock undoes Block.
func (h *Host) Unblock(to netip.Prefix) error { return nil }

// Reboot kills every process on the host and gives it fresh interfaces and an empty /run. /var/lib stays.
func (h *Host) Reboot() error { return nil }

// Daemon is a process started by Host.Start.
type Daemon struct{}

// Name as given to Start.
func (d *Daemon) Name() string { return "" }

// PID of the process, in the lab.
func (d *Daemon) PID() int { return 0 }

// Ready waits until the daemon has said READY=1 on its NOTIFY_SOCKET; an error if it ends before that.
func (d *Daemon) Ready(ctx context.Context) error { return nil }

// Signal sends a signal.
func (d *Daemon) Signal(sig os.Signal) error { return nil }

// Kill sends SIGKILL and waits for the end.
func (d *Daemon) Kill() error { return nil }

// Stop sends SIGTERM and waits for the end; SIGKILL when ctx is done first, which is an error.
func (d *Daemon) Stop(ctx context.Context) error { return nil }

// Done is closed when the process has ended.
func (d *Daemon) Done() <-chan struct{} { return nil }

// ExitCode after Done: the code, or 128 + the signal's number.
func (d *Daemon) ExitCode() int { return 0 }

// Log is what the daemon has written so far (of all daemons of this name on this host, reboots included).
func (d *Daemon) Log() string { return "" }

// FindPrograms checks that dir holds warren, warren-agent and warren-controller.
func FindPrograms(dir string) error { return nil }

// Build builds the three programs into dir with the go command; flags go to `go build` (-race …).
func Build(ctx context.Context, dir string, flags ...string) error { return nil }

// MeshOptions say what StartMesh does.
type MeshOptions struct {
	Controller     string       // host of the controller, "controller" if empty
	Backend        string       // of the agents, "auto" if empty
	Progress       func(string) // called with one line before each step; may be nil
	ControllerArgs []string     // appended to `warren-controller run`
	AgentArgs      []string     // appended to `warren-agent run --backend …`
}

// Mesh is a running controller with agents on all other hosts.
type Mesh struct{}

// StartMesh starts the controller, starts an agent on every other host, and enrols each as site and host of its
// own name with one token each, through the command line that people use.
func StartMesh(ctx context.Context, l *Lab, o MeshOptions) (*Mesh, error) {
	return nil, errors.ErrUnsupported
}

// StartController starts warren-controller (again) and waits until it is ready.
func (m *Mesh) StartController(ctx context.Context) (*Daemon, error) {
	return nil, errors.ErrUnsupported
}

// StartAgent starts warren-agent on the host (again) and waits until it is ready.
func (m *Mesh) StartAgent(ctx context.Context, host string) (*Daemon, error) {
	return nil, errors.ErrUnsupported
}

// Enrol makes a token on the controller and enrols the host with it.
func (m *Mesh) Enrol(ctx context.Context, host, site string) error { return errors.ErrUnsupported }

// Controller is the controller's process.
func (m *Mesh) Controller() *Daemon { return nil }

// Agent is the agent's process on that host; nil if none was started.
func (m *Mesh) Agent(host string) *Daemon { return nil }

// Warren prepares the command `warren args…` on the host; on the controller's host it talks to the controller.
func (m *Mesh) Warren(ctx context.Context, host string, args ...string) *exec.Cmd { return nil }
