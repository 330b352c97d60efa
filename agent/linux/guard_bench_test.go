package linux

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// crowded is the plan of a host with 500 peers to which every twentieth of 1,000 flows leads, from hosts, labels, sites and prefixes.
func crowded(t testing.TB) peers.Plan {
	t.Helper()
	p := planFor(500)
	own := []netip.Prefix{netip.PrefixFrom(p.Self.Address, 32), netip.PrefixFrom(p.Self.Address6, 128)}
	for i := range p.Peers {
		p.Peers[i].Site = fmt.Sprintf("site-%d", i%20)
		p.Peers[i].Labels = map[string]string{"role": fmt.Sprintf("role-%d", i%50)}
	}
	p.Gate = &peers.Gate{Version: peers.GateVersion, Policy: true}
	for n := range 50 {
		i := 20*n + n%4
		var from peers.Selector
		switch i % 4 {
		case 0:
			from = peers.Selector{Kind: peers.SelectHost, Name: fmt.Sprintf("host%d", i%500)}
		case 1:
			from = peers.Selector{Kind: peers.SelectLabel, Name: "role", Value: fmt.Sprintf("role-%d", i%50)}
		case 2:
			from = peers.Selector{Kind: peers.SelectSite, Name: fmt.Sprintf("site-%d", i%20)}
		default:
			from = peers.Selector{Kind: peers.SelectPrefix, Prefix: netip.MustParsePrefix(fmt.Sprintf("10.90.%d.0/24", 1+i%2))}
		}
		port := uint16(1000 + i)
		p.Gate.Rules = append(p.Gate.Rules, peers.GateRule{
			Flow: i + 1, From: []peers.Selector{from}, To: own,
			Allow: []peers.Service{{Protocol: peers.TCP, Ports: peers.Ports{First: port, Last: port}}},
		})
	}
	return p
}

// twoGuards are that of a plan, and one that differs in a flow: what is there already is not replaced.
func twoGuards(p *peers.Plan) (out [2]peers.Step) {
	for i, service := range []peers.Service{p.Gate.Rules[0].Allow[0], {Protocol: peers.ICMP}} {
		p.Gate.Rules[0].Allow = []peers.Service{service}
		out[i] = peers.SetGuard{Guard: p.CompileGuard(peers.GuardOptions{})}
	}
	return out
}

// BenchmarkSetGuard replaces the guard of a host to which every twentieth of 1,000 flows leads from 500 hosts.
func BenchmarkSetGuard(b *testing.B) {
	k := newKernel(b)
	plan := crowded(b)
	steps := twoGuards(&plan)
	for n := 0; b.Loop(); n++ {
		if err := k.Apply(b.Context(), steps[n%2:][:1]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCompileGuard makes that guard from the plan.
func BenchmarkCompileGuard(b *testing.B) {
	plan := crowded(b)
	for b.Loop() {
		if plan.CompileGuard(peers.GuardOptions{}).IsEmpty() {
			b.Fatal("empty")
		}
	}
}

// BenchmarkSetGuardWhole is the same where all of 1,000 flows lead to the host.
func BenchmarkSetGuardWhole(b *testing.B) {
	k, plan := newKernel(b), wholly(b)
	steps := twoGuards(&plan)
	for n := 0; b.Loop(); n++ {
		if err := k.Apply(b.Context(), steps[n%2:][:1]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSetGuardAlike is the same where all flows have one network for a source, so that one class has all ports. Beside
// the time it tells what the processors had to do for it, and the fastest.
func BenchmarkSetGuardAlike(b *testing.B) {
	k, plan := newKernel(b), wholly(b)
	for i := range plan.Gate.Rules {
		r := &plan.Gate.Rules[i]
		r.From, r.Allow = []peers.Selector{{Kind: peers.SelectPrefix, Prefix: netip.MustParsePrefix("10.90.0.0/16")}}, r.Allow[:1]
	}
	steps := twoGuards(&plan)
	fastest, before := time.Hour, usedProcessors(b)
	for n := 0; b.Loop(); n++ {
		start := time.Now()
		if err := k.Apply(b.Context(), steps[n%2:][:1]); err != nil {
			b.Fatal(err)
		}
		fastest = min(fastest, time.Since(start))
	}
	b.ReportMetric(float64((usedProcessors(b)-before).Microseconds())/float64(b.N), "CPU-µs/op")
	b.ReportMetric(float64(fastest.Microseconds()), "fastest-µs")
}

func usedProcessors(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
