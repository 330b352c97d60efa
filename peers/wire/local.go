package wire

import (
	"net/netip"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// Paths of the agent's local API on its unix socket.
const (
	PathStatus      = "/v1/status"
	PathLocalEnroll = "/v1/enroll"
	PathPing        = "/v1/ping"
	PathDoctor      = "/v1/doctor"
	PathLocalLeave  = "/v1/leave"
	// PathLocalMetrics is where every monitoring looks.
	PathLocalMetrics = "/metrics"
)

// States of a host as its agent tells them.
const (
	StateOK         = "ok"
	StateDegraded   = "degraded"
	StateDown       = "down"
	StateUnenrolled = "unenrolled"
)

// States of a peer.
const (
	PeerUp         = "up"
	PeerConnecting = "connecting"
	PeerDown       = "down"
)

// A Status is all that a host is, has and lacks (GET /v1/status).
type Status struct {
	Host       string            `json:"host"`
	ID         peers.HostID      `json:"id"`
	Mesh       string            `json:"mesh"`
	Site       string            `json:"site"`
	Address    netip.Addr        `json:"address"`
	Address6   netip.Addr        `json:"address6"`
	State      string            `json:"state"`
	Backend    string            `json:"backend"`
	Version    string            `json:"version"`
	Revision   peers.Revision    `json:"revision"`
	Generation peers.Generation  `json:"generation"`
	KeyAge     float64           `json:"key_age"` // seconds since that generation began; 0 for unknown
	Controller ControllerStatus  `json:"controller"`
	Interfaces []InterfaceStatus `json:"interfaces"`
	Peers      []PeerStatus      `json:"peers"`
	Problems   []peers.Problem   `json:"problems"`
	// Notes say what the host is without, and does well enough without.
	Notes []peers.Problem `json:"notes,omitempty"`
	Guard *GuardStatus    `json:"guard,omitempty"`
	// Sites are those of which it has to be decided which gateway acts.
	Sites []SiteStatus `json:"sites,omitempty"`
	// Restored is what others changed of what is Warren's since the agent started, and the agent put back.
	Restored []Restoration `json:"restored,omitempty"`
}

// A SiteStatus says by which gateway a host reaches a site, or, on a gateway of the site itself, which one has what
// the LAN sends.
type SiteStatus struct {
	Site     string          `json:"site"`
	Acting   string          `json:"acting"` // "" while nobody is known to
	Since    *time.Time      `json:"since"`  // when that changed last; null for never since the agent has started
	Moves    uint64          `json:"moves"`  // how often it has changed since then
	Virtual  netip.Addr      `json:"virtual_ip,omitzero"`
	Virtual6 netip.Addr      `json:"virtual_ip6,omitzero"`
	Holds    bool            `json:"holds,omitempty"` // this host has the virtual addresses
	Gateways []GatewayStatus `json:"gateways"`        // in order of priority
	// LANCheck are the addresses that this host asks, as a gateway of the site, whether its LAN is there.
	LANCheck []LANCheckStatus `json:"lan_check,omitempty"`
}

// States of an address of the LAN that is asked, the second one also of the link of a gateway.
const (
	LANAnswers = "answers"
	LANSilent  = "silent"
	LANUnknown = "unknown" // it cannot be asked
)

// A LANCheckStatus is an address of the LAN that a gateway asks.
type LANCheckStatus struct {
	Address netip.Addr `json:"address"`
	State   string     `json:"state"`
	Since   *time.Time `json:"since,omitempty"` // of the silence
	Why     string     `json:"why,omitempty"`   // there is no way to it, or it cannot be asked
}

// A GatewayStatus is a gateway as this host sees it.
type GatewayStatus struct {
	Host     string       `json:"host"`
	ID       peers.HostID `json:"id"`
	Fit      bool         `json:"fit"`
	Why      string       `json:"why,omitempty"` // what speaks against it
	LAN      string       `json:"lan"`           // "up", "down", "unknown"; "silent": up, and nobody answers
	Draining bool         `json:"draining,omitempty"`
	Heard    *time.Time   `json:"heard"`
}

// A Restoration is what was put back of one kind (peers.UndoneKinds).
type Restoration struct {
	Kind  string    `json:"kind"`
	Count int       `json:"count"`
	Last  time.Time `json:"last"`
	What  string    `json:"what"` // the last time: the step that put it right
}

// A ControllerStatus says how an agent stands with its controller.
type ControllerStatus struct {
	Address     string     `json:"address"`
	Connected   bool       `json:"connected"`
	LastContact *time.Time `json:"last_contact"`
	Error       string     `json:"error,omitempty"` // why it is not connected
	// Addresses are all that are known, HOST:PORT, in the order in which they are tried.
	Addresses []string `json:"addresses,omitempty"`
}

// An InterfaceStatus is one tunnel interface.
type InterfaceStatus struct {
	Name       string           `json:"name"`
	Generation peers.Generation `json:"generation"`
	Port       uint16           `json:"port"`
	PublicKey  key.Public       `json:"public_key"`
	MTU        int              `json:"mtu"`
	Since      *time.Time       `json:"since,omitempty"` // when the generation began
}

// A PeerStatus is one peer as this host sees it.
type PeerStatus struct {
	Host          string           `json:"host"`
	ID            peers.HostID     `json:"id"`
	Site          string           `json:"site"`
	Address       netip.Addr       `json:"address"`
	Address6      netip.Addr       `json:"address6"`
	State         string           `json:"state"`
	Generation    peers.Generation `json:"generation"`
	Interface     string           `json:"interface"`
	Endpoint      string           `json:"endpoint"`
	LastHandshake *time.Time       `json:"last_handshake"`
	RxBytes       uint64           `json:"rx_bytes"`
	TxBytes       uint64           `json:"tx_bytes"`
	AllowedIPs    []netip.Prefix   `json:"allowed_ips"`
	MTU           int              `json:"mtu,omitempty"` // the largest packet that is sent to it
}

// A LocalEnroll asks the agent to enrol (POST /v1/enroll). The answer is a stream of Progress.
type LocalEnroll struct {
	Token   string `json:"token"`
	Name    string `json:"name,omitempty"`    // the machine's host name where left out
	Timeout int    `json:"timeout,omitempty"` // seconds until the agent stops telling; it goes on trying
}

// A LocalLeave asks the agent to leave the mesh and to restore the host (POST /v1/leave). The answer is a stream
// of Progress with the steps "controller", "network" and "files".
type LocalLeave struct {
	Force bool `json:"force,omitempty"` // also where the controller cannot be told
}

// A Progress is one step of something that takes a while; the last one has Done or Fault set.
type Progress struct {
	// Step is stable, for scripts: "token", "controller", "keys", "enrolled", "approval", "plan", "peers".
	Step    string  `json:"step,omitempty"`
	Message string  `json:"message,omitempty"`
	Done    bool    `json:"done,omitempty"`
	Status  *Status `json:"status,omitempty"` // with Done
	Fault   *Fault  `json:"fault,omitempty"`
}

// A PingReply is one answer, or its absence, of GET /v1/ping?host=NAME&count=N, a stream of these with a
// summary at its end.
type PingReply struct {
	Seq     int          `json:"seq"`
	Lost    bool         `json:"lost,omitempty"`
	RTT     float64      `json:"rtt"` // seconds
	Summary *PingSummary `json:"summary,omitempty"`
	Fault   *Fault       `json:"fault,omitempty"`
}

// A PingSummary ends a ping.
type PingSummary struct {
	Host       string           `json:"host"`
	Address    netip.Addr       `json:"address"`
	Sent       int              `json:"sent"`
	Received   int              `json:"received"`
	Loss       float64          `json:"loss"` // 0 to 1
	Min        float64          `json:"rtt_min"`
	Mean       float64          `json:"rtt_mean"`
	Max        float64          `json:"rtt_max"`
	PathMTU    int              `json:"path_mtu"`      // largest packet through the tunnel, bytes; 0 for unknown
	MTU        int              `json:"mtu,omitempty"` // what the way promises to take
	Generation peers.Generation `json:"generation"`
	Interface  string           `json:"interface"`
}

// A Finding is what one check of the doctor found (GET /v1/doctor).
type Finding struct {
	Check   string `json:"check"`
	Result  string `json:"result"` // "ok", "warning", "failed", "skipped"
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}
