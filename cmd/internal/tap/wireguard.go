package tap

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// Message types and lengths of WireGuard.
const (
	typeInitiation = 1
	typeResponse   = 2
	typeCookie     = 3
	typeData       = 4

	lenInitiation = 148
	lenResponse   = 92
	lenCookie     = 64
	lenKeepalive  = 32 // data without any

	// lenFull is the shortest data message that may end anywhere. The sender pads what it encrypts to a multiple of 16,
	// but not beyond the MTU of the tunnel, and IPv6 wants one of 1280 at least.
	lenFull = lenKeepalive + 1280
)

// wireguardMessages says of what kind the payload of a datagram is, and how many messages it holds. There is one,
// except where the sender has left the cutting to the network card: then a tap sees data messages of equal length, the
// last one perhaps shorter, that were never one packet on any wire. No message may be longer than longest.
func wireguardMessages(b []byte, longest int) (Kind, int) {
	if len(b) < 4 || b[1] != 0 || b[2] != 0 || b[3] != 0 {
		return Other, 1
	}
	switch b[0] {
	case typeInitiation:
		return handshakeOf(lenInitiation, b)
	case typeResponse:
		return handshakeOf(lenResponse, b)
	case typeCookie:
		return handshakeOf(lenCookie, b)
	case typeData:
		return dataMessages(b, longest)
	}
	return Other, 1
}

func handshakeOf(length int, b []byte) (Kind, int) {
	if len(b) != length {
		return Other, 1
	}
	return Handshake, 1
}

func dataMessages(b []byte, longest int) (Kind, int) {
	if len(b) <= longest {
		if !isData(b) {
			return Other, 1
		}
		return Data, 1
	}
	each := secondMessage(b, longest)
	if each == 0 {
		return Other, 1
	}
	n := 0
	for previous := []byte(nil); len(b) > 0; n++ {
		message := b[:min(each, len(b))]
		if !isData(message) || previous != nil && !follows(message, previous) {
			return Other, 1
		}
		previous, b = message, b[len(message):]
	}
	return Data, n
}

// isData checks what can be seen of a data message: type and length.
func isData(b []byte) bool {
	return len(b) >= lenKeepalive && b[0] == typeData && b[1]|b[2]|b[3] == 0 && (len(b)%16 == 0 || len(b) >= lenFull)
}

// secondMessage is where the second of several data messages begins, 0 if there is none.
func secondMessage(b []byte, longest int) int {
	for at := lenKeepalive; at <= longest && at+lenKeepalive <= len(b); at++ {
		if follows(b[at:], b) {
			return at
		}
	}
	return 0
}

// follows reports whether a data message could come right after the other: it goes to the same receiver, and its
// counter is a little higher.
func follows(b, previous []byte) bool {
	const header, counter, gap = 16, 8, 1024
	if len(b) < header || len(previous) < header || !bytes.Equal(b[:counter], previous[:counter]) {
		return false
	}
	now, before := binary.LittleEndian.Uint64(b[counter:]), binary.LittleEndian.Uint64(previous[counter:])
	return now > before && now-before <= gap
}

// A session is where data messages go, and the number under which the receiver finds its keys.
type session struct {
	to    netip.AddrPort
	index uint32
}

// receiver is that number in a data message, which must be one.
func receiver(b []byte) uint32 { return binary.LittleEndian.Uint32(b[4:]) }

// sessions lists what was carried in which session.
func sessions(carried map[session]int) []Session {
	out := make([]Session, 0, len(carried))
	for s, n := range carried {
		out = append(out, Session{To: s.to, Index: s.index, Packets: n})
	}
	slices.SortFunc(out, func(a, b Session) int {
		return cmp.Or(a.To.Compare(b.To), cmp.Compare(a.Index, b.Index))
	})
	return out
}
