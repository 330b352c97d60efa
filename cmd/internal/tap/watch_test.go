package tap

import (
	"testing"
)

const marker = "9f86d081884c7d65"

// seenOf shows frames to a watch and returns its report.
func seenOf(frames ...[]byte) LinkReport {
	w := newWatch("shop", testRules(), needlesOf([]string{"Hanna Brandt", marker}))
	for _, frame := range frames {
		w.take(captured{bytes: frame, length: len(frame)})
	}
	return w.finish()
}

// toController is a segment of a connection that began at sequence number 99.
func toController(seq uint32, payload []byte) []byte {
	return tcp(shop+":40000", "203.0.113.2:7443", seq, flagACK, payload)
}

func TestControlChannelIsRecords(t *testing.T) {
	opening := tcp(shop+":40000", "203.0.113.2:7443", 99, flagSYN, nil)
	again := tcp(shop+":40000", "203.0.113.2:7443", 5000, flagSYN, nil)
	hello, data := record(22, 300), record(23, 1000)
	both := join(hello, data)
	for _, c := range []struct {
		name   string
		frames [][]byte
		want   Counts
	}{
		{"records", [][]byte{opening, toController(100, hello), toController(405, data)}, Counts{Control: 3}},
		{"one cut in two", [][]byte{opening, toController(100, both[:2]), toController(102, both[2:])}, Counts{Control: 3}},
		{"out of order", [][]byte{opening, toController(405, data), toController(100, hello)}, Counts{Control: 3}},
		{
			"sent twice",
			[][]byte{opening, toController(100, hello), opening, toController(100, both), toController(100, hello)},
			Counts{Control: 5},
		},
		{
			"partly sent twice", [][]byte{opening, toController(100, hello), toController(150, both[50:])}, Counts{Control: 3},
		},
		{
			"probe of an idle connection",
			[][]byte{opening, toController(100, hello), toController(404, []byte{0})},
			Counts{Control: 3},
		},
		{
			"another connection of the same ports",
			[][]byte{opening, toController(100, hello[:50]), again, toController(5001, both)},
			Counts{Control: 4},
		},
		{"begun before the tap", [][]byte{toController(100, data)}, Counts{Control: 1}},

		{"plain text", [][]byte{opening, toController(100, []byte("GET / HTTP/1.1"))}, Counts{Control: 1, Other: 1}},
		{
			"plain text after a record, and whatever comes then",
			[][]byte{opening, toController(100, join(hello, []byte("order"))), toController(410, data)},
			Counts{Control: 1, Other: 2},
		},
		{"endless record", [][]byte{opening, toController(100, []byte{23, 3, 3, 0xff, 0xff})}, Counts{Control: 1, Other: 1}},
		{"begun inside a record", [][]byte{toController(100, data[7:])}, Counts{Other: 1}},
		{
			"a piece is missing",
			[][]byte{opening, toController(101, hello), toController(1000, data)},
			Counts{Control: 1, Other: 2},
		},
		{
			"a piece is missing, and another connection begins",
			[][]byte{opening, toController(101, hello), again, toController(5001, hello)},
			Counts{Control: 3, Other: 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := seenOf(c.frames...); got.Packets != c.want {
				t.Errorf("%+v, want %+v: %+v", got.Packets, c.want, got.Others)
			}
		})
	}
}

func TestStreamHoldsSoMuch(t *testing.T) {
	frames := [][]byte{tcp(shop+":40000", "203.0.113.2:7443", 99, flagSYN, nil)}
	const each = 60000
	for i := range maxHeld/each + 10 {
		frames = append(frames, toController(uint32(200+i*each), make([]byte, each)))
	}
	if got, want := seenOf(frames...).Packets, (Counts{Control: 1, Other: len(frames) - 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestSequenceNumbersWrap(t *testing.T) {
	const from, to = shop + ":40000", "203.0.113.2:7443"
	const isn = 1<<32 - 100
	text := record(22, 300)
	got := seenOf(
		tcp(from, to, isn, flagSYN, nil), tcp(from, to, 101, flagACK, text[200:]),
		tcp(from, to, isn+1, flagACK, text[:200]),
	)
	if want := (Counts{Control: 3}); got.Packets != want {
		t.Errorf("%+v, want %+v", got.Packets, want)
	}
}

func TestContentIsFoundEverywhere(t *testing.T) {
	half := len(marker) / 2
	tcpTo := func(seq uint32, text string) []byte {
		return tcp(shop+":40000", warehouse+":8080", seq, flagACK, []byte(text))
	}
	fragment := func(text string, offset byte) []byte {
		b := ip(protoUDP, 64, shop, warehouse, []byte(text))
		b[etherHeader+6], b[etherHeader+7] = 0x20, offset
		return b
	}
	letters := make([][]byte, 0, len(marker))
	for i, letter := range marker {
		letters = append(letters, tcpTo(uint32(100+i), string(letter)))
	}
	for _, c := range []struct {
		name   string
		frames [][]byte
		want   int
	}{
		{"in a segment", [][]byte{tcpTo(100, "note "+marker)}, 1},
		{"another text", [][]byte{tcpTo(100, "for Hanna Brandt")}, 1},
		{"in two packets", [][]byte{tcpTo(100, marker), tcpTo(116, marker)}, 2},
		{"across two segments", [][]byte{
			tcpTo(100, "note "+marker[:half]), tcpTo(105+uint32(half), marker[half:]+" end"),
		}, 1},
		{"letter by letter", letters, 1},
		{"across segments out of order", [][]byte{
			tcpTo(99, "-"), tcpTo(100+uint32(half), marker[half:]), tcpTo(100, marker[:half]),
		}, 1},
		{"across a segment sent twice", [][]byte{
			tcpTo(100, marker[:half]), tcpTo(100, marker[:half]), tcpTo(100+uint32(half), marker[half:]),
		}, 1},
		{"in a datagram to a tunnel's port", [][]byte{wg([]byte("note " + marker))}, 1},
		{"in what looks like a tunnel's data", [][]byte{wg(join(message(4, 48)[:32], []byte(marker)))}, 1},
		{"across datagrams", [][]byte{wg([]byte(marker[:half])), wg([]byte(marker[half:]))}, 1},
		{"across fragments", [][]byte{fragment(marker[:8], 0), fragment(marker[8:], 1)}, 1},
		{"in a TLS record", [][]byte{toController(100, join(record(23, 40)[:20], []byte(marker)))}, 1},
		{"across TLS segments", [][]byte{
			toController(100, join(record(23, 40)[:20], []byte(marker[:half]))),
			toController(uint32(120+half), []byte(marker[half:])),
		}, 1},
		{"in an ICMP error", [][]byte{ip(protoICMP, 64, warehouse, shop, join(make([]byte, 8), []byte(marker)))}, 1},
		{"in an unknown frame", [][]byte{ethernet(0x88cc, []byte(marker))}, 1},
		{"behind the end of a packet", [][]byte{join(wg(message(1, 148)), []byte(marker))}, 1},

		{"half of it", [][]byte{tcpTo(100, marker[:half]), tcpTo(108, "something else")}, 0},
		{"two halves of two connections", [][]byte{
			tcpTo(100, marker[:half]), tcp(shop+":40001", warehouse+":8080", 100, flagACK, []byte(marker[half:])),
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := seenOf(c.frames...)
			if got.Content != c.want || len(got.Found) != c.want {
				t.Errorf("found %d times, want %d: %+v", got.Content, c.want, got.Found)
			}
			if got.Packets.All() != len(c.frames) {
				t.Errorf("%d packets, counted %+v", len(c.frames), got.Packets)
			}
		})
	}
}

func TestWhatCannotBeJudgedIsSaid(t *testing.T) {
	w := newWatch("shop", testRules(), needlesOf([]string{marker}))
	frame := wg(message(4, 32))
	w.take(captured{bytes: frame, length: len(frame) + 1})
	if r := w.finish(); r.Truncated != 1 || r.Packets.Data != 1 {
		t.Errorf("a frame that was not seen whole: %+v", r)
	}
	w.take(captured{bytes: frame, length: len(frame), tagged: true})
	if r := w.finish(); r.Packets.Other != 1 {
		t.Errorf("a frame in a VLAN: %+v", r.Packets)
	}
	for port := range maxFlows {
		w.flows[flow{from: testRules().controller[0], protocol: uint8(port), to: packetPort(port)}] = &conversation{}
	}
	w.take(captured{bytes: toController(1, nil)})
	if r := w.finish(); r.Overflow != 1 {
		t.Errorf("more flows than can be remembered: overflow %d", r.Overflow)
	}
}
