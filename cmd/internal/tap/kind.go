package tap

// A Kind says what a packet is there for.
type Kind string

// The kinds of packets.
const (
	Handshake    Kind = "handshake"    // WireGuard messages 1 to 3: initiation, response, cookie
	Data         Kind = "data"         // WireGuard message 4: everything inside a tunnel, and keepalives
	Control      Kind = "control"      // TLS between agents and the controller, and the TCP around it
	Housekeeping Kind = "housekeeping" // what any IP link has: ARP, neighbour discovery, multicast membership, errors
	Other        Kind = "other"        // everything else
)

// Counts are packets by kind.
type Counts struct {
	Handshake    int `json:"handshake"`
	Data         int `json:"data"`
	Control      int `json:"control"`
	Housekeeping int `json:"housekeeping"`
	Other        int `json:"other"`
}

// All is the sum.
func (c Counts) All() int { return c.Handshake + c.Data + c.Control + c.Housekeeping + c.Other }

func (c *Counts) add(k Kind, n int) {
	switch k {
	case Handshake:
		c.Handshake += n
	case Data:
		c.Data += n
	case Control:
		c.Control += n
	case Housekeeping:
		c.Housekeeping += n
	default:
		c.Other += n
	}
}

// plus is the sum of two counts, kind by kind.
func (c Counts) plus(d Counts) Counts {
	return Counts{
		c.Handshake + d.Handshake, c.Data + d.Data, c.Control + d.Control, c.Housekeeping + d.Housekeeping,
		c.Other + d.Other,
	}
}
