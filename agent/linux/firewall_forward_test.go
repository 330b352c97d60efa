package linux

import (
	"encoding/hex"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/agent/linux/nettest"
)

// asked is what becomes of connections from a LAN to another site's, by way of a gateway.
func asked() (chain, by string, err error) {
	return DropsForwarded(netip.MustParsePrefix("10.20.0.0/24"), netip.MustParsePrefix("10.30.0.0/16"), "lan0", "wrn0")
}

// TestDropsForwarded has firewalls of all kinds on a gateway.
func TestDropsForwarded(t *testing.T) {
	const (
		closed = "add table inet fw; add chain inet fw pass { type filter hook forward priority 0; policy drop; }; "
		open   = "add table inet fw; add chain inet fw pass { type filter hook forward priority 0; policy accept; }; "
		rule   = "add rule inet fw pass "
		sub    = "add chain inet fw sub; "
	)
	for name, c := range map[string]struct{ rules, want string }{
		"none":                          {"", ""},
		"a policy":                      {closed, "inet fw pass policy"},
		"only what comes in":            {"add table inet fw; add chain inet fw in { type filter hook input priority 0; policy drop; }", ""},
		"our links are open":            {closed + rule + `oifname "wrn*" accept`, ""},
		"our link is open":              {closed + rule + "oifname wrn0 accept", ""},
		"our other link is open":        {closed + rule + "oifname wrn1 accept", "inet fw pass policy"},
		"answers may pass":              {closed + rule + "ct state established,related accept", "inet fw pass policy"},
		"answers by a map":              {closed + rule + "ct state vmap { established : accept, related : accept, invalid : drop }", "inet fw pass policy"},
		"all by a map":                  {closed + rule + "ct state vmap { established : accept, new : accept }", ""},
		"the LAN is open":               {closed + rule + "ip saddr 10.20.0.0/24 accept", ""},
		"a larger network is open":      {closed + rule + "ip saddr 10.16.0.0/12 accept", ""},
		"a part of the LAN is open":     {closed + rule + "ip saddr 10.20.0.0/25 accept", ""},
		"another LAN is open":           {closed + rule + "ip saddr 10.21.0.0/24 accept", "inet fw pass policy"},
		"networks are open":             {closed + rule + "ip saddr { 10.0.0.0/8, 192.168.0.0/16 } accept", ""},
		"other networks are open":       {closed + rule + "ip saddr { 10.21.0.0/16, 192.168.0.0/16 } accept", "inet fw pass policy"},
		"neighbouring networks":         {closed + rule + "ip saddr { 10.19.0.0/16, 10.21.0.0/16 } accept", "inet fw pass policy"},
		"a port is open":                {closed + rule + "tcp dport 5432 accept", ""},
		"UDP is open":                   {closed + rule + "udp dport 5432 accept; " + rule + "meta l4proto icmp accept", "inet fw pass policy"},
		"a rule":                        {open + rule + "ip daddr 10.30.0.0/16 counter drop", "inet fw pass rule"},
		"a rule that rejects":           {open + rule + "ip saddr 10.0.0.0/8 ip daddr 10.0.0.0/8 reject", "inet fw pass rule"},
		"a rule for a part":             {open + rule + "ip daddr 10.30.7.0/24 drop", ""},
		"a rule for all but others":     {open + rule + "ip daddr != 10.31.0.0/16 drop", "inet fw pass rule"},
		"a rule for links":              {open + rule + "iifname lan0 oifname != eth0 drop", "inet fw pass rule"},
		"a rule for links that begin":   {open + rule + `iifname "lan*" drop`, "inet fw pass rule"},
		"a rule for links that do not":  {open + rule + `iifname "wrn*" drop`, ""},
		"a rule for other links":        {open + rule + "iifname eth0 drop", ""},
		"a rule for a set of links":     {open + rule + `oifname { "wrn0", "wrn1" } drop`, "inet fw pass rule"},
		"a chain that returns":          {open + sub + "add rule inet fw sub return; add rule inet fw sub drop; " + rule + "jump sub", ""},
		"a chain that returns for some": {open + sub + "add rule inet fw sub ip daddr 10.30.7.0/24 return; add rule inet fw sub drop; " + rule + "jump sub", ""},
		"a chain that is gone to":       {open + sub + rule + "goto sub; " + rule + "drop", ""},
		"a chain that is jumped to":     {open + sub + rule + "jump sub; " + rule + "drop", "inet fw pass rule"},
		"on its way out":                {"add table inet fw; add chain inet fw post { type filter hook postrouting priority 0; policy accept; }; add rule inet fw post oifname wrn0 drop", "inet fw post rule"},
		"on its way out, by where from": {"add table inet fw; add chain inet fw post { type filter hook postrouting priority 0; policy accept; }; add rule inet fw post iifname lan0 drop", ""},
		"a table of IPv6":               {"add table ip6 fw; add chain ip6 fw pass { type filter hook forward priority 0; policy drop; }", ""},
	} {
		t.Run(name, func(t *testing.T) {
			nettest.Alone(t)
			if c.rules != "" {
				nft(t, c.rules)
			}
			chain, by, err := asked()
			if got := strings.TrimSpace(chain + " " + by); got != c.want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestDropsForwardedIPv6(t *testing.T) {
	nettest.Alone(t)
	nft(t, "add table ip6 fw; add chain ip6 fw pass { type filter hook forward priority 0; policy accept; }; "+
		"add rule ip6 fw pass ip6 nexthdr tcp ip6 saddr fd20::/48 ip6 daddr fd30::/16 drop")
	for to, want := range map[string]string{"fd30:1::/64": "ip6 fw pass rule", "fd31:1::/64": ""} {
		chain, by, err := DropsForwarded(netip.MustParsePrefix("fd20::/64"), netip.MustParsePrefix(to), "lan0", "wrn0")
		if got := strings.TrimSpace(chain + " " + by); got != want || err != nil {
			t.Errorf("to %s: got %q, %v; want %q", to, got, err, want)
		}
	}
}

// TestDropsOfFirewalls has the rules that others write, as they write them. They have to be as they were, whoever looks.
func TestDropsOfFirewalls(t *testing.T) {
	for _, c := range []struct{ name, forwarded, handshakes string }{
		{"firewalld.nft", "inet firewalld filter_FWD_public rule", "inet firewalld filter_IN_public rule"},
		{"firewalld-open.nft", "", ""},
		{"docker.iptables", "ip filter FORWARD policy", ""},
		{"docker-open.iptables", "", ""},
		{"ufw.iptables", "ip filter FORWARD policy", "ip filter INPUT policy"},
		{"ufw-open.iptables", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			nettest.Alone(t)
			load(t, c.name)
			before := nft(t, "list ruleset")
			chain, by, err := asked()
			if got := strings.TrimSpace(chain + " " + by); got != c.forwarded || err != nil {
				t.Errorf("forwarded: got %q, %v; want %q", got, err, c.forwarded)
			}
			chain, by, err = Drops(51820)
			if got := strings.TrimSpace(chain + " " + by); got != c.handshakes || err != nil {
				t.Errorf("handshakes: got %q, %v; want %q", got, err, c.handshakes)
			}
			if after := nft(t, "list ruleset"); after != before {
				t.Errorf("the rules were\n%s\nand are\n%s", before, after)
			}
		})
	}
}

// load makes the rules of a firewall.
func load(t *testing.T, name string) {
	t.Helper()
	text, argv := nettest.Rules(t, name)
	if _, err := exec.LookPath(argv[0]); err != nil {
		t.Skipf("%s is not installed; try: apt-get install nftables iptables", argv[0])
	}
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Stdin = text
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// TestMatchesOfIPTables has matches as iptables-nft 1.8.9 hands them to the kernel.
func TestMatchesOfIPTables(t *testing.T) {
	conntrack := func(flags, inverted, states string) string {
		return strings.Repeat("00", ctFlags) + flags + inverted + states + strings.Repeat("00", 16)
	}
	const fails, holds, mayHold = "fails", "holds", "may hold"
	for _, c := range []struct{ what, name, info, want string }{
		{"--ctstate RELATED,ESTABLISHED", "conntrack", conntrack("0100", "0000", "0600"), fails},
		{"--ctstate NEW", "conntrack", conntrack("0100", "0000", "0800"), holds},
		{"! --ctstate NEW", "conntrack", conntrack("0100", "0100", "0800"), fails},
		{"-m state --state NEW", "conntrack", conntrack("0120", "0000", "0800"), holds},
		{"--ctstatus", "conntrack", conntrack("0200", "0000", "0000"), mayHold},
		{"--ctstate NEW --ctstatus", "conntrack", conntrack("0300", "0000", "0800"), mayHold},
		{"of another revision", "conntrack", conntrack("0100", "0000", "0600")[:200], mayHold},
		{"-m state --state NEW, as it was", "state", "08000000", holds},
		{"-m state --state ESTABLISHED, as it was", "state", "02000000", fails},
		{"--dports 80,443", "multiport", "01025000bb01" + strings.Repeat("00", 42), mayHold},
		{"--icmp-type", "icmp", "0800ff00", fails},
		{"-p udp", "udp", "0000ffff0000ffff00000000", fails},
		{"-p tcp", "tcp", "0000ffff0000ffff00000000", holds},
		{"-p tcp --dport 80", "tcp", "0000ffff5000500000000000", mayHold},
		{"-p tcp --syn", "tcp", "0000ffff0000ffff00170200", mayHold},
		{"a comment", "comment", "", holds},
	} {
		info, err := hex.DecodeString(c.info)
		if err != nil {
			t.Fatal(err)
		}
		m := &match{walk: &walk{packet: packet{protocol: 6}}, certain: true}
		m.xt(c.name, info)
		got := map[bool]string{true: holds, false: mayHold}[m.certain]
		if m.failed {
			got = fails
		}
		if got != c.want {
			t.Errorf("%s: it %s, want %s", c.what, got, c.want)
		}
	}
}
