package e2e

import (
	"strings"
	"testing"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// TestRotationOnLossyLines rotates while a third of all handshake messages is lost at random, of both generations, and for a
// moment no host reaches the controller. It takes longer; of the traffic nothing is lost.
func TestRotationOnLossyLines(t *testing.T) {
	m := startMesh(t, sites()...)
	m.allUp(2)
	flows := m.everybody()
	for _, h := range m.Members() {
		// As UDP counts them, an initiation has 156 bytes and its answer 100, which no message with data in it has.
		m.nft(h.Name(), "table inet foreign { chain lossy { type filter hook input priority 0; "+
			"udp dport { 51820, 51821 } udp length { 100, 156 } numgen random mod 3 == 0 counter drop; }; }")
	}
	m.rotate(2)
	for _, h := range m.Members() {
		m.cut(partition{a: h.Name(), b: lab.DefaultController}, true)
		m.cut(partition{a: h.Name(), b: lab.DefaultController}, false)
	}
	m.rotated(2, patience)
	m.onlyGeneration(2)
	lossy := 0
	for _, h := range m.Members() {
		if !strings.Contains(m.nft(h.Name(), "list", "table", "inet", "foreign"), "counter packets 0 ") {
			lossy++
		}
	}
	if lossy == 0 {
		t.Error("no handshake was lost: this test shows nothing")
	}
	for name, f := range flows {
		if sent, lost := f.end(); lost > 0 || sent == 0 {
			t.Errorf("%s: %d of %d packets lost", name, lost, sent)
		}
	}
}
