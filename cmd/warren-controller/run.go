package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/warren-mesh/warren/cmd/internal/daemon"
	"github.com/warren-mesh/warren/cmd/internal/socket"
	"github.com/warren-mesh/warren/cmd/internal/version"
	"github.com/warren-mesh/warren/controller"
	"github.com/warren-mesh/warren/controller/api"
	"github.com/warren-mesh/warren/controller/ledger"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/pin"
)

// gcPercent keeps the heap near to what is live: the controller's is mostly buffers of idle streams, which
// cost little to collect and a lot to keep twice.
const gcPercent = 30

// options are the flags of run.
type options struct {
	dataDir   string
	socket    string
	listen    string
	advertise []string
	name      string
	overlay   string
}

func runCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "run", Short: "Run the controller", Args: cobra.NoArgs,
		Example: "  warren-controller run --advertise controller.example.com:7443\n" +
			"  warren-controller run --data-dir ./state --socket ./controller.sock --listen 127.0.0.1:7443",
	}
	f := cmd.Flags()
	f.StringVar(&o.dataDir, "data-dir", "/var/lib/warren-controller", "`FOLDER` of the database")
	f.StringVar(&o.socket, "socket", "/run/warren-controller/controller.sock", "unix socket for admins on this machine")
	f.StringVar(&o.listen, "listen", ":7443", "`ADDRESS:PORT` for hosts and for admins elsewhere")
	f.StringSliceVar(&o.advertise, "advertise", nil, "`HOST:PORT` at which hosts find this controller; "+
		"may be given several times (default: the addresses of this machine)")
	f.StringVar(&o.name, "name", controller.DefaultName, "name of the mesh; at the first start only")
	f.StringVar(&o.overlay, "overlay", controller.DefaultOverlay().String(),
		"IPv4 range of the mesh; at the first start only")
	settings := daemon.Bind(cmd, "WARREN_CONTROLLER_", "/etc/warren/controller.yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := settings.Logger(cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		s, err := o.settings(cmd)
		if err != nil {
			return err
		}
		return run(cmd.Context(), o, s, log)
	}
	return cmd
}

// settings checks the flags before anything is touched. Name and overlay are only set where somebody
// gave them, so that the defaults never contradict a mesh that exists.
func (o *options) settings(cmd *cobra.Command) (controller.Settings, error) {
	s := controller.Settings{Version: version.Short()}
	overlay, err := netip.ParsePrefix(o.overlay)
	if err != nil {
		return s, daemon.Usage("--overlay %q: want a prefix such as %v", o.overlay, controller.DefaultOverlay())
	}
	if cmd.Flags().Changed("name") {
		s.Name = o.name
	}
	if cmd.Flags().Changed("overlay") {
		s.Overlay = overlay
	}
	if s.Advertise, err = checkAdvertised(o.advertise, o.listen); err != nil {
		return s, err
	}
	return s, nil
}

// run puts the parts together: database, doors, controller. What fails here has not touched anything
// that a later start would miss.
func run(ctx context.Context, o options, s controller.Settings, log *slog.Logger) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if err := os.MkdirAll(o.dataDir, 0o700); err != nil {
		return hinted(fmt.Errorf("make the data directory: %w", err), "give --data-dir a folder that this user may write to")
	}
	db, err := ledger.Open(filepath.Join(o.dataDir, "warren.db"), ledger.Options{})
	if err != nil {
		return err
	}
	defer closing(log, "database", db)
	// Both doors are open before the first start makes a mesh, so that a taken port leaves nothing behind.
	local, err := listenLocal(o.socket)
	if err != nil {
		return err
	}
	defer closing(log, "socket", local)
	remote, err := listenRemote(ctx, o.listen)
	if err != nil {
		return err
	}
	defer closing(log, "listener", remote)
	if len(s.Advertise) == 0 {
		if s.Advertise, err = routable(remote.Addr()); err != nil {
			return err
		}
		if len(s.Advertise) == 0 {
			log.Warn("no other machine can reach this one: hosts can only enrol with --advertise HOST:PORT")
		}
	}
	c, err := controller.Open(ctx, db, db, s, log)
	if err != nil {
		return err
	}
	return serve(ctx, c, local, remote, log)
}

// serve runs the controller and both servers until ctx ends or one of them fails.
func serve(ctx context.Context, c *controller.Controller, local, remote net.Listener, log *slog.Logger) error {
	cert, err := pin.Certificate(rand.Reader, c.Identity().Signer())
	if err != nil {
		return err
	}
	a := api.New(api.Backend{
		Tokens: c, Hosts: c, Mesh: c, Policies: c, Sites: c, Declared: c, Rotation: c, Admins: c, Audit: c, Schedule: c,
		Metrics:   c,
		Enrolment: c, Agents: c,
	}, log)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.Run(ctx) })
	serveHTTP(ctx, group, a.Local(whoIs), local)
	hosts := api.NewListener(remote, cert, log)
	c.OnRekey(func(k key.IdentityKey) { present(hosts, k, log) })
	serveHTTP(ctx, group, a.Remote(), hosts)
	inv := c.Inventory()
	log.Info("controller ready", "mesh", inv.Mesh.Name, "revision", uint64(inv.Revision), "hosts", len(inv.Hosts),
		"listen", remote.Addr().String(), "socket", local.Addr().String())
	daemon.Ready(log)
	daemon.Watchdog(ctx, log, c.Alive)
	<-ctx.Done()
	daemon.Stopping(log)
	err = group.Wait()
	log.Info("controller stopped")
	return err
}

// present shows a new identity of the controller to whoever connects from now on.
func present(l *api.Listener, k key.IdentityKey, log *slog.Logger) {
	cert, err := pin.Certificate(rand.Reader, k.Signer())
	if err != nil {
		log.Error("cannot show the new identity", "error", err)
		return
	}
	l.Present(cert)
}

// serveHTTP runs one server. When ctx ends, streams end with it, and other requests have a moment to finish.
func serveHTTP(ctx context.Context, group *errgroup.Group, srv *http.Server, l net.Listener) {
	srv.BaseContext = func(net.Listener) context.Context { return ctx }
	group.Go(func() error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if srv.Shutdown(end) != nil {
			return srv.Close()
		}
		return nil
	})
}

func closing(log *slog.Logger, what string, c interface{ Close() error }) {
	if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		log.Warn("cannot close", "what", what, "error", err)
	}
}

// whoIs tells what the process at the other end of the unix socket may do.
func whoIs(conn net.Conn) (api.Caller, error) {
	c, err := socket.CallerOf(conn)
	if err != nil {
		return api.Caller{}, err
	}
	r := c.Rights()
	return api.Caller{Name: r.Name, Read: r.Read, Write: r.Write}, nil
}
