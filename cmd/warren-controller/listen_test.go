package main

import (
	"net"
	"slices"
	"testing"
)

func TestAdvertisedAddresses(t *testing.T) {
	got, err := checkAdvertised([]string{
		"controller.example.com", "203.0.113.5:8443", "[2001:db8::1]:7443",
		"[2001:db8::2]",
	}, ":7443")
	want := []string{"controller.example.com:7443", "203.0.113.5:8443", "[2001:db8::1]:7443", "[2001:db8::2]:7443"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v %v, want %v", got, err, want)
	}
}

func TestRoutableAddresses(t *testing.T) {
	bound := &net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 7443}
	if got, err := routable(bound); err != nil || !slices.Equal(got, []string{"192.0.2.7:7443"}) {
		t.Errorf("bound to one address: %v %v", got, err)
	}
	got, err := routable(&net.TCPAddr{IP: net.IPv6unspecified, Port: 7443})
	if err != nil || len(got) > maxAdvertised {
		t.Errorf("bound to all: %v %v", got, err)
	}
	for _, a := range got {
		host, port, err := net.SplitHostPort(a)
		ip := net.ParseIP(host)
		if err != nil || port != "7443" || ip == nil || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
			t.Errorf("%s cannot be reached from elsewhere", a)
		}
	}
	for link, want := range map[string]bool{
		"eth0": false, "docker0": true, "br-1234": true, "br0": false,
		"wrn0": true, "vethab": true,
	} {
		if internal(link) != want {
			t.Errorf("link %s leads only inside: %v, want %v", link, !want, want)
		}
	}
}
