package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// An End is a host and its address in the tunnels.
type End struct {
	Host *lab.Host
	Addr netip.Addr
}

// A Path leads from one end to another.
type Path struct{ From, To End }

// String names both ends.
func (p Path) String() string { return p.From.Host.Name() + " to " + p.To.Host.Name() }

// Pairs are the paths between all ends, each in one direction only.
func Pairs(ends []End) []Path {
	var out []Path
	for i, from := range ends {
		for _, to := range ends[i+1:] {
			out = append(out, Path{from, to})
		}
	}
	return out
}

// receiveBuffer is more than a socket gets in the longest time for which a loaded machine holds up its reader.
const receiveBuffer = 16 << 20

// listenUDP opens a socket on a host. What arrives is kept for as long as its reader is held up.
func (e End) listenUDP() (*net.UDPConn, error) {
	var conn *net.UDPConn
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			// As far as this user may: forced past the limit, or up to it.
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
				failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
			}
			failed = errors.Join(failed, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
		})
		return errors.Join(err, failed)
	}}
	err := e.Host.Do(func() error {
		packets, err := config.ListenPacket(context.Background(), "udp", netip.AddrPortFrom(e.Addr, 0).String())
		if err != nil {
			return err
		}
		conn = packets.(*net.UDPConn)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("receive datagrams on %s: %v", e.Host.Name(), err)
	}
	return conn, nil
}

// listenTCP waits for connections on a host.
func (e End) listenTCP() (l net.Listener, err error) {
	err = e.Host.Do(func() error {
		l, err = net.Listen("tcp", netip.AddrPortFrom(e.Addr, 0).String())
		return err
	})
	return l, err
}

// dialPatience bounds what a connection may take: a SYN that is lost is sent again after 1, 3 and 7 s.
const dialPatience = 10 * time.Second

// dialTCP opens a connection on a host, from its address in the tunnels.
func (e End) dialTCP(to string) (conn net.Conn, err error) {
	d := net.Dialer{Timeout: dialPatience, LocalAddr: &net.TCPAddr{IP: e.Addr.AsSlice()}}
	err = e.Host.Do(func() error {
		conn, err = d.DialContext(context.Background(), "tcp", to)
		return err
	})
	return conn, err
}
