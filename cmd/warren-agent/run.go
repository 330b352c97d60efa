package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/agent"
	"github.com/warren-mesh/warren/agent/doctor"
	"github.com/warren-mesh/warren/agent/linux"
	"github.com/warren-mesh/warren/agent/local"
	"github.com/warren-mesh/warren/agent/probe"
	"github.com/warren-mesh/warren/agent/store"
	"github.com/warren-mesh/warren/agent/tunnel"
	"github.com/warren-mesh/warren/cmd/internal/daemon"
	"github.com/warren-mesh/warren/cmd/internal/socket"
	"github.com/warren-mesh/warren/cmd/internal/version"
	"github.com/warren-mesh/warren/peers"
)

// keepAlive notices a controller whose machine is gone even where no stream is open.
const keepAlive = 30 * time.Second

// credentialToken is the credential of the unit with which a host enrols itself at its first start.
const credentialToken = "warren.token"

// run puts the agent together and runs it until ctx ends. No tunnel ends with it.
func run(ctx context.Context, o *options, log *slog.Logger) (err error) {
	pinned, err := o.pinned()
	if err != nil {
		return err
	}
	if o.backend != linux.Auto && o.backend != linux.InKernel && o.backend != linux.Userspace {
		return daemon.Usage("--backend %q: want auto, kernel or userspace", o.backend)
	}
	if err := o.checkGuard(); err != nil {
		return err
	}
	files, err := store.Open(o.dataDir)
	if err != nil {
		return explain(err, o)
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	listener, err := socket.Listen(o.socket)
	if err != nil {
		return explain(err, o)
	}
	defer listener.Close()
	kernel := &lateKernel{log: log, options: linux.Options{
		Backend: o.backend, Tunnels: tunnel.Starter{LogDir: o.dataDir}, Log: log, Guard: guardOf(files),
	}}
	defer func() { err = errors.Join(err, kernel.close()) }()
	if _, err := kernel.open(); err != nil {
		log.Error("this host cannot have tunnels yet", "error", err)
	}
	name, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name of this machine: %v", err)
	}
	prober := probe.New(log)
	defer prober.Close()
	a := agent.New(agent.Config{
		Kernel: kernel, Store: files, Prober: prober, Watcher: prober, Neighbours: &linux.Neighbours{}, Log: log,
		Hostname: name, Version: version.String(),
		Dial: (&net.Dialer{KeepAlive: keepAlive}).DialContext, Port: o.port, Pinned: pinned,
		Addresses: agent.LocalAddresses, Counters: kernel.Counters,
		NoFirewall: o.firewall == off, NoLeakGuard: o.leakGuard == off,
		Doctor: &doctor.Doctor{
			Prober: prober, Root: os.DirFS("/"), Tun: openTun, Free: portFree, Drops: linux.Drops,
			DropsForwarded: linux.DropsForwarded, Send: send, Resolve: resolve,
		},
	})
	return serve(ctx, a, local.New(a, a, a, log, rights), listener, log)
}

// guardOf is the guard that was in force last. Without one that can be read, the first change makes the table anew.
func guardOf(files *store.Store) *peers.Guard {
	g, err := files.Guard()
	if err != nil {
		return nil
	}
	return &g
}

// serve runs the agent and its socket until one of them ends.
func serve(ctx context.Context, a *agent.Agent, api *local.Server, l net.Listener, log *slog.Logger) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.Run(ctx) })
	group.Go(func() error {
		bootstrap(ctx, a, log)
		return nil
	})
	group.Go(func() error { return api.Serve(ctx, l) })
	group.Go(func() error {
		select {
		case <-a.Ready():
			daemon.Ready(log)
		case <-ctx.Done():
			return nil
		}
		daemon.Watchdog(ctx, log, a.Alive)
		<-ctx.Done()
		daemon.Stopping(log)
		return nil
	})
	return group.Wait()
}

// bootstrap lets the host enrol itself where its unit gives it a token.
func bootstrap(ctx context.Context, a *agent.Agent, log *slog.Logger) {
	token, err := daemon.Credential(credentialToken)
	switch {
	case err != nil:
		log.Error("this host cannot enrol itself", "error", err)
	case token != "":
		a.Bootstrap(ctx, token)
	}
}

// rights asks the kernel who calls.
func rights(conn net.Conn) (local.Rights, error) {
	caller, err := socket.CallerOf(conn)
	if err != nil {
		return local.Rights{}, err
	}
	r := caller.Rights()
	return local.Rights{Read: r.Read, Write: r.Write}, nil
}

// openTun tries what a tunnel process will do first.
func openTun() error {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := unix.IoctlGetInt(int(f.Fd()), unix.TUNGETFEATURES); err != nil {
		return fmt.Errorf("it is no TUN device: %v", err) // as in containers that put something else there
	}
	return nil
}

// portFree reports whether nobody listens on a UDP port.
func portFree(port uint16) bool {
	conn, err := net.ListenPacket("udp4", ":"+strconv.Itoa(int(port)))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// A hinted error knows what helps.
type hinted struct {
	error
	hint string
}

// Hint is what helps.
func (h hinted) Hint() string { return h.hint }

func (h hinted) Unwrap() error { return h.error }

// explain adds what helps to an error of the first moments.
func explain(err error, o *options) error {
	switch {
	case errors.Is(err, store.ErrLocked):
		return hinted{err, "stop the other one first (systemctl stop warren-agent), or use another --data-dir"}
	case errors.Is(err, socket.ErrInUse):
		return hinted{err, "stop the other one first (systemctl stop warren-agent), or use another --socket"}
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		return hinted{err, "run it as root or as the user warren-agent, who owns " + o.dataDir}
	case errors.Is(err, syscall.ENOTDIR):
		return hinted{err, "a file is in the way: move it, or give --data-dir another folder"}
	case store.IsFull(err):
		return hinted{err, "make room: df -h " + o.dataDir}
	}
	return err
}
