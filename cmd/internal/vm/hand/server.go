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
	boot  *boot
	flood flood

	mu    sync.Mutex
	flows map[string]*flow
	echos map[netip.AddrPort]bool
	watch *watch
}

// Errands are what a guest does by itself from its start.
type Errands struct {
	First netip.AddrPort   // whose first answer it waits for; nobody's if zero
	Flood []netip.AddrPort // to which it sends without end
}

// NewServer begins with the errands.
func NewServer(e Errands) *Server {
	s := &Server{flows: map[string]*flow{}, echos: map[netip.AddrPort]bool{}, boot: newBoot(e.First)}
	go s.boot.watch()
	for _, to := range e.Flood {
		go s.flood.send(to, s.boot.networked)
	}
	return s
}

// Serve works for whoever is at the other end of the port, until it is closed.
func (s *Server) Serve(port io.ReadWriteCloser) error {
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
