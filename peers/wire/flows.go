package wire

import (
	"net/netip"

	"github.com/warren-mesh/warren/peers"
)

// PathFlows is where the agent's local API tells what is let in.
const PathFlows = "/v1/flows"

// What a GuardStatus says of the firewall and of the leak guard.
const (
	GuardOn      = "on"
	GuardOff     = "off"     // the operator of the host says so
	GuardMissing = "missing" // the kernel has no nf_tables
)

// PolicyUnenforced is a policy that the host does not enforce, in a GuardStatus.
const PolicyUnenforced = "unenforced"

// A GuardStatus is how things stand with the guard of a host.
type GuardStatus struct {
	Firewall  string `json:"firewall"` // GuardOn, GuardOff, GuardMissing
	LeakGuard string `json:"leak_guard"`
	Policy    string `json:"policy"` // PolicyAllowAll, PolicyEnforced, PolicyUnenforced
	Flows     int    `json:"flows"`  // of the policy that end here
}

// A FlowReport is what a host lets in, how much of it there was, and what was dropped (GET /v1/flows).
type FlowReport struct {
	Host    string      `json:"host"`
	Guard   GuardStatus `json:"guard"`
	Allowed []FlowCount `json:"allowed"`
	Dropped []DropCount `json:"dropped"`
}

// A FlowCount is a flow of the policy that ends at the host. Packets are those of both directions; without a
// policy they are the first ones of connections.
type FlowCount struct {
	Flow  int              `json:"flow"` // its number in the policy; 0 without a policy
	From  []peers.Selector `json:"from"`
	To    []netip.Prefix   `json:"to"`
	Allow []peers.Service  `json:"allow"`
	peers.Counter
}

// A DropCount is what a rule has dropped.
type DropCount struct {
	Rule    string `json:"rule"` // "refused", "leaked", "spoofed"
	Message string `json:"message"`
	peers.Counter
}
