package farm

import (
	"errors"
	"net"
	"net/netip"

	"golang.zx2c4.com/wireguard/conn"
)

// A socket carries one packet at a time. wireguard-go's own receives 128, for which every device keeps 8 MB ready.
type socket struct{ conn *net.UDPConn }

// Open listens. The socket belongs to the network of the calling thread.
func (s *socket) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: int(port)})
	if err != nil {
		return nil, 0, err
	}
	s.conn = c
	receive := func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		n, from, err := c.ReadFromUDPAddrPort(packets[0])
		if err != nil {
			return 0, err
		}
		sizes[0], eps[0] = n, endpoint{netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
		return 1, nil
	}
	return []conn.ReceiveFunc{receive}, uint16(c.LocalAddr().(*net.UDPAddr).Port), nil
}

// Close ends what Open gave.
func (s *socket) Close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}

// SetMark marks nothing.
func (s *socket) SetMark(uint32) error { return nil }

// Send sends one packet after the other.
func (s *socket) Send(bufs [][]byte, ep conn.Endpoint) error {
	to, ok := ep.(endpoint)
	if !ok {
		return errors.New("an endpoint of another socket")
	}
	for _, b := range bufs {
		if _, err := s.conn.WriteToUDPAddrPort(b, to.at); err != nil {
			return err
		}
	}
	return nil
}

// ParseEndpoint reads ADDRESS:PORT.
func (s *socket) ParseEndpoint(text string) (conn.Endpoint, error) {
	at, err := netip.ParseAddrPort(text)
	return endpoint{at}, err
}

// BatchSize is one.
func (s *socket) BatchSize() int { return 1 }

// An endpoint is an address and nothing else.
type endpoint struct{ at netip.AddrPort }

// ClearSrc has nothing to forget.
func (endpoint) ClearSrc() {}

// SrcToString is empty.
func (endpoint) SrcToString() string { return "" }

// SrcIP is none.
func (endpoint) SrcIP() netip.Addr { return netip.Addr{} }

// DstToString is ADDRESS:PORT.
func (e endpoint) DstToString() string { return e.at.String() }

// DstToBytes is what cookies are made from.
func (e endpoint) DstToBytes() []byte {
	b, _ := e.at.MarshalBinary() // which never fails
	return b
}

// DstIP is the address.
func (e endpoint) DstIP() netip.Addr { return e.at.Addr() }
