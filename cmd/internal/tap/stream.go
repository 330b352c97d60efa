package tap

import (
	"bytes"
	"slices"
)

// A piece is what one packet adds to a stream.
type piece struct {
	seq  uint32
	data []byte
}

// A stream puts one direction of a TCP connection back into order. What was sent before comes through once only.
type stream struct {
	started bool
	first   uint32 // sequence number of its first byte
	next    uint32 // of the first byte that has not come through
	held    []piece
	size    int // bytes in held
}

// first is the sequence number of a segment's first byte of payload: the sign for a beginning has a number of its own.
func (at segment) first() uint32 {
	if at.syn {
		return at.seq + 1
	}
	return at.seq
}

// maxHeld is how much of a stream waits for a missing piece: more than any window of a connection here.
const maxHeld = 8 << 20

// push adds a segment and returns the payloads that are in order now, one for each packet that brought them; ok is
// false when too much waits for a piece that was never seen.
func (s *stream) push(at segment, payload []byte) (ready [][]byte, ok bool) {
	seq := at.first()
	if !s.started && (at.syn || len(payload) > 0) {
		s.started, s.first, s.next = true, seq, seq
	}
	if len(payload) == 0 {
		return nil, true
	}
	if int32(seq-s.next) > 0 {
		s.held = append(s.held, piece{seq, bytes.Clone(payload)})
		s.size += len(payload)
		return nil, s.size <= maxHeld
	}
	ready = append(ready, s.advance(piece{seq, payload}))
	return append(ready, s.release()...), true
}

// opens reports whether the segment begins another connection between the same ports.
func (s *stream) opens(at segment) bool { return at.syn && s.started && at.first() != s.first }

// advance moves behind a piece that begins at or before next, and returns what is new in it.
func (s *stream) advance(p piece) []byte {
	seen := s.next - p.seq
	if seen >= uint32(len(p.data)) {
		return nil
	}
	s.next = p.seq + uint32(len(p.data))
	return p.data[seen:]
}

// release advances over the held pieces whose turn has come.
func (s *stream) release() (ready [][]byte) {
	for {
		i := slices.IndexFunc(s.held, func(p piece) bool { return int32(p.seq-s.next) <= 0 })
		if i < 0 {
			return ready
		}
		p := s.held[i]
		s.held = slices.Delete(s.held, i, i+1)
		s.size -= len(p.data)
		ready = append(ready, s.advance(p))
	}
}
