package probe

import (
	"context"
	"net/netip"
	"testing"
	"testing/quick"
	"time"

	"github.com/warren-mesh/warren/peers"
)

type heard struct {
	word    peers.Word
	refused bool
}

// TestWatch: a gateway is told who sends to it, and says its word; without an agent its kernel speaks.
func TestWatch(t *testing.T) {
	t.Parallel()
	asks, to := pair(t, "127.0.0.7", "127.0.0.1")
	answers := New(asks.log)
	answers.port = asks.port
	from := netip.MustParseAddr("127.0.0.1")
	other := netip.MustParseAddr("127.0.0.9")
	word := peers.Word{Acting: "aaaabbbbccccdddd", LAN: peers.LegDown, Draining: true, Home: true, Near: netip.MustParseAddr("10.20.0.2")}
	told := make(chan peers.HostID, 1)
	answers.Speak(func(who netip.Addr, using peers.HostID) peers.Word {
		if who != from {
			t.Errorf("asked by %v", who)
		}
		select {
		case told <- using:
		default:
		}
		return word
	})
	defer answers.Close()
	ctx, cancel := context.WithCancel(t.Context())
	c := make(chan heard, 8)
	ask := asks.Watch(ctx, from, other, func(w peers.Word, refused bool) { c <- heard{w, refused} })
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	next := func(want heard) {
		t.Helper()
		for give := time.After(20 * time.Second); ; {
			ask("mine")
			select {
			case got := <-c:
				if got == want {
					return
				}
			case <-give:
				t.Fatalf("not heard: %+v", want)
			}
			<-again.C
		}
	}
	next(heard{refused: true})
	answers.Answer([]netip.Addr{other}, []netip.Addr{from})
	next(heard{word: word})
	if using := <-told; using != "mine" {
		t.Errorf("told %q", using)
	}
	answers.Answer(nil, nil)
	next(heard{refused: true})
	cancel()
	ask("mine") // does nothing any more
	_ = to
}

// TestWordIsForPeers: who is no known peer is not even heard.
func TestWordIsForPeers(t *testing.T) {
	t.Parallel()
	asks, to := pair(t, "127.0.0.7", "127.0.0.9")
	c := make(chan heard, 1)
	asks.Watch(t.Context(), netip.MustParseAddr("127.0.0.1"), to, func(w peers.Word, refused bool) { c <- heard{w, refused} })("x")
	select {
	case got := <-c:
		t.Errorf("a stranger heard %+v", got)
	case <-time.After(200 * time.Millisecond):
	}
}

// TestWordSurvives: what is said is heard, by who asked, and an answer is shorter than its question.
func TestWordSurvives(t *testing.T) {
	check := func(seq uint16, nonce uint64, using, acting string, leg uint8, flags [6]bool, near [4]byte, near6 [16]byte) bool {
		q := question{packet: packet{seq: seq, nonce: nonce}, using: peers.HostID(using[:min(len(using), mostID)])}
		w := peers.Word{
			Acting: peers.HostID(acting[:min(len(acting), mostID)]), LAN: peers.Leg(leg),
			Draining: flags[0], Cut: flags[1], Home: flags[2], Used: flags[3], Doubles: flags[4], Silent: flags[5],
		}
		near[0], near6[0] = 10, 0xfd
		w.Near, w.Near6 = netip.AddrFrom4(near), netip.AddrFrom16(near6)
		raw := q.encode()
		got, ok := parseQuestion(raw)
		answer := got.answer(w)
		heard, understood := parseWord(answer, q.packet)
		late, tooLate := q.packet, q.packet
		late.seq += peers.MissedMost
		tooLate.seq += peers.MissedMost + 1
		_, inTime := parseWord(answer, late)
		_, stale := parseWord(answer, tooLate)
		_, others := parseWord(answer, packet{seq: seq, nonce: nonce + 1})
		return ok && understood && got == q && heard == w && len(answer) < len(raw) && inTime && !stale && !others &&
			Reply(raw) == nil && !isWatch(answer)
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

// FuzzWord: whatever arrives is answered shorter or not at all, and never answered twice.
func FuzzWord(f *testing.F) {
	q := question{packet: packet{seq: 1, nonce: 2}, using: "aaaabbbbccccdddd"}
	f.Add(q.encode())
	f.Add(q.answer(peers.Word{Acting: "a"}))
	f.Add([]byte("WRNP\x01\x03"))
	p := &Prober{}
	p.Speak(func(netip.Addr, peers.HostID) peers.Word { return peers.Word{Acting: "aaaabbbbccccdddd"} })
	f.Fuzz(func(t *testing.T, b []byte) {
		answer := p.wordTo(netip.Addr{}, b)
		if len(answer) > len(b) || answer != nil && p.wordTo(netip.Addr{}, answer) != nil {
			t.Fatalf("%d bytes are answered with %d", len(b), len(answer))
		}
		if w, ok := parseWord(b, packet{seq: 1, nonce: 2}); ok && len(w.Acting) > mostID {
			t.Fatalf("an id of %d bytes", len(w.Acting))
		}
	})
}
