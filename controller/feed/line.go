package feed

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// linePiece is how much of a line is gathered before it is written.
const linePiece = 4 << 10

// A line is one message to an agent on its way out, as JSON. Nothing is closed by itself: what is put in
// must add up to one object and the end of the line. It is written by hand where marshalling would cost
// ten times as much; tests hold it against wire.Down.
type line struct {
	w   io.Writer
	buf []byte
	err error
}

// lines are shared by all streams, of which only a few write at any moment. The zero value is ready for
// use.
type lines struct{ pool sync.Pool }

// begin gives an empty line to w.
func (ls *lines) begin(w io.Writer) *line {
	l, ok := ls.pool.Get().(*line)
	if !ok {
		l = &line{buf: make([]byte, 0, linePiece+1<<10)}
	}
	l.w, l.err, l.buf = w, nil, l.buf[:0]
	return l
}

// end writes what is left and tells the first error that there was. The line must not be used afterwards.
func (ls *lines) end(l *line) error {
	l.flush()
	err := l.err
	l.w = nil
	ls.pool.Put(l)
	return err
}

func (l *line) flush() {
	if l.err == nil && len(l.buf) > 0 {
		_, l.err = l.w.Write(l.buf)
	}
	l.buf = l.buf[:0]
}

// put adds bytes, which are not copied where there are many.
func (l *line) put(b []byte) {
	if len(l.buf)+len(b) <= linePiece {
		l.buf = append(l.buf, b...)
		return
	}
	l.flush()
	if len(b) <= linePiece {
		l.buf = append(l.buf, b...)
		return
	}
	if l.err == nil {
		_, l.err = l.w.Write(b)
	}
}

func (l *line) text(s string) {
	l.buf = append(l.buf, s...)
	if len(l.buf) > linePiece {
		l.flush()
	}
}

// open puts a message without its last brace.
func (l *line) open(d *wire.Down) {
	raw, err := opening(d)
	l.fail(err)
	l.put(raw)
}

// fail keeps the first error; end tells it.
func (l *line) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// plan puts the part of a host's plan that is its own.
func (l *line) plan(v *view, id peers.HostID) {
	p, err := v.planner.Alone(id)
	if err != nil {
		l.fail(fmt.Errorf("host %s: %w", id, err))
		return
	}
	raw, err := json.Marshal(p)
	l.fail(err)
	l.text(`,"plan":`)
	l.put(raw)
}

// psks puts the pre-shared keys between a host and others, by generation.
func (l *line) psks(v *view, id peers.HostID, others []*record) {
	origin := id
	if h := v.inv.Hosts[id]; h != nil {
		origin = h.Origin()
	}
	before := `,"psks":{"`
	for _, mark := range v.inv.Mesh.Generations {
		if d := v.derivers[mark.Number]; d != nil && l.generation(before, mark.Number, d, origin, others) {
			before = `,"`
		}
	}
	if before == `,"` {
		l.text("}")
	}
}

// generation puts the keys of one generation between the host of an origin and others, and reports whether
// there were any.
func (l *line) generation(before string, g peers.Generation, d *deriver, origin peers.HostID, others []*record) bool {
	open := false
	for _, r := range others {
		if _, ok := r.peer.Key(g); !ok || r.origin == origin {
			continue
		}
		if !open {
			l.text(before)
			l.buf = strconv.AppendUint(l.buf, uint64(g), 10)
			l.text(`":{"`)
			open = true
		} else {
			l.text(`,"`)
		}
		l.text(string(r.peer.ID))
		l.text(`":"`)
		l.buf = d.appendBase64(l.buf, origin, r.origin)
		l.text(`"`)
	}
	if open {
		l.text("}")
	}
	return open
}

// records puts the records of all hosts but one.
func (l *line) records(all []*record, but peers.HostID) {
	before := `,"peers":[`
	for _, r := range all {
		if r.peer.ID != but {
			l.text(before)
			l.put(r.json)
			before = ","
		}
	}
	if before == "," {
		l.text("]")
	}
}

// opening is a message as JSON without its last brace.
func opening(d *wire.Down) ([]byte, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %v", d.Kind, err)
	}
	return raw[:len(raw)-1], nil
}
