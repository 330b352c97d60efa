package linux

import (
	"strings"
	"testing"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
)

// TestDrops has firewalls of all kinds, and asks what becomes of a handshake at port 51820.
func TestDrops(t *testing.T) {
	const (
		input = "add table inet fw; add chain inet fw in { type filter hook input priority 0; policy drop; }; "
		open  = "add table inet fw; add chain inet fw in { type filter hook input priority 0; policy accept; }; "
	)
	for name, c := range map[string]struct{ rules, want string }{
		"none":                              {"", ""},
		"a policy":                          {input, "inet fw in policy"},
		"a policy, and the port is open":    {input + "add rule inet fw in udp dport 51820 accept", ""},
		"a policy, and another is open":     {input + "add rule inet fw in udp dport 51821 accept", "inet fw in policy"},
		"a policy, and a set of ports":      {input + "add rule inet fw in udp dport { 53, 51820 } accept", ""},
		"a policy, and a set without it":    {input + "add rule inet fw in udp dport { 53, 123 } accept", "inet fw in policy"},
		"a policy, and TCP is open":         {input + "add rule inet fw in tcp dport 51820 accept", "inet fw in policy"},
		"a policy, and answers may come":    {input + "add rule inet fw in ct state established,related accept", "inet fw in policy"},
		"a policy, and all new may come":    {input + "add rule inet fw in ct state new accept", ""},
		"a policy, and some may come":       {input + "add rule inet fw in ip saddr 192.0.2.0/24 accept", ""},
		"a policy, and the loopback may":    {input + "add rule inet fw in iifname lo accept; add rule inet fw in iif lo accept", "inet fw in policy"},
		"a policy, and a link may":          {input + "add rule inet fw in iifname eth0 accept", ""},
		"a policy, and links may":           {input + `add rule inet fw in iifname "eth*" accept`, ""},
		"all but the loopback":              {open + "add rule inet fw in iifname != lo drop", "inet fw in rule"},
		"a rule":                            {open + "add rule inet fw in udp dport 51820 counter drop", "inet fw in rule"},
		"a rule for a range":                {open + "add rule inet fw in udp dport >= 50000 drop", "inet fw in rule"},
		"a rule that rejects":               {open + "add rule inet fw in meta l4proto udp reject", "inet fw in rule"},
		"a rule for another port":           {open + "add rule inet fw in udp dport 51821 drop", ""},
		"a rule for some":                   {open + "add rule inet fw in ip saddr 192.0.2.9 udp dport 51820 drop", ""},
		"a rule that is too late":           {open + "add rule inet fw in udp dport 51820 accept; add rule inet fw in drop", ""},
		"a rule in another chain":           {open + "add chain inet fw strict; add rule inet fw strict drop; add rule inet fw in meta l4proto udp jump strict", "inet fw strict rule"},
		"another chain that lets it go on":  {open + "add chain inet fw mild; add rule inet fw mild tcp dport 22 accept; add rule inet fw in jump mild; add rule inet fw in drop", "inet fw in rule"},
		"a table of IPv4":                   {"add table ip filter; add chain ip filter INPUT { type filter hook input priority 0; policy drop; }", "ip filter INPUT policy"},
		"a table of IPv6":                   {"add table ip6 filter; add chain ip6 filter INPUT { type filter hook input priority 0; policy drop; }", ""},
		"before all":                        {"add table inet fw; add chain inet fw raw { type filter hook prerouting priority raw; policy accept; }; add rule inet fw raw meta l4proto udp drop", "inet fw raw rule"},
		"only what leaves":                  {"add table inet fw; add chain inet fw out { type filter hook output priority 0; policy drop; }", ""},
		"a chain that is called like ours":  {"add table inet fw; add chain inet fw arrive { type filter hook prerouting priority mangle; policy drop; }", "inet fw arrive policy"},
		"a table that is called like ours":  {"add table ip warren; add chain ip warren in { type filter hook input priority 0; policy drop; }", "ip warren in policy"},
		"jumps to what is called like ours": {open + "add chain inet fw asked; add rule inet fw asked drop; add rule inet fw in jump asked", "inet fw asked rule"},
	} {
		t.Run(name, func(t *testing.T) {
			nettest.Alone(t)
			if c.rules != "" {
				nft(t, c.rules)
			}
			g := openGuard()
			defer func() {
				if err := g.close(); err != nil {
					t.Error(err)
				}
			}()
			k := &Kernel{guard: g}
			if err := k.setGuard(strict()); err != nil {
				t.Fatal(err)
			}
			chain, by, err := Drops(51820)
			if got := strings.TrimSpace(chain + " " + by); got != c.want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// strict is a guard that has all there is: it keeps in what is for the mesh, and lets in by a policy.
func strict() peers.Guard {
	p := planFor(1)
	p.Gate = &peers.Gate{Version: 1, Policy: true, Rules: []peers.GateRule{{
		Flow: 1, From: []peers.Selector{{Kind: peers.SelectHost, Name: "host0"}}, To: prefixes("10.90.0.1/32"),
		Allow: []peers.Service{{Protocol: peers.AnyProtocol}},
	}}}
	return p.CompileGuard(peers.GuardOptions{})
}
