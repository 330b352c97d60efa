package fleet

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"strconv"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// turning is how far a simulated host is on its way to the next generation. It belongs to the goroutine that reads the
// stream, but for what the last field guards.
type turning struct {
	to    peers.Generation // zero while no rotation runs
	moved []string         // peers whose traffic has moved, to be reported
	due   bool             // a report is on its way
}

// reportFirst and reportEach are how long the real agent waits with what a rotation waits for: it tells of many peers at
// once in a large mesh (agent/control).
const (
	reportFirst = 250 * time.Millisecond
	reportEach  = 4 * time.Millisecond
)

// turn does what a host does in a rotation: it announces a key, and says of every peer whose key it knows that it has
// answered there and that the traffic to it has moved. The handshake itself takes no time.
func (a *agent) turn(line []byte, up io.Writer) error {
	if bytes.Contains(line, []byte(`"plan":{`)) {
		if err := a.replan(line, up); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.turning.to == 0 {
		return nil
	}
	a.turning.moved = append(a.turning.moved, keyed(line, a.turning.to)...)
	if len(a.turning.moved) > 0 && !a.turning.due {
		a.turning.due = true
		wait := reportFirst + time.Duration(len(a.known))*reportEach
		time.AfterFunc(wait, func() { _ = a.tellMoved(up) }) // a broken stream ends by itself
	}
	return nil
}

// replan takes over which generations there are.
func (a *agent) replan(line []byte, up io.Writer) error {
	var d struct{ Plan *peers.Plan }
	if err := json.Unmarshal(line, &d); err != nil || d.Plan == nil || len(d.Plan.Interfaces) == 0 {
		return err
	}
	newest := d.Plan.Interfaces[len(d.Plan.Interfaces)-1].Generation
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(d.Plan.Interfaces) == 1 {
		a.turning = turning{}
		a.generation = newest
		return nil
	}
	if a.turning.to == newest {
		return nil
	}
	a.turning.to = newest
	if _, have := a.private[newest]; have {
		return nil
	}
	private, err := key.NewPrivate(rand.Reader)
	if err != nil {
		return err
	}
	signed := peers.SignKey(d.Plan.Mesh.ID, a.identity, newest, private.Public())
	a.private[newest] = private
	a.keys = append(a.keys, signed)
	return send(up, wire.Up{Kind: wire.UpReport, Report: &wire.Report{Revision: a.revision, Keys: []peers.HostKey{signed}}})
}

func (a *agent) tellMoved(up io.Writer) error {
	a.mu.Lock()
	r := wire.Report{Revision: a.revision}
	for _, id := range a.turning.moved {
		r.Peers = append(r.Peers, wire.PeerReport{
			ID: peers.HostID(id), Generation: a.turning.to, State: wire.PeerUp, Routed: true,
		})
	}
	a.turning.moved, a.turning.due = nil, false
	a.mu.Unlock()
	return send(up, wire.Up{Kind: wire.UpReport, Report: &r})
}

// keyed are the ids of the peers in a message that have a key of a generation.
func keyed(line []byte, g peers.Generation) (ids []string) {
	_, list, ok := bytes.Cut(line, []byte(`"peers":[`))
	want := []byte(`[` + strconv.FormatUint(uint64(g), 10) + `,"`) // a key, as peers are encoded
	for ok {
		var record []byte
		_, list, ok = bytes.Cut(list, []byte(`"wid1`))
		if !ok || len(list) < identitySize {
			break
		}
		record = list
		if next := bytes.Index(list, []byte(`"wid1`)); next >= 0 {
			record = list[:next]
		}
		if !bytes.Contains(record, want) {
			continue
		}
		if identity, err := key.ParseIdentity("wid1" + string(record[:identitySize])); err == nil {
			ids = append(ids, identity.Fingerprint())
		}
	}
	return ids
}
