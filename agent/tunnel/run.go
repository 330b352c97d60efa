package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

// readyVariable names the environment variable with the number of the descriptor on which a started
// process says that its tunnel can be configured.
const readyVariable = "WARREN_TUNNEL_READY"

const (
	readyWord = "ready\n"
	lookAfter = 2 * time.Second // how often the process looks after its socket and its port
)

// ErrRunning is returned where an interface of the name exists already. Nothing was changed.
var ErrRunning = errors.New("the interface exists already")

// Options say which tunnel Run makes.
type Options struct {
	Interface string
	MTU       int
	// Log gets what goes wrong and, at debug level, what wireguard-go does. It goes to stderr, which
	// Start makes a file.
	Log *slog.Logger
}

// Run makes the interface and serves it until the interface is deleted, SIGTERM comes or ctx ends. It
// takes the whole process: it decides on its signals, and returns only to let the process end.
func Run(ctx context.Context, o Options) error {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	limitMemory()
	comeFirst()
	ready, err := inheritedReady()
	if err != nil {
		return err
	}
	defer ready.Close()

	link, err := open(o)
	if err != nil {
		return err
	}
	socket, err := listen(ctx, SocketPath(o.Interface))
	if err != nil {
		link.Close()
		return err
	}
	dev := device.NewDevice(link, conn.NewDefaultBind(), logger(o.Log))
	defer dev.Close()
	if ready != nil {
		// Whoever started this may be gone by now, which changes nothing.
		if _, err := ready.WriteString(readyWord); err != nil {
			o.Log.Debug("nobody waits for this tunnel", "interface", o.Interface, "error", err)
		}
		ready.Close()
	}
	return serve(ctx, o.Interface, dev, socket)
}

// closeTime is how long a device may take to close.
const closeTime = 5 * time.Second

// serve returns when the device is closed, which happens by itself when its interface is deleted.
func serve(ctx context.Context, name string, dev *device.Device, socket *socket) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group errgroup.Group
	group.Go(func() error {
		defer cancel()
		select {
		case <-dev.Wait():
		case <-ctx.Done():
			// A device that hangs must not keep its process, nor its port, for ever.
			time.AfterFunc(closeTime, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) })
			dev.Close()
		}
		// Last: whoever waits for the path finds the port free as well.
		return socket.Close()
	})
	group.Go(func() error {
		socket.serve(ctx, dev.IpcHandle)
		return nil
	})
	group.Go(func() error {
		tick := time.NewTicker(lookAfter)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				look(name, dev)
				socket.renew()
			}
		}
	})
	return group.Wait()
}

// look brings the device up where its interface is up. wireguard-go tries once, when the interface comes
// up, and stays down for ever if its port was taken at that moment.
func look(name string, dev *device.Device) {
	if up(name) {
		// The device has logged what went wrong, and this is tried again.
		_ = dev.Up()
	}
	shorten(os.Stderr)
}

// open creates the interface. An interface that exists is never taken over, not even a persistent TUN
// device, which the kernel would hand out.
func open(o Options) (tun.Device, error) {
	if _, err := net.InterfaceByName(o.Interface); err == nil {
		return nil, fmt.Errorf("%s: %w", o.Interface, ErrRunning)
	}
	link, err := tun.CreateTUN(o.Interface, o.MTU)
	switch {
	case err == nil:
		return link, nil
	case errors.Is(err, unix.EBUSY):
		return nil, fmt.Errorf("%s: %w", o.Interface, ErrRunning)
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("create %s: %v: this needs CAP_NET_ADMIN and leave to open /dev/net/tun", o.Interface, err)
	default:
		return nil, fmt.Errorf("create %s with /dev/net/tun: %v", o.Interface, err)
	}
}

// up asks for the flags of one interface, which is cheaper than any list of them.
func up(name string) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return false
	}
	return unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request) == nil && request.Uint16()&unix.IFF_UP != 0
}

// inheritedReady is the descriptor on which Start waits; nil where the program was started by hand.
func inheritedReady() (*os.File, error) {
	text := os.Getenv(readyVariable)
	if text == "" {
		return nil, nil
	}
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q: want the number of a descriptor", readyVariable, text)
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "ready"), nil
}
