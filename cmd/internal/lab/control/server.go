package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// A Backend is the lab behind the socket. Its methods are called from several goroutines.
type Backend interface {
	// Command prepares the command of a request on its host.
	Command(ctx context.Context, r Request) (*exec.Cmd, error)
	// Status is anything that can be written as JSON.
	Status() any
}

// Serve answers callers until one of them wants the lab to end, or ctx is done; both return nil. The listener is
// closed then.
func Serve(ctx context.Context, listener net.Listener, b Backend) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		if err != nil && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("waiting for callers: %v", err)
		}
		caller, ok := conn.(*net.UnixConn)
		if !ok {
			return errors.Join(errors.New("a lab listens on unix sockets only"), conn.Close())
		}
		go func() {
			if serveOne(ctx, caller, b) {
				end() // and leave the connection open: the caller sees the lab's end by its
				return
			}
			_ = caller.Close()
		}()
	}
}

// serveOne answers one caller and reports whether the lab is to end. A caller that went away is told nothing.
func serveOne(ctx context.Context, conn *net.UnixConn, b Backend) bool {
	streams, err := receiveStreams(conn)
	if err != nil {
		return false
	}
	defer closeStreams(streams)
	events := json.NewDecoder(conn)
	var r Request
	if err := events.Decode(&r); err != nil {
		return false
	}
	switch {
	case r.Down:
		return true
	case len(r.Argv) == 0:
		status, err := json.Marshal(b.Status())
		answer(conn, reply{Status: status}, err)
	default:
		code, err := runCommand(ctx, r, streams, events, b)
		answer(conn, reply{Exit: &code}, err)
	}
	return false
}

func answer(conn *net.UnixConn, r reply, err error) {
	if err != nil {
		r = reply{Error: err.Error()}
	}
	_ = json.NewEncoder(conn).Encode(r) // fails if the caller is gone
}

// runCommand runs a caller's command on a host and returns its exit code.
func runCommand(ctx context.Context, r Request, streams []*os.File, events *json.Decoder, b Backend) (int, error) {
	if len(streams) != 3 {
		return 0, fmt.Errorf("a command needs three streams, not %d", len(streams))
	}
	cmd, err := b.Command(ctx, r)
	if err != nil {
		return 0, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = streams[0], streams[1], streams[2]
	if _, err := os.Stat(r.Dir); err == nil {
		cmd.Dir = r.Dir // else the caller is in a place that the lab does not show
	}
	// A session of its own: signals go to the command and what it has started, and a terminal can be its.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: r.Terminal}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	closeStreams(streams) // or the caller's pipes would have two owners
	ended := make(chan struct{})
	go passSignals(events, cmd.Process.Pid, ended)
	_ = cmd.Wait() // how it ended is in its state
	close(ended)
	return lab.ExitCode(cmd.ProcessState), nil
}

// passSignals passes a caller's signals on to the command's session. When the caller is gone, that hangs up.
func passSignals(events *json.Decoder, session int, ended <-chan struct{}) {
	for {
		event := signalled{Signal: int(syscall.SIGHUP)}
		err := events.Decode(&event)
		select {
		case <-ended:
			return
		default:
		}
		_ = syscall.Kill(-session, syscall.Signal(event.Signal)) // fails if it has just ended
		if err != nil {
			return
		}
	}
}
