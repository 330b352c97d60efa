package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// A Client is a connection to a running lab, for one request.
type Client struct {
	conn *net.UnixConn
}

// Close ends the connection, and with it a command that still runs.
func (c *Client) Close() error { return c.conn.Close() }

// Status asks for the lab's status and decodes it into v. A lab that still starts answers when it is up.
func (c *Client) Status(v any) error {
	r, err := c.ask(Request{})
	if err != nil {
		return err
	}
	return json.Unmarshal(r.Status, v)
}

// Down tells the lab to end and returns when its outermost process, the one that listened, has ended: it is the last.
func (c *Client) Down(deadline time.Time) error {
	outermost, err := c.listener()
	if err != nil {
		return fmt.Errorf("looking for the lab's process: %v", err)
	}
	defer closeStreams([]*os.File{outermost})
	if err := c.conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := c.ask(Request{Down: true}); err != nil && !errors.Is(err, ErrEnded) {
		return err
	}
	return lab.AwaitEnd(outermost, deadline)
}

// listener is a pidfd of the process that made the lab's socket listen.
func (c *Client) listener() (*os.File, error) {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	controlErr := raw.Control(func(conn uintptr) {
		var peer *unix.Ucred
		if peer, err = unix.GetsockoptUcred(int(conn), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			fd, err = unix.PidfdOpen(int(peer.Pid), 0)
		}
	})
	if err := errors.Join(controlErr, err); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "process"), nil
}

// Exec runs the command of the request with the given streams and returns its exit code. Signals to this process are
// passed on meanwhile. Where the streams are a terminal, the command gets one of its own, which this one shows.
func (c *Client) Exec(r Request, stdin, stdout, stderr *os.File) (int, error) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	streams, handedOver := []*os.File{stdin, stdout, stderr}, func() {}
	if isTerminal(stdin) && isTerminal(stdout) {
		screen, err := openScreen(stdin, stdout)
		if err != nil {
			return 0, err
		}
		defer screen.close()
		r.Terminal = true
		streams, handedOver = screen.streams(stderr), screen.handedOver
	}
	if err := sendStreams(c.conn, streams...); err != nil {
		return 0, err
	}
	handedOver()
	requests := json.NewEncoder(c.conn)
	if err := requests.Encode(r); err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			if number, ok := s.(syscall.Signal); ok {
				_ = requests.Encode(signalled{Signal: int(number)}) // fails when the command has ended
			}
		}
	}()
	answer, err := c.reply()
	if err == nil && answer.Exit == nil {
		err = errors.New("the lab has answered without an exit code: is it of another version?")
	}
	if err != nil {
		return 0, err
	}
	return *answer.Exit, nil
}

// ask sends a request without streams and waits for the reply.
func (c *Client) ask(r Request) (reply, error) {
	if err := sendStreams(c.conn); err != nil {
		return reply{}, err
	}
	if err := json.NewEncoder(c.conn).Encode(r); err != nil {
		return reply{}, err
	}
	return c.reply()
}

func (c *Client) reply() (reply, error) {
	var answer reply
	err := json.NewDecoder(c.conn).Decode(&answer)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return reply{}, ErrEnded
	case err != nil:
		return reply{}, err
	case answer.Error != "":
		return reply{}, errors.New(answer.Error)
	}
	return answer, nil
}
