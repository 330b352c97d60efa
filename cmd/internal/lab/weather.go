package lab

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Weather is what a bad line does to packets, in each direction.
type Weather struct {
	Loss          float32 // percent
	Delay, Jitter time.Duration
	Reorder       float32 // percent that overtake the others; needs a delay
}

// Disturb gives the line between the host and the internet a weather. A kernel without netem answers ENOENT.
func (h *Host) Disturb(w Weather) error {
	add := func(name string) error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("link %s: %v", name, err)
		}
		at := netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
		netem := netlink.NewNetem(at, netlink.NetemQdiscAttrs{
			Loss: w.Loss, Latency: uint32(w.Delay.Microseconds()), Jitter: uint32(w.Jitter.Microseconds()), ReorderProb: w.Reorder,
		})
		if err := netlink.QdiscReplace(netem); err != nil {
			return fmt.Errorf("netem on %s: %w", name, err)
		}
		return nil
	}
	if err := add(h.spec.Name); err != nil {
		return err
	}
	return h.Do(func() error { return add(uplink) })
}

// Calm undoes Disturb.
func (h *Host) Calm() error {
	remove := func(name string) error {
		netem, err := netemOf(name)
		if netem == nil || err != nil {
			return err
		}
		return netlink.QdiscDel(netem)
	}
	return errors.Join(remove(h.spec.Name), h.Do(func() error { return remove(uplink) }))
}

// Dropped is how many packets the weather has dropped so far, in both directions.
func (h *Host) Dropped() (n uint64, err error) {
	count := func(name string) error {
		netem, err := netemOf(name)
		if err != nil || netem == nil {
			return errors.Join(err, fmt.Errorf("%s has no weather", name))
		}
		if s := netem.Attrs().Statistics; s != nil && s.Queue != nil {
			n += uint64(s.Queue.Drops)
		}
		return nil
	}
	if err := count(h.spec.Name); err != nil {
		return 0, err
	}
	return n, h.Do(func() error { return count(uplink) })
}

// netemOf is the weather on a link of the calling thread's namespace, nil where there is none.
func netemOf(name string) (netlink.Qdisc, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("link %s: %v", name, err)
	}
	list, err := netlink.QdiscList(link)
	if err != nil {
		return nil, fmt.Errorf("queues of %s: %v", name, err)
	}
	for _, q := range list {
		if q.Type() == "netem" {
			return q, nil
		}
	}
	return nil, nil
}

// NoNetem reports whether an error of Disturb says that this machine's kernel has no netem.
func NoNetem(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) }
