package linux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	nl "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"

	"github.com/warren-mesh/warren/peers"
)

// The backends: who does the encryption.
const (
	Auto      = "auto"      // the kernel if it has WireGuard, otherwise tunnel processes
	InKernel  = "kernel"    // WireGuard of the kernel
	Userspace = "userspace" // a tunnel process for each interface
	None      = "none"      // interfaces are only removed: what it takes to make one is not asked for
)

// Tunnels starts tunnel processes, for kernels without WireGuard.
type Tunnels interface {
	// Start returns when the interface exists, down and without a key, and its socket answers. The
	// process outlives the caller and ends when the interface is deleted.
	Start(ctx context.Context, name string, mtu int) error
	// Hold is called before an interface is deleted, and end afterwards: it returns when the process of
	// the interface has ended, and ends one that hangs.
	Hold(name string) (end func(context.Context) error)
}

// Options say how New gets at the kernel.
type Options struct {
	Backend string  // Auto if empty
	Tunnels Tunnels // needed for Userspace
	Log     *slog.Logger
	// Guard is what the agent before this one says that it has left, nil for nothing. If the table still is that, a
	// change of it keeps what setGuard says must be kept.
	Guard *peers.Guard
}

// A Kernel is the host's real network. It works in the network namespace in which New was called; one
// goroutine at a time may use it, except Watch and Writes.
type Kernel struct {
	log     *slog.Logger
	tunnels Tunnels
	backend string
	rt      *netlink.Handle
	bulk    *nl.Conn // rtnetlink as well, for many messages at once
	wg      *wgctrl.Client
	uapi    *patience
	guard   *guard
	ways    *ways
	routing *routing
	known   map[string]driven // links found during the present Apply
	unread  map[string]error  // links that the last Observe could not read, and why
	writes  atomic.Uint64
}

// New opens the way to the kernel and decides on the backend for interfaces that are made from now on. An
// error says what the host lacks. Nothing on the host is changed, except that looking for WireGuard
// creates an interface and deletes it at once.
func New(o Options) (*Kernel, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	rt, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %v", err)
	}
	ways, err := newWays()
	if err != nil {
		rt.Close()
		return nil, err
	}
	// Without strict checks the kernel sends the routes of all tables, of which one is wanted. Kernels
	// before 4.20 do not know the option, and what they send too much is left out here as well.
	_ = rt.SetStrictCheck(true)
	k := &Kernel{
		log: o.Log, tunnels: o.Tunnels, rt: rt, uapi: newPatience(answerWithin), ways: ways, routing: newRouting(),
		known: map[string]driven{}, unread: map[string]error{},
	}
	if k.backend, err = k.choose(o.Backend); err != nil {
		k.closeRoutes()
		return nil, err
	}
	k.guard = openGuard()
	k.guard.laid = o.Guard
	// Only now: the probe has made the kernel load its module, whose family the client looks up once.
	if k.wg, err = wgctrl.New(); err != nil {
		k.closeRoutes()
		return nil, errors.Join(fmt.Errorf("open the WireGuard configuration: %v", err), k.guard.close())
	}
	if k.bulk, err = nl.Dial(unix.NETLINK_ROUTE, nil); err != nil {
		k.closeRoutes()
		return nil, errors.Join(fmt.Errorf("open rtnetlink: %v", err), k.wg.Close(), k.guard.close())
	}
	return k, nil
}

// Close lets go of the kernel and leaves everything as it is.
func (k *Kernel) Close() error {
	k.closeRoutes()
	return errors.Join(k.bulk.Close(), k.wg.Close(), k.guard.close())
}

func (k *Kernel) closeRoutes() {
	k.rt.Close()
	k.ways.rt.Close()
}

// Backend is InKernel or Userspace: what interfaces are made with. An interface made with the other one
// is kept and used as it is.
func (k *Kernel) Backend() string { return k.backend }

// Writes counts the messages so far that set anything, wherever they went and whether or not they were
// obeyed. Where nothing differs, it stands still.
func (k *Kernel) Writes() uint64 { return k.writes.Load() }

// wrote counts a message that sets something.
func (k *Kernel) wrote(err error) error {
	k.writes.Add(1)
	return err
}

// retries is how often a dump is asked for again that the kernel says was changed under way.
const retries = 10

// dump repeats a request until the answer is consistent.
func dump[T any](ask func() (T, error)) (out T, err error) {
	for range retries {
		if out, err = ask(); !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return out, err
}
