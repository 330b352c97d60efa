package peers_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/warren-mesh/warren/peers"
)

// bigPolicy is 500 hosts in 20 sites with a network each, labels in each host, and 1,000 flows between all
// kinds of selectors, of which the last lets a prefix ping.
func bigPolicy(b *testing.B) *peers.Inventory {
	const hosts, sites, flows = 500, 20, 1000
	inv := after(b, &peers.Inventory{}, createMesh())
	for i := range sites {
		inv = after(b, inv, createToken(fmt.Sprintf("t-%d", i), fmt.Sprintf("site-%d", i)))
	}
	for i := range hosts {
		name := fmt.Sprintf("host-%d", i)
		inv = after(b, inv, enroll(fmt.Sprintf("t-%d", i%sites), name),
			peers.LabelHost{ID: idOf(name), Set: map[string]string{"role": fmt.Sprintf("role-%d", i%50), "floor": fmt.Sprint(i % 7)}})
	}
	for i := range sites {
		inv = after(b, inv, peers.SetSite{
			Name: fmt.Sprintf("site-%d", i), Prefixes: networks(fmt.Sprintf("10.20.%d.0/24", i)), Gateways: []string{fmt.Sprintf("host-%d", i)},
		})
	}
	var p peers.Policy
	for i := range flows - 1 {
		from := []string{
			fmt.Sprintf("host:host-%d", i%hosts), fmt.Sprintf("label:role=role-%d", i%50), fmt.Sprintf("site:site-%d", i%sites),
			fmt.Sprintf("10.90.%d.0/24", i%2),
		}[i%4]
		to := []string{
			fmt.Sprintf("label:floor=%d", i%7), fmt.Sprintf("host:host-%d", (i*7)%hosts), fmt.Sprintf("10.20.%d.0/25", i%sites),
		}[i%3]
		p.Flows = append(p.Flows, flow(fmt.Sprintf("%s %s tcp/%d,udp/%d", from, to, 1000+i, 2000+i%100)))
	}
	p.Flows = append(p.Flows, flow("10.90.0.0/16 * icmp"))
	return after(b, inv, peers.SetPolicy{Policy: p})
}

// BenchmarkPlans compiles the plans of all 500 hosts under 1,000 flows.
func BenchmarkPlans(b *testing.B) {
	inv := bigPolicy(b)
	for b.Loop() {
		if n := len(inv.Planner().Plans()); n != 500 {
			b.Fatal(n)
		}
	}
}

// BenchmarkFilters compiles what all 500 hosts let in, on the hosts themselves.
func BenchmarkFilters(b *testing.B) {
	plans := bigPolicy(b).Planner().Plans()
	for b.Loop() {
		for i := range plans {
			if plans[i].Filter() == nil {
				b.Fatal("no filter")
			}
		}
	}
}

// BenchmarkFlowChanges tells what a flow more opens.
func BenchmarkFlowChanges(b *testing.B) {
	inv := bigPolicy(b)
	more := *inv.Policy
	more.Flows = append(slices.Clip(more.Flows), flow("host:host-1 host:host-2 tcp/1"))
	next := after(b, inv, peers.SetPolicy{Policy: more})
	for b.Loop() {
		if n := len(peers.FlowChanges(inv, next)); n != 1 {
			b.Fatal(n)
		}
	}
}

// BenchmarkSetPolicy validates and records the policy.
func BenchmarkSetPolicy(b *testing.B) {
	inv := bigPolicy(b)
	c := change(peers.SetPolicy{Policy: *inv.Policy})
	for b.Loop() {
		if _, _, err := inv.Record(c); err != nil {
			b.Fatal(err)
		}
	}
}
