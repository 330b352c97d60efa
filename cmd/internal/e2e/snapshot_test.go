package e2e

import (
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// snapshot is all that Warren could have changed on a host, a line for each thing: links, addresses, routes of all
// tables, rules, the nftables ruleset, the settings of the network, and files.
func snapshot(t testing.TB, h *lab.Host) string {
	t.Helper()
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if err := h.Do(func() error {
		if err := listNetwork(add); err != nil {
			return err
		}
		return listSettings(add)
	}); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/run", "/var/lib"} {
		if err := listFiles(h.Path(dir), dir, add); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(lines)
	return strings.Join(append(lines, ruleset(t, h)), "\n")
}

func listNetwork(add func(string, ...any)) error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	names := map[int]string{}
	for _, l := range links {
		a := l.Attrs()
		names[a.Index] = a.Name
		add("link %d %s %s mtu %d flags %v address %v", a.Index, a.Name, l.Type(), a.MTU, a.Flags, a.HardwareAddr)
	}
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		add("address %v on %s label %s flags %x scope %d", a.IPNet, names[a.LinkIndex], a.Label, a.Flags, a.Scope)
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		// Table 0 of a filter by table stands for all of them.
		routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return err
		}
		for _, r := range routes {
			add("route %v table %d proto %d type %d metric %d on %s src %v via %v", r.Dst, r.Table, r.Protocol, r.Type,
				r.Priority, names[r.LinkIndex], r.Src, r.Gw)
		}
		rules, err := netlink.RuleList(family)
		if err != nil {
			return err
		}
		for _, r := range rules {
			add("rule %v", r)
		}
	}
	return nil
}

// listSettings lists /proc/sys/net, without what counts or measures. To load a module adds settings of its own.
func listSettings(add func(string, ...any)) error {
	const root = "/proc/sys/net"
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		there := err == nil && !d.IsDir() && !strings.HasPrefix(path, root+"/netfilter/")
		if value, err := os.ReadFile(path); there && err == nil {
			add("setting %s = %q", path, strings.TrimSpace(string(value)))
		}
		return nil // what is gone in the meantime is no setting
	})
}

func listFiles(root, as string, add func(string, ...any)) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		name := as + strings.TrimPrefix(path, root)
		if d.IsDir() || strings.HasPrefix(name, "/run/notify-") {
			if d.IsDir() {
				add("directory %s %v", name, st.Mode())
			}
			return nil
		}
		add("file %s %v", name, st.Mode())
		return nil
	})
}

// ruleset is what nft lists, without counters and without what packets leave in sets for a time. Chains that were kept
// when others were replaced are listed before them, which means nothing: the parts of tables are sorted.
func ruleset(t testing.TB, h *lab.Host) string {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		return "nft is not installed"
	}
	out, err := h.Command(t.Context(), "nft", "-s", "list", "ruleset").CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	left := regexp.MustCompile(`(flags dynamic,timeout\n\s*timeout \w+\n)\s*elements = \{[^}]*\}\n`)
	tables := strings.Split(left.ReplaceAllString(string(out), "$1"), "\n}\n")
	for i, table := range tables {
		name, content, _ := strings.Cut(table, "\n")
		parts := strings.Split(content, "\n\n")
		slices.Sort(parts)
		tables[i] = name + "\n" + strings.Join(parts, "\n\n")
	}
	return strings.Join(tables, "\n}\n")
}

// furnish gives a host something of everything that is not ours.
func furnish(t testing.TB, h *lab.Host) {
	t.Helper()
	if err := h.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "docker0"
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			return err
		}
		link, err := netlink.LinkByName("docker0")
		if err != nil {
			return err
		}
		for _, text := range []string{"172.17.0.1/16", "2001:db8:17::1/64"} {
			address, err := netlink.ParseAddr(text)
			if err != nil {
				return err
			}
			address.Flags = unix.IFA_F_NODAD
			if err := netlink.AddrAdd(link, address); err != nil {
				return err
			}
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
		return addForeignRoutes(link.Attrs().Index)
	}); err != nil {
		t.Fatal(err)
	}
	until(t, patience, "all addresses are usable", func() bool {
		pending := true
		if err := h.Do(func() error {
			all, err := netlink.AddrList(nil, netlink.FAMILY_V6)
			pending = slices.ContainsFunc(all, func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_TENTATIVE != 0 })
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return !pending
	})
	if _, err := exec.LookPath("nft"); err == nil {
		cmd := h.Command(t.Context(), "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(`
table inet filter {
	chain input {
		type filter hook input priority 0
		tcp dport 22 accept
	}
}
table ip nat {
	chain post {
		type nat hook postrouting priority 100
		ip saddr 172.17.0.0/16 masquerade
	}
}
`)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("no foreign nftables here: %v: %s", err, out)
		}
	}
}

// addForeignRoutes has routes as others make them, near to ours: in the main table and in another, with a rule.
func addForeignRoutes(link int) error {
	for _, r := range []netlink.Route{
		{Dst: ipNet("10.20.0.0/24"), LinkIndex: link, Protocol: unix.RTPROT_STATIC, Scope: netlink.SCOPE_LINK},
		{Dst: ipNet("10.21.0.0/24"), LinkIndex: link, Protocol: unix.RTPROT_BOOT, Table: 119, Scope: netlink.SCOPE_LINK},
		{Dst: ipNet("10.22.0.0/24"), Protocol: unix.RTPROT_STATIC, Type: unix.RTN_UNREACHABLE},
	} {
		if err := netlink.RouteAdd(&r); err != nil {
			return fmt.Errorf("route %v: %v", r.Dst, err)
		}
	}
	rule := netlink.NewRule()
	rule.Priority, rule.Table, rule.Family = 1190, 119, unix.AF_INET
	rule.Src = ipNet("10.21.0.0/24")
	return netlink.RuleAdd(rule)
}

func same(t testing.TB, what, before, after string) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")); diff != "" {
		t.Errorf("%s: the host is not as it was:\n%s", what, diff)
	}
}

func ipNet(text string) *net.IPNet {
	p := netip.MustParsePrefix(text)
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
