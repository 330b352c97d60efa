package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Lab is the internet and its hosts. It belongs to one goroutine; its hosts may be used by several.
type Lab struct {
	hosts []*Host
	lans  []*segment
}

// New builds the topology around this program, which Enter has put into the router's namespace.
func New(t Topology) (*Lab, error) {
	specs, err := t.resolved()
	if err != nil {
		return nil, fmt.Errorf("topology: %w", err)
	}
	if !Inside() {
		return nil, errors.New("a lab needs lab.Enter (in tests: labtest.Main) before it")
	}
	bin, err := filepath.Abs(t.Bin)
	if t.Bin == "" || err != nil {
		bin = ""
	}
	if err := routerSettings().apply(); err != nil {
		return nil, err
	}
	l := &Lab{}
	for _, name := range t.LANs {
		s, err := newSegment(name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("building LAN %s: %w", name, err), l.Close())
		}
		l.lans = append(l.lans, s)
	}
	for _, spec := range specs {
		h := &Host{spec: spec, bin: bin, lan: l.lan(spec.LAN.Segment)}
		l.hosts = append(l.hosts, h)
		if err := h.build(); err != nil {
			return nil, errors.Join(fmt.Errorf("building host %s: %w", spec.Name, err), l.Close())
		}
	}
	return l, nil
}

// Close ends all processes on the hosts and takes away what New has built.
func (l *Lab) Close() error {
	var problems []error
	for _, h := range l.hosts {
		problems = append(problems, h.remove())
	}
	for _, s := range l.lans {
		problems = append(problems, s.network.Close())
	}
	return errors.Join(append(problems, removeFaults())...)
}

// Host returns the host of that name, nil if there is none.
func (l *Lab) Host(name string) *Host {
	i := slices.IndexFunc(l.hosts, func(h *Host) bool { return h.spec.Name == name })
	if i < 0 {
		return nil
	}
	return l.hosts[i]
}

// Hosts are in the order of the topology.
func (l *Lab) Hosts() []*Host { return slices.Clone(l.hosts) }

// WriteLogs writes the logs of all daemons of all hosts, for a test that has failed.
func (l *Lab) WriteLogs(w io.Writer) {
	for _, h := range l.hosts {
		logs, err := filepath.Glob(h.dir("log") + "/*.log")
		if err != nil {
			continue // only a malformed pattern
		}
		for _, path := range logs {
			text, err := os.ReadFile(path)
			if err != nil {
				text = []byte(err.Error())
			}
			fmt.Fprintf(w, "--- %s on %s\n%s\n", filepath.Base(path), h.Name(), text)
		}
	}
}

// build makes a host from nothing: its disk, then what a reboot makes anew.
func (h *Host) build() error {
	for _, dir := range []string{"disk", "log"} {
		if err := os.MkdirAll(h.dir(dir), 0o755); err != nil {
			return err
		}
	}
	if err := mountTmpfs(h.dir("disk"), "mode=0755,size=256m"); err != nil {
		return err
	}
	return h.boot()
}

// remove is build the other way round; it copes with a half-built host.
func (h *Host) remove() error {
	err := h.halt()
	if err := unix.Unmount(h.dir("disk"), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmounting the disk of %s: %v", h.Name(), err)
	}
	return errors.Join(err, os.RemoveAll(h.dir("")))
}
