package doctor_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/peers"
)

// forwarding is a gateway of a site that knows another site, and forwards.
func forwarding(t *testing.T) *patient {
	t.Helper()
	p := healthy()
	gateway(p)
	p.plan.Sites = append(p.plan.Sites, peers.PlanSite{
		Name: "accounting", Gateways: []peers.HostID{"w"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.30.0.0/24")},
	})
	p.state.Foreign = []peers.Foreign{
		{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Link: "eth0"},
		{Prefix: netip.MustParsePrefix("10.20.0.0/24"), Link: "lan0", Connected: true},
	}
	return p
}

// TestForwardedIsDropped names the chain of somebody else that stands between the LAN and other sites, once a direction.
func TestForwardedIsDropped(t *testing.T) {
	docker := [2]string{"ip filter FORWARD", "policy"}
	for _, c := range []struct {
		name   string
		infect func(p *patient)
		want   []string // what findings of the firewall say, beside that of handshakes
	}{
		{"nothing", func(*patient) {}, []string{"ok no rule of nftables drops for certain what this host forwards"}},
		{"docker", func(p *patient) {
			p.forwards = map[string][2]string{
				"10.20.0.0/24 10.30.0.0/24 lan0 wrn1": docker, "10.30.0.0/24 10.20.0.0/24 wrn1 lan0": docker,
				"10.20.0.0/24 10.90.0.0/16 lan0 wrn1": docker, "10.90.0.0/16 10.20.0.0/24 wrn1 lan0": docker,
			}
		}, []string{
			"failed what this host forwards from 10.20.0.0/24 on lan0 to 10.30.0.0/24 on wrn1 is dropped in table ip filter, chain FORWARD, by its policy",
			"failed what this host forwards from 10.30.0.0/24 on wrn1 to 10.20.0.0/24 on lan0 is dropped in table ip filter, chain FORWARD, by its policy",
		}},
		{"a rule about the mesh alone", func(p *patient) {
			p.forwards = map[string][2]string{"10.90.0.0/16 10.20.0.0/24 wrn1 lan0": {"inet fw pass", "rule"}}
		}, []string{
			"failed what this host forwards from 10.90.0.0/16 on wrn1 to 10.20.0.0/24 on lan0 is dropped in table inet fw, chain pass, by a rule",
		}},
		{"rules that cannot be read", func(p *patient) { p.unread = errors.New("EPERM") }, []string{
			"skipped the rules of this host cannot be read: EPERM",
		}},
		{"no gateway", func(p *patient) { p.plan.Sites[0].Gateways = p.plan.Sites[0].Gateways[:1] }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := forwarding(t)
			c.infect(p)
			var got []string
			for _, f := range p.examine(t) {
				if f.Check == "firewall" && !strings.Contains(f.Message, "handshakes") {
					got = append(got, f.Result+" "+f.Message)
					if f.Result == "failed" && !strings.Contains(f.Hint, "accept") {
						t.Errorf("the hint is %q", f.Hint)
					}
				}
			}
			if len(got) != len(c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], c.want[i]) {
					t.Errorf("got %q, want %q", got[i], c.want[i])
				}
			}
		})
	}
}
