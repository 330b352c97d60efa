package probe

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"

	"github.com/warren-mesh/warren/peers"
)

// A question to a gateway is a packet of kind kindWatch: the header that all packets have (magic, version, kind,
// sequence number, nonce), the edition, and the id of the gateway that the asker sends to (a byte for its length
// first), padded to watchLength. The answer, of kindWord, has the same header, edition, flags, state of the leg,
// addresses on the LAN (4 and 16 bytes, zeros for none), and the id of the gateway that should be used.
const (
	kindWatch    = 3
	kindWord     = 4
	wordEdition  = 1
	headerLength = 16
	watchLength  = 128
	mostID       = 64
	wordsAt      = headerLength + 23 // where the id is in a word
)

// Flags of a word.
const (
	flagDraining = 1 << iota
	flagCut
	flagHome
	flagUsed
	flagDoubles
	flagSilent
)

// A question is what a gateway is told by who asks it.
type question struct {
	packet
	using peers.HostID
}

func (q question) encode() []byte {
	b := append(q.header(kindWatch), wordEdition)
	b = appendID(b, q.using)
	return append(b, make([]byte, watchLength-len(b))...)
}

// isWatch tells questions to gateways from others.
func isWatch(b []byte) bool {
	_, kind, ok := parse(b)
	return ok && kind == kindWatch
}

// parseQuestion reads a question that has the length for an answer.
func parseQuestion(b []byte) (q question, ok bool) {
	p, kind, ok := parse(b)
	if !ok || kind != kindWatch || len(b) < watchLength || b[headerLength] != wordEdition {
		return question{}, false
	}
	using, ok := readID(b[headerLength+1:])
	return question{packet: p, using: using}, ok
}

// answer is a word as the answer to a question.
func (q question) answer(w peers.Word) []byte {
	b := append(q.header(kindWord), wordEdition, flagsOf(w), byte(w.LAN))
	near, near6 := [4]byte{}, [16]byte{}
	if w.Near.Is4() {
		near = w.Near.As4()
	}
	if w.Near6.Is6() {
		near6 = w.Near6.As16()
	}
	return appendID(append(append(b, near[:]...), near6[:]...), w.Acting)
}

func flagsOf(w peers.Word) (flags byte) {
	for flag, set := range map[byte]bool{
		flagDraining: w.Draining, flagCut: w.Cut, flagHome: w.Home, flagUsed: w.Used,
		flagDoubles: w.Doubles, flagSilent: w.Silent,
	} {
		if set {
			flags |= flag
		}
	}
	return flags
}

// parseWord reads the answer to the question with a number.
func parseWord(b []byte, asked packet) (w peers.Word, ok bool) {
	p, kind, ok := parse(b)
	if !ok || kind != kindWord || p.nonce != asked.nonce || len(b) <= wordsAt || b[headerLength] != wordEdition {
		return peers.Word{}, false
	}
	if age := asked.seq - p.seq; age > peers.MissedMost {
		return peers.Word{}, false // of long ago, or of the future
	}
	flags := b[headerLength+1]
	w = peers.Word{
		LAN: peers.Leg(b[headerLength+2]), Draining: flags&flagDraining != 0, Cut: flags&flagCut != 0,
		Home: flags&flagHome != 0, Used: flags&flagUsed != 0, Doubles: flags&flagDoubles != 0,
		Silent: flags&flagSilent != 0,
	}
	near, near6 := netip.AddrFrom4([4]byte(b[headerLength+3:])), netip.AddrFrom16([16]byte(b[headerLength+7:]))
	if !near.IsUnspecified() {
		w.Near = near
	}
	if !near6.IsUnspecified() {
		w.Near6 = near6
	}
	w.Acting, ok = readID(b[wordsAt:])
	return w, ok
}

func appendID(b []byte, id peers.HostID) []byte {
	id = id[:min(len(id), mostID)]
	return append(append(b, byte(len(id))), id...)
}

func readID(b []byte) (peers.HostID, bool) {
	if len(b) == 0 || int(b[0]) > min(mostID, len(b)-1) {
		return "", false
	}
	return peers.HostID(b[1 : 1+b[0]]), true
}

// Speak has the prober ask for its host's word whenever a known peer asks. It says from where, and to which
// gateway that peer sends. It is called by several goroutines.
func (p *Prober) Speak(word func(from netip.Addr, using peers.HostID) peers.Word) {
	if word == nil {
		p.word.Store(nil)
		return
	}
	p.word.Store(&word)
}

// A line is a way to ask one gateway again and again.
type line struct {
	ctx      context.Context
	from, to netip.AddrPort
	heard    func(w peers.Word, refused bool)

	mu   sync.Mutex
	conn *net.UDPConn
	asks packet
}

// Watch gives a function that asks a gateway, by its overlay address and from one of the host's own, and tells it
// to which gateway this host sends. It does not wait. Answers are heard as they come, until ctx ends; refused says
// that the machine is there and has nobody who answers.
func (p *Prober) Watch(
	ctx context.Context, from, to netip.Addr, heard func(w peers.Word, refused bool),
) (ask func(using peers.HostID)) {
	l := &line{
		ctx: ctx, from: netip.AddrPortFrom(from, 0), to: netip.AddrPortFrom(to, p.port), heard: heard,
		asks: packet{nonce: rand.Uint64()},
	}
	context.AfterFunc(ctx, l.close)
	return l.ask
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// ask sends the next question. What fails is a question without an answer.
func (l *line) ask(using peers.HostID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return
	}
	if l.conn == nil {
		conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(l.from), net.UDPAddrFromAddrPort(l.to))
		if err != nil {
			return // there is no way at the moment
		}
		l.conn = conn
		go l.listen(conn)
	}
	l.asks.seq++
	_, err := l.conn.Write(question{packet: l.asks, using: using}.encode())
	if refused(err) { // that was for an earlier question, and used up the report of it
		go l.heard(peers.Word{}, true)
		_, _ = l.conn.Write(question{packet: l.asks, using: using}.encode())
	}
}

func (l *line) listen(conn *net.UDPConn) {
	var buf [watchLength]byte
	for {
		n, err := conn.Read(buf[:])
		switch {
		case l.ctx.Err() != nil:
			return
		case refused(err):
			l.heard(peers.Word{}, true)
		case err != nil:
			if errors.Is(err, net.ErrClosed) {
				return
			}
		default:
			l.mu.Lock()
			asked := l.asks
			l.mu.Unlock()
			if w, ok := parseWord(buf[:n], asked); ok {
				l.heard(w, false)
			}
		}
	}
}

// wordTo answers a question to this host; nil for anything else.
func (p *Prober) wordTo(from netip.Addr, b []byte) []byte {
	q, ok := parseQuestion(b)
	word := p.word.Load()
	if !ok || word == nil {
		return nil
	}
	return q.answer((*word)(from, q.using))
}
