package tap

import (
	"bytes"
	"net/netip"
	"testing"
)

func testRules() rules {
	return rules{
		wireguard:  []uint16{51820, 51821},
		controller: []netip.AddrPort{netip.MustParseAddrPort("203.0.113.2:7443")},
		longest:    1472,
	}
}

const (
	shop       = "198.51.100.2"
	warehouse  = "192.0.2.2"
	shop6      = "2001:db8:1::2"
	warehouse6 = "2001:db8:2::2"
)

// wg is a datagram between two tunnels.
func wg(payload []byte) []byte { return udp(shop+":51820", warehouse+":51821", payload) }

func TestKindOfOnePacket(t *testing.T) {
	arpRequest := join([]byte{0, 1, 8, 0, 6, 4, 0, 1}, make([]byte, 20))
	neighbour := join([]byte{135, 0, 0, 0}, make([]byte, 28))
	for _, c := range []struct {
		name  string
		frame []byte
		kind  Kind
		n     int
		sort  string
	}{
		{"initiation", wg(message(1, 148)), Handshake, 1, ""},
		{"response", wg(message(2, 92)), Handshake, 1, ""},
		{"cookie", wg(message(3, 64)), Handshake, 1, ""},
		{"keepalive", wg(message(4, 32)), Data, 1, ""},
		{"data", wg(message(4, 128)), Data, 1, ""},
		{"data as long as the MTU allows", wg(message(4, 1452)), Data, 1, ""},
		{"data over IPv6", udp("["+shop6+"]:51820", "["+warehouse6+"]:51820", message(4, 96)), Data, 1, ""},
		{"offloaded data", wg(join(dataMessage(9, 1452), dataMessage(10, 1452), dataMessage(12, 80))), Data, 3, ""},

		{"initiation one byte longer", wg(message(1, 149)), Other, 1, ""},
		{"response one byte shorter", wg(message(2, 91)), Other, 1, ""},
		{"data without padding", wg(message(4, 130)), Other, 1, ""},
		{"data that cannot be any", wg(message(4, 16)), Other, 1, ""},
		{"unknown message", wg(message(5, 64)), Other, 1, ""},
		{"reserved byte", wg([]byte{4, 0, 1, 0, 28: 0, 31: 0}), Other, 1, ""},
		{"empty datagram", wg(nil), Other, 1, ""},
		{"plain text to a tunnel's port", wg([]byte("POST /orders HTTP/1.1")), Other, 1, ""},
		{"data from another port", udp(shop+":9999", warehouse+":51820", message(4, 32)), Other, 1, ""},
		{"data to another port", udp(shop+":51820", warehouse+":9999", message(4, 32)), Other, 1, ""},
		{"text behind offloaded data", wg(join(dataMessage(9, 1452), message('x', 1000))), Other, 1, ""},
		{"too long for one packet", wg(dataMessage(9, 4096)), Other, 1, ""},
		{
			"a foreign piece in offloaded data",
			wg(join(dataMessage(9, 1452), dataMessage(10, 1452), dataMessage(9000, 1452))), Other, 1, "",
		},
		{"offloaded data of somebody else", wg(join(dataMessage(9, 1452), dataMessage(9000, 1452))), Other, 1, ""},

		{"ARP", ethernet(etherARP, arpRequest), Housekeeping, 1, "ARP"},
		{"ARP padded", ethernet(etherARP, join(arpRequest, make([]byte, 18))), Housekeeping, 1, "ARP"},
		{"ARP with something behind it", ethernet(etherARP, join(arpRequest, []byte("order"))), Other, 1, ""},
		{"ARP of an unknown sort", ethernet(etherARP, make([]byte, 28)), Other, 1, ""},
		{"neighbour", ip(protoICMPv6, 255, shop6, warehouse6, neighbour), Housekeeping, 1, "neighbour discovery"},
		{"neighbour from afar", ip(protoICMPv6, 64, shop6, warehouse6, neighbour), Other, 1, ""},
		{
			"router solicitation", ip(protoICMPv6, 255, shop6, "ff02::2", []byte{133, 0, 0, 0, 0, 0, 0, 0}),
			Housekeeping, 1, "router discovery",
		},
		{
			"multicast report behind a hop-by-hop option",
			ip(0, 1, "fe80::1", "ff02::16", join([]byte{protoICMPv6, 0, 5, 2, 0, 0, 1, 0}, []byte{143, 0, 0, 0, 0, 0, 0, 0})),
			Housekeeping, 1, "multicast membership",
		},
		{"IGMP", ip(protoIGMP, 1, shop, "224.0.0.22", make([]byte, 8)), Housekeeping, 1, "multicast membership"},
		{"echo request", ip(protoICMP, 64, shop, warehouse, []byte{8, 0, 0, 0, 0, 1, 0, 1}), Other, 1, ""},
		{"echo request of IPv6", ip(protoICMPv6, 64, shop6, warehouse6, []byte{128, 0, 0, 0, 0, 1, 0, 1}), Other, 1, ""},

		{"HTTP", tcp(shop+":40000", warehouse+":8080", 1, flagACK, []byte("POST")), Other, 1, ""},
		{"DNS", udp(shop+":5353", "192.0.2.53:53", make([]byte, 40)), Other, 1, ""},
		{"controller's port elsewhere", tcp(shop+":40000", warehouse+":7443", 1, flagSYN, nil), Other, 1, ""},
		{"to the controller", tcp(shop+":40000", "203.0.113.2:7443", 1, flagSYN, nil), Control, 1, ""},
		{"from the controller", tcp("203.0.113.2:7443", shop+":40000", 1, flagSYN|flagACK, nil), Control, 1, ""},
		{"UDP to the controller", udp(shop+":40000", "203.0.113.2:7443", message(1, 148)), Other, 1, ""},
		{"unknown protocol", ip(132, 64, shop, warehouse, make([]byte, 20)), Other, 1, ""},
		{"unknown EtherType", ethernet(0x88cc, make([]byte, 40)), Other, 1, ""},
		{"nothing", nil, Other, 1, ""},
		{"half a header", []byte{1, 2, 3}, Other, 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := decodeFrame(c.frame)
			if kind, n, sort := testRules().kind(p); kind != c.kind || n != c.n || sort != c.sort {
				t.Errorf("%v: %s × %d %q, want %s × %d %q", p, kind, n, sort, c.kind, c.n, c.sort)
			}
		})
	}
}

// TestFragmentsProveNothing turns packets that are fine into fragments of themselves.
func TestFragmentsProveNothing(t *testing.T) {
	first, later := wg(message(4, 32)), wg(message(4, 32))
	first[etherHeader+6] = 0x20 // more fragments
	later[etherHeader+7] = 2    // offset
	six := ip(44, 64, shop6, warehouse6, join([]byte{protoUDP, 0, 0, 1, 0, 0, 0, 9}, make([]byte, 64)))
	for _, frame := range [][]byte{first, later, six} {
		p := decodeFrame(frame)
		if kind, _, _ := testRules().kind(p); kind != Other || p.fault != "(fragment)" {
			t.Errorf("%v is %s", p, kind)
		}
	}
}

// TestNothingHidesBehindADatagram: the packet is longer than its datagram says it is.
func TestNothingHidesBehindADatagram(t *testing.T) {
	frame := wg(join(message(4, 32), []byte("1 × tea, 12.90 €")[:16]))
	const lengthAt = etherHeader + 20 + 4
	frame[lengthAt+1] = 8 + 32
	if kind, _, _ := testRules().kind(decodeFrame(frame)); kind != Other {
		t.Errorf("it is %s", kind)
	}
}

// TestHalfAFrameProvesNothing cuts a good frame at every place: none of what is left may pass for what it was.
func TestHalfAFrameProvesNothing(t *testing.T) {
	for _, frame := range [][]byte{
		wg(message(1, 148)), tcp(shop+":40000", "203.0.113.2:7443", 1, flagSYN, nil),
		udp("["+shop6+"]:51820", "["+warehouse6+"]:51820", message(4, 96)),
		ip(protoICMPv6, 255, shop6, warehouse6, make([]byte, 32)),
	} {
		for length := range frame {
			if kind, _, _ := testRules().kind(decodeFrame(frame[:length])); kind != Other {
				t.Fatalf("%d of %d bytes are %s", length, len(frame), kind)
			}
		}
	}
}

func TestErrorsQuoteWhatIsAllowed(t *testing.T) {
	quote := func(kind byte, frame []byte, length int) []byte {
		inner := frame[etherHeader:]
		b := join([]byte{kind, 3, 0, 0, 0, 0, 0, 0}, inner[:min(length, len(inner))])
		if kind == 3 {
			return ip(protoICMP, 64, warehouse, shop, b)
		}
		return ip(protoICMPv6, 64, warehouse6, shop6, b)
	}
	tunnel6 := udp("["+shop6+"]:51820", "["+warehouse6+"]:51820", message(4, 96))
	control := tcp(shop+":40000", "203.0.113.2:7443", 1, flagSYN, nil)
	for _, c := range []struct {
		name  string
		frame []byte
		kind  Kind
	}{
		{"handshake", quote(3, wg(message(1, 148)), 548), Housekeeping},
		{"data cut short", quote(3, wg(message(4, 1452)), 548), Housekeeping},
		{"data, IPv6", quote(1, tunnel6, 1232), Housekeeping},
		{"control", quote(3, control, 28), Housekeeping},
		{"text to a tunnel's port", quote(3, wg([]byte("order A-1: 3 × tea")), 548), Other},
		{"other port", quote(3, udp(shop+":51820", warehouse+":53", message(1, 148)), 548), Other},
		{"data cut short, other port", quote(3, udp(shop+":51820", warehouse+":53", message(4, 1452)), 548), Other},
		{"HTTP", quote(3, tcp(shop+":40000", warehouse+":8080", 1, flagSYN, nil), 548), Other},
		{"nothing", quote(3, wg(nil), 0), Other},
		{"echo reply with a quote", quote(129, tunnel6, 1232), Other},
	} {
		if kind, _, sort := testRules().kind(decodeFrame(c.frame)); kind != c.kind {
			t.Errorf("%s: %s %q, want %s", c.name, kind, sort, c.kind)
		}
	}
}

func FuzzTake(f *testing.F) {
	for _, frame := range [][]byte{
		wg(message(1, 148)), wg(join(dataMessage(9, 1452), dataMessage(10, 1452))), nil,
		tcp(shop+":40000", "203.0.113.2:7443", 7, flagSYN, record(22, 20)),
		ip(0, 1, shop6, "ff02::16", join([]byte{protoICMPv6, 0, 5, 2, 0, 0, 1, 0}, []byte{143, 0, 0, 0, 0, 0, 0, 0})),
		ip(protoICMP, 64, warehouse, shop, join([]byte{3, 3, 0, 0, 0, 0, 0, 0}, wg(message(1, 148))[etherHeader:])),
	} {
		f.Add(frame, frame)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		w := newWatch("shop", testRules(), needlesOf([]string{"secret"}))
		for _, frame := range [][]byte{first, second} {
			w.take(captured{bytes: frame, length: len(frame)})
			_ = decodeFrame(frame).String()
		}
		report := w.finish()
		if n := report.Packets.All(); n < 2 {
			t.Errorf("2 frames, but %d packets: %+v", n, report.Packets)
		}
		if plain := bytes.Contains(first, []byte("secret")); plain && report.Content == 0 {
			t.Error("content was not found")
		}
	})
}
