package peers

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/warren-mesh/warren/peers/key"
)

// A Change is one mutation of a mesh: who wants what, when and why.
type Change struct {
	At  time.Time // UTC
	By  string    // "admin:anna", "host:shop", "controller", "unix:0"
	Why string
	Op  Op
}

// An Op is what a Change does. The set is closed: each kind of Op is a type of this package whose rules
// are in its apply method.
type Op interface {
	// Kind is the stable name of the operation, for the ledger and the audit log.
	Kind() string
	apply(d *draft)
}

// CreateMesh is the first change of every ledger.
type CreateMesh struct {
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	Overlay  netip.Prefix `json:"overlay"`
	Overlay6 netip.Prefix `json:"overlay6"`
}

// SetMesh changes settings of the mesh; nil leaves one as it is.
type SetMesh struct {
	MTU       *int `json:"mtu,omitempty"`
	Keepalive *int `json:"keepalive,omitempty"`
	Grace     *int `json:"grace,omitempty"`
}

// CreateToken lets hosts enrol. The secret itself never gets here.
type CreateToken struct {
	ID      string    `json:"id"`
	Hash    Hash      `json:"hash"`
	Site    string    `json:"site"`
	Name    string    `json:"name,omitempty"`
	Expires time.Time `json:"expires"`
	Uses    int       `json:"uses"`
	Approve bool      `json:"approve,omitempty"`
}

// RevokeToken makes a token useless.
type RevokeToken struct {
	ID string `json:"id"`
}

// EnrollHost admits a host by a token. Whoever makes this change has checked the token's secret and
// that the host holds the identity.
type EnrollHost struct {
	Token     string       `json:"token"`
	Identity  key.Identity `json:"identity"`
	Name      string       `json:"name"`
	Port      uint16       `json:"port"`
	Endpoints []Endpoint   `json:"endpoints"`
	Keys      []HostKey    `json:"keys"`
}

// UpdateHost is what a host reports of itself; nil leaves a field as it is. An empty list is not nil, in
// the ledger either: a host may have no endpoints any more.
type UpdateHost struct {
	ID        HostID     `json:"id"`
	Port      *uint16    `json:"port,omitempty"`
	Endpoints []Endpoint `json:"endpoints,omitzero"`
	Keys      []HostKey  `json:"keys,omitzero"` // of generations that have none yet, or another one
}

// SetHostState approves (pending → active), suspends, resumes (suspended → active) or revokes a host.
type SetHostState struct {
	ID    HostID    `json:"id"`
	State HostState `json:"state"`
}

// RemoveHost takes a host out of the inventory. A revoked one leaves a Tombstone.
type RemoveHost struct {
	ID HostID `json:"id"`
}

// SetSite creates a site or changes its prefixes and gateways.
type SetSite struct {
	Name     string       `json:"name"`
	Prefixes []SitePrefix `json:"prefixes,omitempty"`
	Gateways []string     `json:"gateways,omitempty"`
	Virtual  netip.Addr   `json:"virtual_ip,omitzero"`  // see Site
	Virtual6 netip.Addr   `json:"virtual_ip6,omitzero"` // see Site
	LANCheck []netip.Addr `json:"lan_check,omitempty"`  // see Site
}

// RemoveSite removes a site that no host and no valid token uses.
type RemoveSite struct {
	Name string `json:"name"`
}

// AddAdmin lets somebody administer the mesh from elsewhere.
type AddAdmin struct {
	Name     string       `json:"name"`
	Identity key.Identity `json:"identity"`
}

// RemoveAdmin takes that back.
type RemoveAdmin struct {
	Name string `json:"name"`
}

// StartGeneration begins a rotation: the next generation exists beside the current one.
type StartGeneration struct {
	Number Generation `json:"number"`
	// Grace is for how many seconds this rotation waits for hosts that are away; 0: as long as the mesh has it.
	Grace int `json:"grace,omitempty"`
}

// RetireGeneration ends a rotation: the older of two generations is gone. Hosts that have not moved to the
// newer one by then are left behind, and named: they have no tunnel until they announce a key of it.
type RetireGeneration struct {
	Number Generation `json:"number"`
	Behind []HostID   `json:"behind,omitempty"`
	// Cut is how many pairs of hosts have no tunnel now, because their traffic had not moved.
	Cut int `json:"cut,omitempty"`
}

// SetPolicy replaces the policy of the mesh. Its tests must hold.
type SetPolicy struct {
	Policy Policy `json:"policy"`
}

// LabelHost gives a host labels and takes some away.
type LabelHost struct {
	ID     HostID            `json:"id"`
	Set    map[string]string `json:"set,omitempty"`
	Remove []string          `json:"remove,omitempty"`
}

// Kind is "mesh.create".
func (CreateMesh) Kind() string { return "mesh.create" }

// Kind is "mesh.set".
func (SetMesh) Kind() string { return "mesh.set" }

// Kind is "token.create".
func (CreateToken) Kind() string { return "token.create" }

// Kind is "token.revoke".
func (RevokeToken) Kind() string { return "token.revoke" }

// Kind is "host.enroll".
func (EnrollHost) Kind() string { return "host.enroll" }

// Kind is "host.update".
func (UpdateHost) Kind() string { return "host.update" }

// Kind is "host.state".
func (SetHostState) Kind() string { return "host.state" }

// Kind is "host.remove".
func (RemoveHost) Kind() string { return "host.remove" }

// Kind is "site.set".
func (SetSite) Kind() string { return "site.set" }

// Kind is "site.remove".
func (RemoveSite) Kind() string { return "site.remove" }

// Kind is "admin.add".
func (AddAdmin) Kind() string { return "admin.add" }

// Kind is "admin.remove".
func (RemoveAdmin) Kind() string { return "admin.remove" }

// Kind is "generation.start".
func (StartGeneration) Kind() string { return "generation.start" }

// Kind is "generation.retire".
func (RetireGeneration) Kind() string { return "generation.retire" }

// Kind is "policy.set".
func (SetPolicy) Kind() string { return "policy.set" }

// Kind is "host.label".
func (LabelHost) Kind() string { return "host.label" }

// decoders has one decoder for each kind of operation.
func decoders() map[string]func(string, json.RawMessage) (Op, error) {
	return map[string]func(string, json.RawMessage) (Op, error){
		CreateMesh{}.Kind():       decodeAs[CreateMesh],
		SetMesh{}.Kind():          decodeAs[SetMesh],
		CreateToken{}.Kind():      decodeAs[CreateToken],
		RevokeToken{}.Kind():      decodeAs[RevokeToken],
		EnrollHost{}.Kind():       decodeAs[EnrollHost],
		UpdateHost{}.Kind():       decodeAs[UpdateHost],
		SetHostState{}.Kind():     decodeAs[SetHostState],
		RemoveHost{}.Kind():       decodeAs[RemoveHost],
		SetSite{}.Kind():          decodeAs[SetSite],
		RemoveSite{}.Kind():       decodeAs[RemoveSite],
		AddAdmin{}.Kind():         decodeAs[AddAdmin],
		RemoveAdmin{}.Kind():      decodeAs[RemoveAdmin],
		StartGeneration{}.Kind():  decodeAs[StartGeneration],
		RetireGeneration{}.Kind(): decodeAs[RetireGeneration],

		HoldGeneration{}.Kind(): decodeAs[HoldGeneration], ReleaseGeneration{}.Kind(): decodeAs[ReleaseGeneration],
		DropGeneration{}.Kind(): decodeAs[DropGeneration],

		SetSchedule{}.Kind():  decodeAs[SetSchedule],
		OrderRekey{}.Kind():   decodeAs[OrderRekey],
		SucceedHost{}.Kind():  decodeAs[SucceedHost],
		RekeyMesh{}.Kind():    decodeAs[RekeyMesh],
		SucceedMesh{}.Kind():  decodeAs[SucceedMesh],
		SetPolicy{}.Kind():    decodeAs[SetPolicy],
		LabelHost{}.Kind():    decodeAs[LabelHost],
		Apply{}.Kind():        decodeAs[Apply],
		ConfirmApply{}.Kind(): decodeAs[ConfirmApply],
		TakeBack{}.Kind():     decodeAs[TakeBack],
		DrainHost{}.Kind():    decodeAs[DrainHost],
	}
}

// decodeOp reads the JSON of an operation. Unknown fields are refused: in the ledger they would be
// meaning that this version does not understand.
func decodeOp(kind string, raw json.RawMessage) (Op, error) {
	decode, ok := decoders()[kind]
	if !ok {
		return nil, fmt.Errorf("change of kind %q: written by a newer Warren?", kind)
	}
	return decode(kind, raw)
}

func decodeAs[T Op](kind string, raw json.RawMessage) (Op, error) {
	var op T
	if err := strictUnmarshal(raw, &op); err != nil {
		return nil, fmt.Errorf("change of kind %q: %v", kind, err)
	}
	return op, nil
}
