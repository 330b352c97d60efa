package feed

import (
	"bytes"
	"slices"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// news are what an audience is told of hosts that came, changed or went.
type news struct {
	upsert []*record      // by id
	remove []peers.HostID // ascending
	start  []byte         // of the line: kind, revision, head and remove
	end    []byte         // of the line: the records
}

// delta is the message without its records, for a host that is not told of itself.
func (n *news) delta(v *view, but peers.HostID) *wire.Down {
	remove := slices.DeleteFunc(slices.Clone(n.remove), func(id peers.HostID) bool { return id == but })
	return &wire.Down{Kind: wire.DownDelta, Revision: v.inv.Revision, Head: v.inv.Head, Remove: remove}
}

// encode makes what all lines of the audience begin and end with.
func (n *news) encode(v *view) (err error) {
	n.start, err = opening(n.delta(v, ""))
	var end bytes.Buffer
	l := line{w: &end}
	l.records(n.upsert, "")
	l.text("}\n")
	l.flush()
	n.end = end.Bytes()
	return err
}

// has reports whether a host is among those that came or changed.
func (n *news) has(id peers.HostID) bool {
	_, found := slices.BinarySearchFunc(n.upsert, id, func(r *record, id peers.HostID) int {
		return peers.ComparePeers(r.peer, peers.Peer{ID: id})
	})
	return found
}

// aboutOthers reports whether there is anything about others than the host itself.
func (n *news) aboutOthers(id peers.HostID) bool {
	about := len(n.upsert) + len(n.remove)
	if n.has(id) {
		about--
	}
	if slices.Contains(n.remove, id) {
		about--
	}
	return about > 0
}
