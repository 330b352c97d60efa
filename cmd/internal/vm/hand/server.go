package hand

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/rpc"
	"os/exec"
	"sync"
	"time"
)

// A Command is run in the guest as root.
type Command struct {
	Argv    []string
	Stdin   string
	Timeout time.Duration
}

// A Result is how a command ended; its code is -1 where it ran out of time or was killed.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Nothing is the answer of what only can fail.
type Nothing struct{}

// A Server is the end in the guest.
type Server struct {
	boot *boot

	mu    sync.Mutex
	flows map[string]*flow
	echos map[netip.AddrPort]bool
}

// Serve works for whoever is at the other end of the port, until it is closed. It looks for the answer of
// first from the start, unless that is the zero value.
func Serve(port io.ReadWriteCloser, first netip.AddrPort) error {
	s := &Server{flows: map[string]*flow{}, echos: map[netip.AddrPort]bool{}, boot: newBoot(first)}
	go s.boot.watch()
	server := rpc.NewServer()
	if err := server.RegisterName("Hand", s); err != nil {
		return err
	}
	server.ServeConn(port)
	return errors.New("the port was closed")
}

// Run runs a command and waits for its end.
func (*Server) Run(c Command, r *Result) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.WaitDelay = time.Second // what it left in the background may hold its output
	var out, diag bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader([]byte(c.Stdin)), &out, &diag
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return fmt.Errorf("run %v: %v", c.Argv, err)
	}
	*r = Result{Code: cmd.ProcessState.ExitCode(), Stdout: out.String(), Stderr: diag.String()}
	if ctx.Err() != nil {
		r.Stderr += fmt.Sprintf("\nnot done within %v", c.Timeout)
	}
	return nil
}

// Boot tells when the network came up and when the first answer came.
func (s *Server) Boot(_ Nothing, b *Boot) error {
	*b = s.boot.told()
	return nil
}
