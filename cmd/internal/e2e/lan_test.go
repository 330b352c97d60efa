package e2e

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/lab/labtest"
	"github.com/warren-mesh/warren/cmd/internal/tap"
)

// The LANs of the shop, with a till, and of the warehouse, with an ERP. Their gateways have the first addresses, and the
// machines, which know nothing of the mesh, the tenth.
var (
	shopLAN      = lanOf("shop", "10.10.0", "fd10:1")
	warehouseLAN = lanOf("warehouse", "10.20.0", "fd20:1")
)

// A lan is one site's network in both families.
type lan struct {
	name             string
	net4, net6       netip.Prefix
	machine4, gate4  netip.Addr
	machine6, gate6  netip.Addr
	gateway, machine string
}

func lanOf(name, net4, net6 string) lan {
	return lan{
		name: name, gateway: name, machine: map[string]string{"shop": "till", "warehouse": "erp"}[name],
		net4: netip.MustParsePrefix(net4 + ".0/24"), net6: netip.MustParsePrefix(net6 + "::/64"),
		gate4: netip.MustParseAddr(net4 + ".1"), gate6: netip.MustParseAddr(net6 + "::1"),
		machine4: netip.MustParseAddr(net4 + ".10"), machine6: netip.MustParseAddr(net6 + "::10"),
	}
}

func (l lan) hosts() []lab.HostSpec {
	at := func(a, b netip.Addr) []netip.Prefix {
		return []netip.Prefix{netip.PrefixFrom(a, l.net4.Bits()), netip.PrefixFrom(b, l.net6.Bits())}
	}
	return []lab.HostSpec{
		{Name: l.gateway, LAN: lab.LANLink{Segment: l.name, Addresses: at(l.gate4, l.gate6)}},
		{Name: l.machine, LAN: lab.LANLink{
			Segment: l.name, Addresses: at(l.machine4, l.machine6), Only: true, Via: []netip.Addr{l.gate4, l.gate6},
		}},
	}
}

// startLANs is a mesh of the shop and the warehouse, with their LANs behind them.
func startLANs(t testing.TB) *mesh {
	t.Helper()
	bin, err := filepath.Abs("../../../bin")
	if err != nil {
		t.Fatal(err)
	}
	topology := lab.Topology{Bin: bin, Hosts: []lab.HostSpec{{Name: lab.DefaultController}}}
	for _, l := range []lan{shopLAN, warehouseLAN} {
		topology.LANs = append(topology.LANs, l.name)
		topology.Hosts = append(topology.Hosts, l.hosts()...)
	}
	l := labtest.New(t, topology)
	lm, err := lab.StartMesh(t.Context(), l, lab.MeshOptions{Progress: func(line string) { t.Log(line) }})
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{Mesh: lm, t: t, lab: l}
	for _, l := range []lan{shopLAN, warehouseLAN} {
		m.must(lab.DefaultController, "site", "add", l.name, "--gateway", l.gateway, "--prefix", l.net4.String(),
			"--prefix", l.net6.String())
	}
	m.allUp(1)
	forwardIPv6(t, m.lab, shopLAN.gateway, warehouseLAN.gateway)
	return m
}

// forwardIPv6 does for gateways what is their operator's business before Linux 6.17, where there is one switch for all links.
func forwardIPv6(t testing.TB, l *lab.Lab, gateways ...string) {
	t.Helper()
	for _, g := range gateways {
		if err := l.Host(g).Do(func() error {
			if _, err := os.Stat("/proc/sys/net/ipv6/conf/lo/force_forwarding"); err == nil {
				return nil
			}
			return os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0)
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// A flood is datagrams with a text, of which all that arrive are counted. They go on until it ends, whatever the network
// says to them.
type flood struct {
	name, text     string
	client, server *net.UDPConn
	stop           chan struct{}
	running        sync.WaitGroup
	sent, arrived  atomic.Int64
}

// pour starts a flood from a host to a host that has the address.
func pour(t testing.TB, from, to *lab.Host, at netip.AddrPort, text string) *flood {
	t.Helper()
	f := &flood{name: from.Name() + " to " + at.Addr().String(), text: text, stop: make(chan struct{})}
	where := net.UDPAddrFromAddrPort(at)
	if err := to.Do(func() (err error) {
		f.server, err = net.ListenUDP("udp", where)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.server.Close() })
	f.running.Go(func() {
		buf := make([]byte, 256)
		for {
			if _, err := f.server.Read(buf); err != nil {
				return
			}
			f.arrived.Add(1)
		}
	})
	f.running.Go(func() { f.send(from, where) })
	return f
}

// send opens a socket whenever there is none: without a way none can be had.
func (f *flood) send(from *lab.Host, where *net.UDPAddr) {
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			if f.client != nil {
				_ = f.client.Close()
			}
			return
		case <-tick.C:
		}
		if f.client == nil {
			if err := from.Do(func() (err error) {
				f.client, err = net.DialUDP("udp", nil, where)
				return err
			}); err != nil {
				f.client = nil
				f.sent.Add(1) // it would have
				continue
			}
		}
		_, err := f.client.Write([]byte(f.text)) // whether it may is what is measured
		if n := f.sent.Add(1); err != nil || n%20 == 0 {
			_ = f.client.Close() // it has an address that may be gone, or one from before there was another way
			f.client = nil
		}
	}
}

func (f *flood) end() {
	close(f.stop)
	_ = f.server.Close()
	f.running.Wait()
}

// more waits until more of the flood arrives: the tunnel carries.
func (f *flood) more(t testing.TB) {
	t.Helper()
	have := f.arrived.Load()
	until(t, patience, f.name+" arrives", func() bool { return f.arrived.Load() > have+20 })
}

// watchPlain taps the links of the internet. What it gives ends that, and gives the packets that hold the text.
func (m *mesh) watchPlain(text string, links ...string) (plain func() tap.LinkReport) {
	m.t.Helper()
	watch, err := tap.Open(tap.Options{
		Links: links, WireGuard: []uint16{51820, 51821}, Content: []string{text},
		Controller: []netip.AddrPort{netip.AddrPortFrom(m.lab.Host(lab.DefaultController).IPv4(), 7443)},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return func() tap.LinkReport {
		m.t.Helper()
		r, err := watch.Close()
		if err != nil {
			m.t.Fatal(err)
		}
		return r.Total()
	}
}
