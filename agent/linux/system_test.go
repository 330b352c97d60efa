package linux

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addBridge makes a network that is not ours.
func addBridge(t testing.TB, name string, addresses ...netip.Prefix) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	link := &netlink.Bridge{LinkAttrs: attrs}
	err := netlink.LinkAdd(link)
	for _, a := range addresses {
		if err == nil {
			err = netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(a), Flags: unix.IFA_F_NODAD})
		}
	}
	if err == nil && len(addresses) > 0 {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(link) }) // goes with the namespace
}

// sysctl changes a setting of the present network.
func sysctl(t testing.TB, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// system is what the host's own commands say, as far as it has them.
func system(t testing.TB) string {
	var b strings.Builder
	for _, line := range []string{"ip -d address", "ip route", "ip -6 route", "wg"} {
		words := strings.Fields(line)
		out, err := exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput()
		b.WriteString("$ " + line + "\n" + string(out))
		if err != nil {
			b.WriteString(err.Error() + "\n")
		}
	}
	return b.String()
}
