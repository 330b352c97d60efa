package lab

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Crash kills every process on the host, and nothing leaves it any more, but its links are still there: a tap on the
// router's stays. Reboot is how it comes back.
func (h *Host) Crash() error {
	if err := h.Do(silence); err != nil {
		return fmt.Errorf("crashing %s: %w", h.Name(), err)
	}
	h.mu.Lock()
	daemons, mounts := h.daemons, h.spaces.mounts
	h.daemons = nil
	h.mu.Unlock()
	return errors.Join(killDaemons(daemons), killAll(mounts))
}

// silence takes all links of the calling thread's namespace down.
func silence() error {
	links, err := netlink.LinkList()
	for _, link := range links {
		err = errors.Join(err, netlink.LinkSetDown(link))
	}
	return err
}

// PowerOff kills every process on the host and takes its interfaces away, as a power failure does. Reboot is how it
// comes back.
func (h *Host) PowerOff() error {
	if err := h.halt(); err != nil {
		return fmt.Errorf("halting %s: %w", h.Name(), err)
	}
	return nil
}

// Reboot kills every process on the host and gives it fresh interfaces and an empty /run. What was under /var/lib is
// there afterwards, and so are faults of the internet (Cut, Block) and of the LAN. Nothing is started. A host that is
// off is switched on.
func (h *Host) Reboot() error {
	if err := h.halt(); err != nil {
		return fmt.Errorf("halting %s: %w", h.Name(), err)
	}
	if err := h.boot(); err != nil {
		return fmt.Errorf("booting %s: %w", h.Name(), err)
	}
	return nil
}

// boot makes the host's namespaces, with its disk in them, and connects them.
func (h *Host) boot() error {
	if err := os.Mkdir(h.dir("run"), 0o755); err != nil {
		return err
	}
	var made spaces
	err := onFreshThread(func() error {
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS)
		if err != nil {
			return fmt.Errorf("making namespaces: %v", err)
		}
		if err := errors.Join(unix.Sethostname([]byte(h.spec.Name)), hostSettings().apply(), raise("lo")); err != nil {
			return err
		}
		made, err = openSpaces()
		return errors.Join(err, h.hostMounts())
	})
	h.mu.Lock()
	h.spaces = made
	h.mu.Unlock()
	if err != nil {
		return err
	}
	if h.OnInternet() {
		if err := h.plug(made.network); err != nil {
			return err
		}
		if err := h.Do(h.configureUplink); err != nil {
			return err
		}
	}
	return h.joinLAN(made.network)
}

// halt is as sudden as a power failure: processes and interfaces are gone.
func (h *Host) halt() error {
	h.mu.Lock()
	before, daemons := h.spaces, h.daemons
	h.spaces, h.daemons = spaces{}, nil
	h.mu.Unlock()
	// A daemon may still be on its way into the host's namespaces, so these are killed by name first.
	if err := killDaemons(daemons); err != nil {
		return err
	}
	if before.mounts != nil {
		if err := killAll(before.mounts); err != nil {
			return err
		}
	}
	// In this order: without its namespaces the links would go by themselves, but not at once.
	err := errors.Join(h.unplug(), h.leaveLAN())
	before.close()
	return errors.Join(err, os.RemoveAll(h.dir("run")))
}

func killDaemons(daemons []*Daemon) error {
	for _, d := range daemons {
		if err := d.Kill(); err != nil {
			return err
		}
	}
	return nil
}
