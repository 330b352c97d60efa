package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// firstBackOff is the longest wait before the first try to connect again, as the real agent has it.
const firstBackOff = 250 * time.Millisecond

// identitySize is the length of an identity's text behind its prefix.
const identitySize = 43

func jitter(d time.Duration) time.Duration { return rand.N(d) + time.Millisecond }

// take reads a message as far as is needed, and answers like an agent that has applied it.
func (a *agent) take(line []byte, up io.Writer) error {
	kind := field(line, "kind")
	switch kind {
	case wire.DownPing:
		return send(up, wire.Up{Kind: wire.UpPong})
	case wire.DownGoodbye:
		return fmt.Errorf("goodbye: %.300s", line)
	case wire.DownSnapshot, wire.DownDelta, wire.DownCurrent:
	default:
		return nil
	}
	now := time.Now()
	ids, removed := records(line)
	a.mu.Lock()
	if kind == wire.DownSnapshot {
		clear(a.known)
	}
	for _, id := range ids {
		a.known[id] = true
	}
	for _, id := range removed {
		delete(a.known, id)
	}
	if n, err := strconv.ParseUint(number(line, "revision"), 10, 64); err == nil {
		a.revision = peers.Revision(n)
	}
	if head := field(line, "head"); head != "" {
		a.head = head
	}
	first := !a.inSync
	a.inSync = true
	report := wire.Report{Revision: a.revision}
	a.mu.Unlock()
	a.fleet.saw(a, ids, now)
	if err := errors.Join(a.meet(line), a.turn(line, up)); err != nil {
		return err
	}
	if first { // later acknowledgements are coalesced over seconds, as in the real agent
		return send(up, wire.Up{Kind: wire.UpReport, Report: &report})
	}
	return nil
}

// meet looks for the host whose tunnels are wanted.
func (a *agent) meet(line []byte) error {
	if a.fleet.Met == nil || !bytes.Contains(line, []byte(`["`+a.fleet.Meet+`",`)) {
		return nil
	}
	var d wire.Down
	if err := json.Unmarshal(line, &d); err != nil {
		return err
	}
	psks, err := d.ParsePSKs()
	if err != nil {
		return err
	}
	for _, p := range d.Peers {
		if p.Name == a.fleet.Meet {
			a.fleet.Met(Meeting{Index: a.index, Private: a.private, Peer: p, PSKs: psks})
		}
	}
	return nil
}

func send(w io.Writer, m wire.Up) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = w.Write(append(raw, '\n'))
	return err
}

// field finds the first text value with a name, number the first number.
func field(line []byte, name string) string {
	_, rest, ok := bytes.Cut(line, []byte(`"`+name+`":"`))
	if !ok {
		return ""
	}
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(value)
}

func number(line []byte, name string) string {
	_, rest, ok := bytes.Cut(line, []byte(`"`+name+`":`))
	if !ok {
		return ""
	}
	return string(rest[:bytes.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })])
}

// records gives the ids of the peers that a message brings and takes away. The id follows from the
// identity, of which there is one in each record; the list of peers is the last field of a message.
func records(line []byte) (ids, removed []string) {
	if _, list, ok := bytes.Cut(line, []byte(`"peers":[`)); ok {
		for {
			_, rest, ok := bytes.Cut(list, []byte(`"wid1`))
			if !ok || len(rest) < identitySize {
				break
			}
			if identity, err := key.ParseIdentity("wid1" + string(rest[:identitySize])); err == nil {
				ids = append(ids, identity.Fingerprint())
			}
			list = rest[identitySize:]
		}
	}
	if _, list, ok := bytes.Cut(line, []byte(`"remove":`)); ok {
		end := bytes.IndexByte(list, ']')
		_ = json.Unmarshal(list[:end+1], &removed) // a list of texts; nothing where it is none
	}
	return ids, removed
}
