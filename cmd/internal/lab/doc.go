// Package lab builds a small internet on one machine: hosts that are network and mount namespaces, each on a
// subnet of its own, joined by a router namespace. What runs on them are real processes.
//
// The program that wants a lab (warren-lab, or a test binary) re-executes itself once in new mount, network and PID
// namespaces, and in a user namespace unless it has the rights already. It then *is* in the router's namespace. When
// it ends in whatever way, kill -9 included, the kernel takes everything else away: process 1 of the PID namespace is
// a tiny reaper that cannot outlive it.
//
//	         program (router, "internet")
//	198.51.100.1/29 │ 192.0.2.1/29 │ 203.0.113.1/29      links here: shop, warehouse, controller
//	       ┌────────┴───┐ ┌────────┴───┐ ┌─┴──────────┐
//	       │ shop       │ │ warehouse  │ │ controller │   link there: eth0, default routes to the router
//	       │ /run  own  │ │ /run  own  │ │ …          │
//	       │ /var/lib … │ │ /var/lib … │ │            │
//	       └────────────┘ └────────────┘ └────────────┘
//
// LANs are bridges in namespaces of their own. A host on one has a second link, lan0, or only that one; the LAN's port
// to it is named after the host.
//
//	lab.Topology{LANs: []string{"stock"}, Hosts: []lab.HostSpec{
//		{Name: "warehouse", LAN: lab.LANLink{Segment: "stock", Addresses: prefixes("10.20.0.2/24")}},
//		{Name: "erp", LAN: lab.LANLink{Segment: "stock", Addresses: prefixes("10.20.0.9/24"), Only: true,
//			Via: addresses("10.20.0.2")}},
//	}}
//
// A test package needs a TestMain and nothing installed but /dev/net/tun:
//
//	func TestMain(m *testing.M) { labtest.Main(m) }
//
//	func TestPing(t *testing.T) {
//		l := labtest.New(t, lab.Topology{Hosts: []lab.HostSpec{{Name: "shop"}, {Name: "warehouse"}}})
//		shop := l.Host("shop")
//		out, err := shop.Command(t.Context(), "some-program", l.Host("warehouse").IPv4().String()).CombinedOutput()
//		…
//		daemon, err := shop.Start("server", "some-server", "--flag")
//		err = daemon.Ready(t.Context()) // waits for READY=1, as systemd does
//		err = shop.Cut()                // the internet link falls silent, both ways
//		err = shop.Restore()
//		err = shop.Reboot()             // processes, /run and the interfaces are gone; /var/lib is there
//	}
//
// One program has one lab at a time: link names and addresses are the router's.
package lab
