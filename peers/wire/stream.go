package wire

import (
	"encoding/json"
	"fmt"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// Kinds of what the controller says on an agent's stream (POST /v1/agent/stream, HTTP/2, both directions
// at once, one JSON value on each line).
const (
	DownSnapshot = "snapshot" // everything: Plan, all Peers, all PSKs
	DownDelta    = "delta"    // Upsert and Remove, PSKs of what is upserted; Plan where the own part changed
	DownCurrent  = "current"  // nothing changed since the agent's revision
	DownPending  = "pending"  // waits for an admin's approval; a snapshot follows by itself
	DownRetire   = "retire"   // Retire; only for agents that said Hello.Retires, revision and head mean nothing
	DownPing     = "ping"     // answer with UpPong at once
	DownGoodbye  = "goodbye"  // the stream ends for the reason in Fault
)

// A Down is one message from the controller to an agent. The revision and head are those that the agent
// has after it.
type Down struct {
	Kind     string         `json:"kind"`
	Protocol int            `json:"protocol,omitempty"`
	Revision peers.Revision `json:"revision,omitempty"`
	Head     peers.Hash     `json:"head"`
	Plan     *peers.Plan    `json:"plan,omitempty"` // without peers
	Peers    []peers.Peer   `json:"peers,omitempty"`
	Remove   []peers.HostID `json:"remove,omitempty"`
	// PSKs are pre-shared keys in base64 by generation and host. They are only for the reader of this
	// message, which is why the records of Peers are without them.
	PSKs   map[peers.Generation]map[peers.HostID]string `json:"psks,omitempty"`
	Retire *Retire                                      `json:"retire,omitempty"`
	Fault  *Fault                                       `json:"fault,omitempty"`
	// Controllers are the addresses of all controllers, HOST:PORT, where the agent shall know them.
	Controllers []string `json:"controllers,omitempty"`
}

// A Retire tells a host that a generation is over with some peers: traffic between them takes the next one
// at both ends. To be told again changes nothing.
type Retire struct {
	Generation peers.Generation `json:"generation"`
	Peers      []peers.HostID   `json:"peers"`
}

// AppendLine appends the message as one line to dst. The peers are given as they were encoded once for
// all readers; d.Peers must be empty.
func (d *Down) AppendLine(dst []byte, records [][]byte) ([]byte, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return dst, fmt.Errorf("encode %s: %v", d.Kind, err)
	}
	if len(records) == 0 {
		return append(append(dst, raw...), '\n'), nil
	}
	dst = append(dst, raw[:len(raw)-1]...)
	dst = append(dst, `,"peers":[`...)
	for i, r := range records {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, r...)
	}
	return append(dst, "]}\n"...), nil
}

// PutPSK adds a pre-shared key to the message.
func (d *Down) PutPSK(g peers.Generation, id peers.HostID, psk key.Preshared) {
	if d.PSKs == nil {
		d.PSKs = map[peers.Generation]map[peers.HostID]string{}
	}
	if d.PSKs[g] == nil {
		d.PSKs[g] = map[peers.HostID]string{}
	}
	d.PSKs[g][id] = psk.Expose()
}

// ParsePSKs reads the pre-shared keys of the message.
func (d *Down) ParsePSKs() (peers.PSKs, error) {
	out := peers.PSKs{}
	for g, byHost := range d.PSKs {
		for id, s := range byHost {
			psk, err := key.ParsePreshared(s)
			if err != nil {
				return nil, fmt.Errorf("host %s, generation %d: %v", id, g, err)
			}
			out.Put(g, id, psk)
		}
	}
	return out, nil
}

// Kinds of what an agent says on its stream.
const (
	UpHello  = "hello"  // first, exactly once
	UpReport = "report" // whenever there is something to say
	UpPong   = "pong"
)

// An Up is one message from an agent to the controller.
type Up struct {
	Kind   string  `json:"kind"`
	Hello  *Hello  `json:"hello,omitempty"`
	Report *Report `json:"report,omitempty"`
}

// A Hello opens the stream. An agent that still has the plan of Revision gets only what changed since.
type Hello struct {
	Protocol  int              `json:"protocol"`
	Revision  peers.Revision   `json:"revision,omitempty"`
	Head      peers.Hash       `json:"head"`
	Session   string           `json:"session"` // random, new with every start of the agent
	Version   string           `json:"version"`
	Backend   string           `json:"backend"`
	Port      uint16           `json:"port"`
	Endpoints []peers.Endpoint `json:"endpoints"`         // pinned and local ones; the controller adds what it observes
	Keys      []peers.HostKey  `json:"keys"`              // of all generations that the agent has
	Retires   bool             `json:"retires,omitempty"` // understands DownRetire
	// Holds says that the agent understands a generation that is held (peers.Interface).
	Holds bool `json:"holds,omitempty"`
	// Gate is the newest version of a plan's gate that the agent understands; 0 for agents without policies.
	Gate int `json:"gate,omitempty"`
}

// A Report is what an agent tells about itself; nil and zero fields say nothing new. The first one on a
// stream is complete.
type Report struct {
	Revision   peers.Revision   `json:"revision,omitempty"` // applied
	Problems   *[]peers.Problem `json:"problems,omitempty"` // all that there are now
	Generation peers.Generation `json:"generation,omitempty"`
	Backend    string           `json:"backend,omitempty"`
	Keys       []peers.HostKey  `json:"keys,omitempty"` // of generations that are new to the controller
	Peers      []PeerReport     `json:"peers,omitempty"`
	// Holds says that none of the host's traffic takes the newer generation, and none will: the plan of that revision, in
	// which it is held, is on the host's disk.
	Holds   peers.Revision `json:"holds,omitempty"`
	Pin     key.Identity   `json:"pin,omitzero"`   // the next identity of the controller, which the host now knows
	Heir    *Heir          `json:"heir,omitempty"` // where an admin wants the host to have a new identity
	Gateway *GatewayReport `json:"gateway,omitempty"`
}

// An Heir is the next identity of a host, which the present one has signed. It has signed the keys that
// the host has.
type Heir struct {
	Identity  key.Identity    `json:"identity"`
	Signature []byte          `json:"signature"`
	Keys      []peers.HostKey `json:"keys"`
}

// CodeRekeyed is the code of the fault for an identity that has been given up for a new one of the same host.
const CodeRekeyed = "rekeyed"

// A PeerReport says how a host sees a peer on the interface of a generation.
type PeerReport struct {
	ID         peers.HostID     `json:"id"`
	Generation peers.Generation `json:"generation"`
	State      string           `json:"state"` // PeerUp, PeerConnecting, PeerDown
	// Routed says that all traffic to the peer takes this generation, also after a restart.
	Routed bool `json:"routed,omitempty"`
}
