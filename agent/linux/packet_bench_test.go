package linux

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// A burst is how many packets are sent before the next lane has its turn: a few milliseconds of them, in which the rest
// of the machine does not change much.
const burst = 1000

// measuredPort is the port of a flow in the middle of all others.
const measuredPort = 10_500

// BenchmarkGuardPacket says what a packet of a connection that is open costs the processor, from the call that sends it
// to the other host's socket, in three lanes that take turns: no rule at all, a table that only asks for the state of
// connections, and the guard of a host with 1,000 flows. It counts the processor's time and not the clock's, so it may
// run beside others. The medians over all rounds are told: -benchtime 200x makes 200. A packet of a tunnel itself is
// measured beside it, which is none of the mesh and passes every chain as well.
func BenchmarkGuardPacket(b *testing.B) {
	w := newWalled(b)
	plan := wholly(b)
	plan.Peers[0].Prefixes = prefixes("10.90.0.2/32", "fd00:90::2/128")
	guarded := plan.CompileGuard(peers.GuardOptions{})
	lanes := []struct {
		name string
		set  func() error
	}{
		{"none", func() error { return w.kernel.Apply(b.Context(), []peers.Step{peers.DelGuard{}}) }},
		{"tracked", func() error {
			if err := w.kernel.Apply(b.Context(), []peers.Step{peers.DelGuard{}}); err != nil {
				return err
			}
			return w.track()
		}},
		{"guarded", func() error { return w.kernel.Apply(b.Context(), []peers.Step{peers.SetGuard{Guard: guarded}}) }},
	}
	asker, server := w.talk("10.90.0.2", "10.90.0.1", measuredPort)
	nettest.Cable(b, w.asks, "eth1", w.hears, "eth1")
	w.asks.AddressOn("eth1", netip.MustParsePrefix("192.0.2.2/24"))
	w.hears.AddressOn("eth1", netip.MustParsePrefix("192.0.2.1/24"))
	there, here := w.talk("192.0.2.2", "192.0.2.1", peers.DefaultPort)
	ways := []struct {
		name string
		from *net.UDPConn
	}{{"asked", asker}, {"answered", server}, {"tunnel-in", there}, {"tunnel-out", here}}
	took := map[string][]float64{}
	for b.Loop() {
		for i := range lanes {
			if err := lanes[i].set(); err != nil {
				b.Fatal(err)
			}
			for _, from := range []*net.UDPConn{asker, server, there, here} { // who asks comes first, and is answered
				send(b, from, 10)
			}
			for _, way := range ways {
				key := lanes[i].name + "-" + way.name
				took[key] = append(took[key], send(b, way.from, burst))
			}
		}
	}
	for key, all := range took {
		b.ReportMetric(middle(all), key+"-ns/packet")
	}
	for _, w := range ways {
		way := w.name
		b.ReportMetric(middle(less(took["tracked-"+way], took["none-"+way])), "tracking-"+way+"-ns/packet")
		b.ReportMetric(middle(less(took["guarded-"+way], took["none-"+way])), "guard-"+way+"-ns/packet")
	}
}

// less is what each is more than its neighbour in the same round.
func less(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] - b[i]
	}
	return out
}

func middle(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// talk opens a connection of UDP from the host that asks, which has been answered.
func (w *walled) talk(from, to string, port int) (asker, server *net.UDPConn) {
	w.t.Helper()
	var err error
	at := &net.UDPAddr{IP: net.ParseIP(to), Port: port}
	w.asks.Do(func() { asker, err = net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from), Port: 40_000}, at) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = asker.Close() })
	w.hears.Do(func() { server, err = net.DialUDP("udp", at, asker.LocalAddr().(*net.UDPAddr)) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = server.Close() })
	return asker, server
}

// send sends some packets, and gives the processor's time for one in nanoseconds.
func send(b *testing.B, from *net.UDPConn, packets int) float64 {
	b.Helper()
	raw, err := from.SyscallConn()
	if err != nil {
		b.Fatal(err)
	}
	packet := make([]byte, 1200)
	var cost float64
	err = raw.Control(func(fd uintptr) {
		start := processorTime(b)
		for range packets {
			_, _ = unix.Write(int(fd), packet)
		}
		cost = float64(processorTime(b)-start) / float64(packets)
	})
	if err != nil {
		b.Fatal(err)
	}
	return cost
}

// processorTime is what the thread has had of a processor, with what the kernel did for it.
func processorTime(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// track makes a table that lets packets of open connections pass, as every firewall does first.
func (w *walled) track() (err error) {
	w.hears.Do(func() {
		var conn *nftables.Conn
		if conn, err = nftables.New(); err != nil {
			return
		}
		table := conn.AddTable(&nftables.Table{Name: peers.GuardTable, Family: nftables.TableFamilyINet})
		for name, at := range map[string]*nftables.ChainHook{"in": nftables.ChainHookInput, "out": nftables.ChainHookOutput} {
			chain := hook(name, at, *nftables.ChainPriorityFilter)
			chain.Table = table
			conn.AddChain(&chain.Chain)
			exprs := append(connection(expr.CtStateBitESTABLISHED), then(expr.VerdictAccept, "")...)
			conn.AddRule(&nftables.Rule{Table: table, Chain: &chain.Chain, Exprs: exprs})
		}
		err = conn.Flush()
	})
	return err
}

// wholly is the plan of a host with 500 peers to which all of 1,000 flows lead.
func wholly(t testing.TB) peers.Plan {
	const flows = 1000
	plan := crowded(t)
	some := plan.Gate.Rules
	plan.Gate.Rules = nil
	for i := range flows {
		r, port := some[i%len(some)], peers.Ports{First: uint16(10_000 + i), Last: uint16(10_000 + i)}
		r.Flow, r.Allow = i+1, []peers.Service{{Protocol: peers.TCP, Ports: port}, {Protocol: peers.UDP, Ports: port}}
		if port.First == measuredPort {
			r.From = []peers.Selector{{Kind: peers.SelectHost, Name: "host0"}}
		}
		plan.Gate.Rules = append(plan.Gate.Rules, r)
	}
	if at := netip.MustParseAddr("10.90.0.2"); plan.Peers[0].Prefixes[0].Contains(at) {
		t.Fatalf("%v is a peer's already", at)
	}
	return plan
}
