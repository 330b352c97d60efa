package linux

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/peers"
)

// read is a setting of the present network.
func read(t *testing.T, name string) string {
	t.Helper()
	value, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		t.Skip(err)
	}
	return strings.TrimSpace(string(value))
}

// TestForwardingOfTheHost: somebody has the whole host forward while we do so on a link. Then we leave, and take back
// only that it was ours.
func TestForwardingOfTheHost(t *testing.T) {
	s := subject{kernel: newKernel(t)}
	addBridge(t, "lan", netip.MustParsePrefix("10.20.0.2/24"))
	sysctl(t, "net/ipv4/ip_forward", "0")
	s.apply(t, peers.Diff(s.observe(t), gatewayOf(lanOf("10.20.0.0/24")))...)
	if on, tag := read(t, "net/ipv4/conf/lan/forwarding"), read(t, "net/ipv4/conf/lan/tag"); on != "1" || tag == "0" {
		t.Fatalf("forwarding is %s, the tag %s", on, tag)
	}
	sysctl(t, "net/ipv4/ip_forward", "1")
	s.apply(t, peers.Diff(s.observe(t), peers.Plan{})...)
	if on, tag := read(t, "net/ipv4/conf/lan/forwarding"), read(t, "net/ipv4/conf/lan/tag"); on != "1" || tag != "0" {
		t.Errorf("afterwards forwarding is %s, the tag %s", on, tag)
	}
	sysctl(t, "net/ipv4/ip_forward", "0")
}

// TestForeignTag: a link whose tag somebody else uses is left as it is.
func TestForeignTag(t *testing.T) {
	k := newKernel(t)
	s := subject{kernel: k}
	addBridge(t, "lan", netip.MustParsePrefix("10.20.0.2/24"))
	sysctl(t, "net/ipv4/ip_forward", "0")
	sysctl(t, "net/ipv4/conf/lan/tag", "7")
	for _, step := range []peers.SetForwarding{{Link: "lan", On: true}, {Link: "lan", IPv6: true, On: true}} {
		if err := k.Apply(t.Context(), []peers.Step{step}); err == nil || !strings.Contains(err.Error(), "tag is 7") {
			t.Errorf("%v: %v", step, err)
		}
	}
	s.apply(t, peers.Diff(s.observe(t), peers.Plan{})...)
	if on, tag := read(t, "net/ipv4/conf/lan/forwarding"), read(t, "net/ipv4/conf/lan/tag"); on != "0" || tag != "7" {
		t.Errorf("forwarding is %s, the tag %s", on, tag)
	}
	if err := k.Apply(t.Context(), []peers.Step{peers.SetForwarding{Link: "gone"}}); err != nil {
		t.Errorf("on a link that has gone: %v", err)
	}
}
