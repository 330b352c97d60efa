package main

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/warren-mesh/warren/agent/linux/nettest"
)

// TestSend hears what the network says of a datagram.
func TestSend(t *testing.T) {
	nettest.Alone(t)
	open, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	listens, ok := open.LocalAddr().(*net.UDPAddr)
	if !ok {
		t.Fatal("no UDP")
	}
	for to, want := range map[string]error{
		listens.String():  nil,
		"127.0.0.1:9":     syscall.ECONNREFUSED,
		"198.51.100.1:9":  syscall.ENETUNREACH,
		"[2001:db8::1]:9": syscall.ENETUNREACH,
	} {
		if err := send(t.Context(), netip.MustParseAddrPort(to)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", to, err, want)
		}
	}
}

// TestResolve has a name that never resolves, and one that always does.
func TestResolve(t *testing.T) {
	nettest.Alone(t)
	if err := resolve(t.Context(), "controller.invalid"); err == nil {
		t.Error("it resolves")
	}
	if err := resolve(t.Context(), "localhost"); err != nil {
		t.Error(err)
	}
}
