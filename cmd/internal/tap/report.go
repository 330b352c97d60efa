package tap

import (
	"maps"
	"net/netip"
	"time"
)

// A Report is what a tap has seen on all its links.
type Report struct {
	Links []LinkReport `json:"links"`
}

// A LinkReport is what a tap has seen on one link, in both directions.
type LinkReport struct {
	Link         string         `json:"link"`
	Packets      Counts         `json:"packets"`
	Bytes        uint64         `json:"bytes"`
	Housekeeping map[string]int `json:"housekeeping"`     // by sort
	Content      int            `json:"content"`          // packets in which, or at whose beginning, content was found
	Others       []Sighting     `json:"others,omitempty"` // the first few of kind Other
	Found        []Sighting     `json:"found,omitempty"`  // the first few with content
	Sessions     []Session      `json:"sessions"`         // of WireGuard, that carried data; by receiver
	Lost         uint64         `json:"lost"`             // packets of which the tap knows only that they were there
	Truncated    uint64         `json:"truncated"`        // packets of which it saw only the beginning
	Overflow     uint64         `json:"overflow"`         // packets not searched together with those before them
}

// A Sighting is one packet worth showing.
type Sighting struct {
	Time    time.Time `json:"time"`
	Side    string    `json:"side"` // "from shop", "to shop": where on the link it came from, or went
	What    string    `json:"what"`
	Bytes   int       `json:"bytes"`
	Content string    `json:"content,omitempty"` // the text that was found
}

// A Session is one direction of what two WireGuard interfaces agreed on in a handshake. A new handshake makes another
// one, and so does a new key.
type Session struct {
	To      netip.AddrPort `json:"to"`
	Index   uint32         `json:"index"` // that the receiver gave it
	Packets int            `json:"packets"`
}

// Total adds up the links. Between two hosts of a lab a packet crosses two links, and is counted on both.
func (r Report) Total() LinkReport {
	total := LinkReport{Link: "all", Housekeeping: make(map[string]int)}
	for _, l := range r.Links {
		total.Packets = total.Packets.plus(l.Packets)
		total.Bytes += l.Bytes
		for sort, n := range maps.All(l.Housekeeping) {
			total.Housekeeping[sort] += n
		}
		total.Content += l.Content
		total.Sessions = append(total.Sessions, l.Sessions...)
		total.Others = append(total.Others, l.Others...)
		total.Found = append(total.Found, l.Found...)
		total.Lost += l.Lost
		total.Truncated += l.Truncated
		total.Overflow += l.Overflow
	}
	return total
}

// Link returns the report of one link, empty if it was not tapped.
func (r Report) Link(name string) LinkReport {
	for _, l := range r.Links {
		if l.Link == name {
			return l
		}
	}
	return LinkReport{Link: name}
}
