package feed

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// snapshotPiece is how much of a snapshot is written at once: a TLS record, less what HTTP/2 adds.
const snapshotPiece = 16<<10 - 64

// A batch is all that happened after one revision up to that of its view, for everybody. It is
// immutable.
type batch struct {
	view   *view
	all    bool // unknown what: a snapshot is needed
	owns   bool
	own    map[peers.HostID]bool
	upsert []*record
	remove []peers.HostID
	start  []byte // of the line: kind, revision, head and remove
	end    []byte // of the line: the records
}

// Since gives the line that takes a host from a revision that it has to the newest one, appended to dst,
// and that newest revision. Nothing is appended where nothing concerns the host. ok is false where the
// revision is too old to tell: the host needs a Snapshot. extra is put into the line as it is, JSON
// members that each begin with a comma.
func (f *Feed) Since(dst []byte, id peers.HostID, rev peers.Revision, extra []byte) (
	line []byte, now peers.Revision, ok bool, err error,
) {
	b, err := f.batch(rev)
	if err != nil || b == nil || b.all {
		return dst, rev, false, err
	}
	line, err = b.appendLine(dst, id, extra)
	return line, b.view.inv.Revision, true, err
}

// batch finds or makes the one that begins after a revision; nil where the feed does not reach back.
func (f *Feed) batch(rev peers.Revision) (*batch, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b := f.batches[rev]; b != nil {
		return b, nil
	}
	if rev+1 < f.first || rev > f.last() {
		return nil, nil
	}
	b, err := newBatch(f.view, f.marks[rev+1-f.first:])
	if err != nil {
		return nil, err
	}
	if f.batches == nil {
		f.batches = map[peers.Revision]*batch{}
	}
	f.batches[rev] = b
	return b, nil
}

func newBatch(v *view, marks []mark) (*batch, error) {
	b := &batch{view: v, own: map[peers.HostID]bool{}}
	touched := map[peers.HostID]bool{}
	for _, m := range marks {
		b.all = b.all || m.all
		b.owns = b.owns || m.owns
		for _, id := range m.own {
			b.own[id] = true
		}
		for _, id := range m.hosts {
			touched[id] = true
		}
	}
	if b.all {
		return b, nil
	}
	for id := range touched {
		if at, ok := v.find(id); ok {
			b.upsert = append(b.upsert, v.records[at])
		} else {
			b.remove = append(b.remove, id)
		}
	}
	slices.SortFunc(b.upsert, func(x, y *record) int { return peers.ComparePeers(x.peer, y.peer) })
	slices.Sort(b.remove)
	var err error
	b.start, err = opening(&wire.Down{
		Kind: wire.DownDelta, Revision: v.inv.Revision, Head: v.inv.Head, Remove: b.remove,
	})
	b.end = closing(b.upsert)
	return b, err
}

// appendLine appends what the batch is for one host; nothing where it does not concern the host.
func (b *batch) appendLine(dst []byte, id peers.HostID, extra []byte) ([]byte, error) {
	start, end, upsert := b.start, b.end, b.upsert
	mine := b.owns || b.own[id]
	if mine { // the host is one of those that the batch is about
		upsert = slices.DeleteFunc(slices.Clone(upsert), func(r *record) bool { return r.peer.ID == id })
		end = closing(upsert)
	}
	if !mine && len(upsert)+len(b.remove) == 0 {
		return dst, nil
	}
	dst = append(append(dst, start...), extra...)
	if mine {
		var err error
		if dst, err = b.view.appendPlan(dst, id); err != nil {
			return dst, err
		}
	}
	dst = b.view.appendPSKs(dst, id, upsert)
	return append(dst, end...), nil
}

// Snapshot writes the line that tells a host everything, in pieces as w takes them, and gives its
// revision. extra is as for Since.
func (f *Feed) Snapshot(w io.Writer, id peers.HostID, extra []byte) (peers.Revision, error) {
	f.mu.Lock()
	v := f.view
	f.mu.Unlock()
	piece, err := opening(&wire.Down{Kind: wire.DownSnapshot, Revision: v.inv.Revision, Head: v.inv.Head})
	if err != nil {
		return 0, err
	}
	piece = append(piece, extra...)
	if piece, err = v.appendPlan(piece, id); err != nil {
		return 0, err
	}
	buffered := bufio.NewWriterSize(w, snapshotPiece)
	_, _ = buffered.Write(v.appendPSKs(piece, id, v.records)) // Flush tells all errors
	separator := `,"peers":[`
	for _, r := range v.records {
		if r.peer.ID != id {
			_, _ = buffered.WriteString(separator)
			_, _ = buffered.Write(r.json)
			separator = ","
		}
	}
	if separator == "," {
		_ = buffered.WriteByte(']')
	}
	_, _ = buffered.WriteString("}\n")
	return v.inv.Revision, buffered.Flush()
}

// Current is the line for a host that has the newest revision already.
func (f *Feed) Current(extra []byte) ([]byte, peers.Revision, error) {
	inv := f.Inventory()
	line, err := opening(&wire.Down{Kind: wire.DownCurrent, Revision: inv.Revision, Head: inv.Head})
	return append(append(line, extra...), "}\n"...), inv.Revision, err
}

// opening is the message as JSON without its last brace.
func opening(d *wire.Down) ([]byte, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %v", d.Kind, err)
	}
	return raw[:len(raw)-1], nil
}

// closing is the records, the last brace and the end of the line.
func closing(records []*record) []byte {
	var out []byte
	for i, r := range records {
		out = append(append(out, []string{`,"peers":[`, ","}[min(i, 1)]...), r.json...)
	}
	if len(records) > 0 {
		out = append(out, ']')
	}
	return append(out, "}\n"...)
}

func (v *view) appendPlan(dst []byte, id peers.HostID) ([]byte, error) {
	p, err := v.inv.PlanAlone(id)
	if err != nil {
		return dst, fmt.Errorf("host %s: %w", id, err)
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return dst, fmt.Errorf("encode plan of %s: %v", id, err)
	}
	return append(append(dst, `,"plan":`...), raw...), nil
}

// appendPSKs appends the pre-shared keys between a host and others, by generation, written by hand
// because that is ten times as fast as marshalling a map of maps.
func (v *view) appendPSKs(dst []byte, id peers.HostID, others []*record) []byte {
	opened := false
	for _, mark := range v.inv.Mesh.Generations {
		secret, ok := v.secrets[mark.Number]
		if !ok {
			continue
		}
		first := true
		for _, r := range others {
			if r.peer.ID == id || !r.has(mark.Number) {
				continue
			}
			if first {
				dst = openGeneration(dst, mark.Number, opened)
				opened, first = true, false
			} else {
				dst = append(dst, ',')
			}
			dst = appendPSK(dst, id, r.peer.ID, secret)
		}
		if !first {
			dst = append(dst, '}')
		}
	}
	if opened {
		dst = append(dst, '}')
	}
	return dst
}

func (r *record) has(g peers.Generation) bool {
	_, ok := r.peer.Key(g)
	return ok
}

func openGeneration(dst []byte, g peers.Generation, opened bool) []byte {
	if opened {
		dst = append(dst, ',')
	} else {
		dst = append(dst, `,"psks":{`...)
	}
	dst = append(dst, '"')
	dst = strconv.AppendUint(dst, uint64(g), 10)
	return append(dst, `":{`...)
}

func appendPSK(dst []byte, self, other peers.HostID, secret key.Secret) []byte {
	psk := secret.Preshared(string(self), string(other)).ExposeBytes()
	dst = append(append(append(dst, '"'), other...), `":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, psk[:])
	return append(dst, '"')
}
