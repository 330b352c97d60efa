package lab

import (
	"cmp"
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Host is one machine of the lab: network, mount and host name namespaces, and the processes in them.
type Host struct {
	spec HostSpec
	bin  string
	lan  *segment // nil without

	mu      sync.Mutex // guards what follows
	spaces  spaces
	daemons []*Daemon
	port    portFault
}

// Name of the host; the router's link to it has the same name, its own link to the router is eth0.
func (h *Host) Name() string { return h.spec.Name }

// Site is where StartMesh enrols the host.
func (h *Host) Site() string { return cmp.Or(h.spec.Site, h.spec.Name) }

// OnInternet reports whether the host has a link to the router: all have but those that are only on a LAN.
func (h *Host) OnInternet() bool { return !h.spec.LAN.Only }

// IPv4 is the host's address on the internet, or the zero Addr if it is not there.
func (h *Host) IPv4() netip.Addr { return h.spec.IPv4.Addr() }

// IPv6 is the host's address on the internet, or the zero Addr if it is not there or this machine has no IPv6.
func (h *Host) IPv6() netip.Addr {
	if !haveIPv6() {
		return netip.Addr{}
	}
	return h.spec.IPv6.Addr()
}

// dir is a directory of the host's own in the router's view: disk, run or log.
func (h *Host) dir(name string) string { return filepath.Join(labDir, h.spec.Name, name) }

// Path returns where the program, in the router's namespace, finds the host's file of that path under /run or
// /var/lib. Other files are the same on all hosts.
func (h *Host) Path(path string) string {
	place, rest, own := ownPath(path)
	if !own {
		return rest
	}
	return h.dir(place.dir) + rest
}

// Command prepares a command on the host, to be run as any other exec.Cmd. The program is looked up in PATH, as the
// host sees it. A caller that sets Env keeps what is in it already; extra files begin at descriptor 6.
func (h *Host) Command(ctx context.Context, argv ...string) *exec.Cmd {
	h.mu.Lock()
	defer h.mu.Unlock()
	cmd := exec.CommandContext(ctx, self)
	cmd.Args = append([]string{intoName, h.spec.Name}, argv...)
	cmd.Env = h.Environment(os.Environ())
	cmd.ExtraFiles = h.spaces.files()
	return cmd
}

// Environment is the given one as the host has it: what leads out of the lab is gone, PATH leads to the programs under
// test.
func (h *Host) Environment(env []string) []string {
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	env = slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, value, _ := strings.Cut(entry, "=")
		if name == "PATH" && value != "" {
			path = value
		}
		// These lead to the machine's own services, which are none of the host's.
		return slices.Contains([]string{"PATH", envStage, envHost, "NOTIFY_SOCKET", "XDG_RUNTIME_DIR"}, name)
	})
	if h.bin != "" {
		path = h.bin + ":" + path
	}
	return append(env, "PATH="+path, envStage+"="+stageHost, envHost+"="+h.spec.Name)
}

// Do calls f on a thread that is on the host: sockets that it opens are the host's, paths are what the host sees. Not
// so in goroutines that f starts.
func (h *Host) Do(f func() error) error {
	h.mu.Lock()
	spaces := h.spaces
	h.mu.Unlock()
	return onFreshThread(func() error {
		if err := spaces.enter(); err != nil {
			return err
		}
		return f()
	})
}
