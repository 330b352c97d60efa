package api

import (
	"net"
	"net/netip"
	"testing"
)

// dummy is a connection from an address.
type dummy struct {
	net.Conn
	from netip.AddrPort
}

func (d dummy) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(d.from) }
func (d dummy) Close() error         { return nil }

func TestCrowd(t *testing.T) {
	var c crowd
	one := dummy{from: netip.MustParseAddrPort("192.0.2.1:1")}
	mapped := dummy{from: netip.MustParseAddrPort("[::ffff:192.0.2.1]:2")}
	var first net.Conn
	for i := range maxFromOne {
		conn, ok := c.admit(one)
		if !ok {
			t.Fatalf("connection %d from one address is refused", i)
		}
		first = conn
	}
	for _, d := range []dummy{one, mapped} {
		if _, ok := c.admit(d); ok {
			t.Error("one address has one connection too many")
		}
	}
	_ = first.Close()
	_ = first.Close() // twice is once
	if _, ok := c.admit(mapped); !ok {
		t.Error("a place that is free again is not given away")
	}
	if _, ok := c.admit(one); ok {
		t.Error("closing twice has freed two places")
	}
	for i := 0; c.all < maxConnections; i++ {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1)
		if _, ok := c.admit(dummy{from: from}); !ok {
			t.Fatalf("refused with %d connections", c.all)
		}
	}
	if _, ok := c.admit(dummy{from: netip.MustParseAddrPort("198.51.100.1:1")}); ok {
		t.Error("there is one connection too many")
	}
}
