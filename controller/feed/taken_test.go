package feed_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/controller/feed"
	"github.com/warren-mesh/warren/peers"
)

// TestTakenBackAfterRestart: the first policy of a mesh, with which nobody knew anybody, is taken back, and then the
// controller is restarted. Nothing says any more who knew whom, so a host that comes with the revision of the policy must
// be told everything: of the entry alone it would hear of nobody.
func TestTakenBackAfterRestart(t *testing.T) {
	m := newMesh(t)
	var reader peers.HostID
	for i := range 3 {
		op := m.enrol(fmt.Sprintf("h%d", i), "token")
		m.must(op)
		reader = peers.HostID(op.Identity.Fingerprint())
	}
	m.must(peers.Apply{Ops: peers.Ops{peers.SetPolicy{Policy: peers.Policy{Flows: []peers.Flow{}}}}, Within: 60})
	locked, head := m.inv.Revision, m.inv.Head
	m.must(peers.TakeBack{Revision: locked})
	if m.inv.Policy != nil {
		t.Fatal("the policy was not taken back")
	}
	f, err := feed.New(m.inv, m.secrets, m.entries[len(m.entries)-1:], 100)
	if err != nil {
		t.Fatal(err)
	}
	if !f.Knows(locked, head) {
		t.Fatal("the revision before is not known: the test asks nothing")
	}
	var line bytes.Buffer
	if _, ok, err := f.Since(&line, reader, locked, nil); ok || err != nil {
		t.Errorf("no snapshot is needed: %s, %v", line.String(), err)
	}
	line.Reset()
	if _, err := f.Snapshot(&line, reader, nil); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{`"h0"`, `"h1"`} {
		if !strings.Contains(line.String(), other) {
			t.Errorf("the snapshot does not have %s", other)
		}
	}
}
