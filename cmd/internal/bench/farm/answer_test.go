package farm

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/warren-mesh/warren/agent/probe"
)

// question is a packet with a question of an agent in it, 10.90.0.1 → 10.90.0.2.
func question() []byte {
	payload := append([]byte("WRNP\x01\x01\x00\x07nonce678"), make([]byte, 100)...)
	p := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 90, 0, 1, 10, 90, 0, 2}
	p = binary.BigEndian.AppendUint16(p, 40_000)
	p = binary.BigEndian.AppendUint16(p, probe.Port)
	p = binary.BigEndian.AppendUint16(p, uint16(8+len(payload)))
	p = append(append(p, 0, 0), payload...)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	return p
}

func TestAnswer(t *testing.T) {
	got := answer(question())
	if len(got) != 20+8+18 || sum(got[:20]) != 0 || int(binary.BigEndian.Uint16(got[2:])) != len(got) {
		t.Fatalf("%d bytes %x", len(got), got)
	}
	if !bytes.Equal(got[12:20], []byte{10, 90, 0, 2, 10, 90, 0, 1}) {
		t.Errorf("from and to: %v", got[12:20])
	}
	if from, to := binary.BigEndian.Uint16(got[20:]), binary.BigEndian.Uint16(got[22:]); from != probe.Port || to != 40_000 {
		t.Errorf("ports %d, %d", from, to)
	}
	if !bytes.Equal(got[28:], probe.Reply(question()[28:])) {
		t.Errorf("payload %x", got[28:])
	}
	for name, change := range map[string]func(p []byte) []byte{
		"short":        func(p []byte) []byte { return p[:27] },
		"IPv6":         func(p []byte) []byte { p[0] = 0x60; return p },
		"TCP":          func(p []byte) []byte { p[9] = 6; return p },
		"another port": func(p []byte) []byte { p[23]++; return p },
		"cut off":      func(p []byte) []byte { return p[:len(p)-1] },
		"no question":  func(p []byte) []byte { p[28] = 'X'; return p },
	} {
		if got := answer(change(question())); got != nil {
			t.Errorf("%s is answered with %x", name, got)
		}
	}
}
