package tap

import (
	"fmt"
	"net/netip"
	"time"
)

// A captured frame. Its bytes are the ring's and only good until the next one.
type captured struct {
	at       time.Time
	bytes    []byte
	length   int  // on the link; more than there are bytes if the ring could not take it whole
	outgoing bool // from this machine's side of the link
	tagged   bool // for a VLAN, which the bytes do not show
}

// A flow is one direction of what two ends say to each other, on one side of a link.
type flow struct {
	ether    uint16
	protocol uint8
	from, to netip.AddrPort
	outgoing bool
}

// A conversation is what a watch remembers of a flow.
type conversation struct {
	stream  stream
	records records
	seam    seam
	broken  bool // it goes to the controller's port and is no TLS
}

// maxFlows is how many flows one link may have before the watch gives up remembering all of them, and says so.
const maxFlows = 1 << 16

// A watch judges the packets of one link. It belongs to one goroutine.
type watch struct {
	rules   rules
	needles needles
	flows   map[flow]*conversation
	carried map[session]int // packets
	report  LinkReport
	frames  uint64 // as the kernel counts, which may leave the cutting of packets to the network card
}

func newWatch(link string, r rules, n needles) *watch {
	return &watch{
		rules: r, needles: n, flows: make(map[flow]*conversation), carried: make(map[session]int),
		report: LinkReport{Link: link, Housekeeping: make(map[string]int)},
	}
}

// take judges one frame.
func (w *watch) take(f captured) {
	w.report.Bytes += uint64(f.length)
	w.frames++
	if f.length > len(f.bytes) {
		w.report.Truncated++
	}
	p := decodeFrame(f.bytes)
	if f.tagged {
		p.fault = "(in a VLAN)"
	}
	kind, n, sort := w.rules.kind(p)
	if sort != "" {
		w.report.Housekeeping[sort]++
	}
	if kind == Data && len(w.carried) < maxFlows {
		w.carried[session{p.to, receiver(p.payload)}] += n
	}
	if text := w.needles.in(f.bytes); text != "" {
		w.content(f, p, text)
	}
	c := w.conversation(p, f.outgoing)
	if p.protocol != protoTCP || p.fault != "" {
		w.count(f, p, kind, n)
		w.search(c, f, p, p.payload)
		return
	}
	w.segment(c, f, p, kind)
}

// segment judges a packet of TCP. What goes to the controller counts as control only once it has its place in a
// stream of TLS records.
func (w *watch) segment(c *conversation, f captured, p packet, kind Kind) {
	if c.stream.opens(p.tcp) {
		w.abandon(c, kind)
		*c = conversation{}
	}
	ready, ok := c.stream.push(p.tcp, p.payload)
	if !ok {
		w.abandon(c, kind)
		*c = conversation{broken: true}
	}
	if kind != Control || len(p.payload) == 0 {
		w.count(f, p, kind, 1)
	}
	for _, payload := range ready {
		w.search(c, f, p, payload)
		if kind == Control {
			c.broken = c.broken || !c.records.follow(payload)
			w.count(f, p, c.kind(), 1)
		}
	}
}

func (c *conversation) kind() Kind {
	if c.broken {
		return Other
	}
	return Control
}

// abandon counts the packets to the controller that still wait for one before them: nobody knows what they are.
func (w *watch) abandon(c *conversation, kind Kind) {
	if kind == Control {
		w.report.Packets.Other += len(c.stream.held)
	}
}

// finish ends the watch.
func (w *watch) finish() LinkReport {
	for flow, c := range w.flows {
		if w.rules.control(packet{from: flow.from, to: flow.to}) {
			w.abandon(c, Control)
		}
	}
	w.report.Sessions = sessions(w.carried)
	return w.report
}

// conversation finds what is known of the packet's flow.
func (w *watch) conversation(p packet, outgoing bool) *conversation {
	key := flow{p.ether, p.protocol, p.from, p.to, outgoing}
	c, ok := w.flows[key]
	if ok {
		return c
	}
	c = &conversation{}
	if len(w.flows) >= maxFlows {
		w.report.Overflow++
		return c
	}
	w.flows[key] = c
	return c
}

func (w *watch) count(f captured, p packet, k Kind, n int) {
	w.report.Packets.add(k, n)
	if k == Other {
		w.report.Others = note(w.report.Others, w.sighting(f, p, ""))
	}
}

// search looks for content across the borders of packets.
func (w *watch) search(c *conversation, f captured, p packet, payload []byte) {
	if text := c.seam.join(payload, w.needles); text != "" {
		w.content(f, p, text)
	}
}

func (w *watch) content(f captured, p packet, text string) {
	w.report.Content++
	w.report.Found = note(w.report.Found, w.sighting(f, p, text))
}

func (w *watch) sighting(f captured, p packet, text string) Sighting {
	side := "from"
	if f.outgoing {
		side = "to"
	}
	return Sighting{
		Time: f.at, Side: fmt.Sprintf("%s %s", side, w.report.Link), What: p.String(), Bytes: f.length, Content: text,
	}
}

// note keeps the first few sightings.
func note(list []Sighting, s Sighting) []Sighting {
	const enough = 10
	if len(list) < enough {
		list = append(list, s)
	}
	return list
}
