package probe

import "encoding/binary"

// Port is the UDP port on every overlay address.
const Port = 51829

// A packet is "WRNP", version, kind, sequence number (2 bytes), nonce (8), and in a reply the length of the
// question (2); numbers are big endian. A question is padded with zeros. Those to gateways are in word.go.
const (
	magic       = "WRNP"
	version     = 1
	kindAsk     = 1
	kindReply   = 2
	replyLength = 18
	minAsk      = 32
)

type packet struct {
	seq   uint16
	nonce uint64
}

// ask is a question of a length, which must be at least minAsk.
func (p packet) ask(length int) []byte {
	return append(p.header(kindAsk), make([]byte, length-replyLength+2)...)
}

func (p packet) header(kind byte) []byte {
	b := make([]byte, 0, minAsk)
	b = append(append(b, magic...), version, kind)
	b = binary.BigEndian.AppendUint16(b, p.seq)
	return binary.BigEndian.AppendUint64(b, p.nonce)
}

// Reply is the answer to a question, the payload of a datagram that came to Port; nil for anything else.
func Reply(b []byte) []byte {
	p, kind, ok := parse(b)
	if !ok || kind != kindAsk || len(b) < minAsk {
		return nil
	}
	return binary.BigEndian.AppendUint16(p.header(kindReply), uint16(len(b)))
}

// parse reads what is common to questions and replies.
func parse(b []byte) (p packet, kind byte, ok bool) {
	if len(b) < replyLength || string(b[:4]) != magic || b[4] != version {
		return packet{}, 0, false
	}
	return packet{seq: binary.BigEndian.Uint16(b[6:]), nonce: binary.BigEndian.Uint64(b[8:])}, b[5], true
}
