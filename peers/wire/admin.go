package wire

import (
	"net/netip"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// Paths of the controller's API.
const (
	PathEnrollCheck = "/v1/enroll/check"
	PathEnroll      = "/v1/enroll"
	PathStream      = "/v1/agent/stream"
	PathLeave       = "/v1/agent/leave"
	PathTokens      = "/v1/tokens"
	PathHosts       = "/v1/hosts"
	PathMesh        = "/v1/mesh"
	PathMeshRekey   = "/v1/mesh/rekey"
	PathAdmins      = "/v1/admins"
	PathRotation    = "/v1/rotation"

	PathRotationAbort = "/v1/rotation/abort"

	PathMetrics = "/metrics" // where every monitoring looks
)

// A TokenOrder asks for an enrolment token (POST /v1/tokens).
type TokenOrder struct {
	Site    string `json:"site"              maxLength:"63" doc:"made where there is none yet"`
	Name    string `json:"name,omitempty"    maxLength:"63" doc:"the only host name that it admits"`
	TTL     int    `json:"ttl,omitempty"     doc:"seconds; 3600 where left out" minimum:"0"`
	Uses    int    `json:"uses,omitempty"    doc:"1 where left out" minimum:"0"`
	Approve bool   `json:"approve,omitempty" doc:"hosts wait for an admin's approval"`
}

// A TokenView is an enrolment token as admins see it. Token, the string to paste, is told once.
type TokenView struct {
	ID      string    `json:"id"`
	Token   string    `json:"token,omitempty"`
	Site    string    `json:"site"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Uses    int       `json:"uses"`
	Used    int       `json:"used"`
	Approve bool      `json:"approve"`
	State   string    `json:"state" enum:"valid,expired,used-up,revoked"`
}

// A HostView is a host as admins see it.
type HostView struct {
	Name       string           `json:"name"`
	ID         peers.HostID     `json:"id"`
	Site       string           `json:"site"`
	Address    netip.Addr       `json:"address"`
	Address6   netip.Addr       `json:"address6"`
	State      peers.HostState  `json:"state"`
	Online     bool             `json:"online"`
	LastSeen   *time.Time       `json:"last_seen"           doc:"null for never"`
	Revision   peers.Revision   `json:"revision"            doc:"that the host has applied"`
	Generation peers.Generation `json:"generation"`
	Backend    string           `json:"backend"`
	Version    string           `json:"version"`
	Enrolled   time.Time        `json:"enrolled"`
	Endpoints  []peers.Endpoint `json:"endpoints"`
	Identity   key.Identity     `json:"identity"`
	Keys       []peers.HostKey  `json:"keys"`
	Peers      []PeerReport     `json:"peers,omitempty"     doc:"with host show: how it sees the others"`
	Problems   []peers.Problem  `json:"problems"`
	KeySince   *time.Time       `json:"key_since"           doc:"when the newest generation that it has a key of began"`
	Rekey      *time.Time       `json:"rekey,omitempty"     doc:"since when it is asked for a new identity"`
	Former     []key.Identity   `json:"former,omitempty"    doc:"the identities that it had before, the first one first"`
	// Labels are what selectors of the policy may ask for.
	Labels   map[string]string `json:"labels"`
	Draining bool              `json:"draining,omitempty" doc:"it is to be left by everybody, as a gateway"`
	Gateway  *GatewayReport    `json:"gateway,omitempty"  doc:"what it has said of itself as a gateway"`
}

// A GatewayReport is what a gateway tells of how it is used.
type GatewayReport struct {
	Draining bool           `json:"draining"` // it knows that it is to be left
	Acting   bool           `json:"acting"`   // it takes what the LAN of its site sends
	Users    []peers.HostID `json:"users"`    // hosts of other sites that reach its site by it
	// Other is the gateway that acts, in its eyes; empty where it is itself, or nobody.
	Other peers.HostID `json:"other,omitempty"`
}

// A HostAction is what an admin wants of a host (POST /v1/hosts/{name}/{action}).
type HostAction struct {
	Why string `json:"why,omitempty" maxLength:"500" doc:"for the audit log"`
}

// Actions on hosts.
const (
	ActionApprove = "approve"
	ActionSuspend = "suspend"
	ActionResume  = "resume"
	ActionRevoke  = "revoke"
	ActionRekey   = "rekey"
	ActionDrain   = "drain"
	ActionUndrain = "undrain"
)

// A MeshView is the mesh as admins see it (GET /v1/mesh).
type MeshView struct {
	ID          string                 `json:"id"`
	Name        string                 `json:"name"`
	Overlay     netip.Prefix           `json:"overlay"`
	Overlay6    netip.Prefix           `json:"overlay6"`
	MTU         int                    `json:"mtu"`
	Keepalive   int                    `json:"keepalive"`
	Grace       int                    `json:"grace"        doc:"seconds that a rotation waits for hosts that are away"`
	Created     time.Time              `json:"created"`
	Revision    peers.Revision         `json:"revision"`
	Head        peers.Hash             `json:"head"`
	Generations []peers.GenerationMark `json:"generations"`
	Pin         key.Identity           `json:"pin"          doc:"the controller's identity"`
	Controllers []string               `json:"controllers"  doc:"where hosts find the controller"`
	Version     string                 `json:"version"`
	NextPin     *NextPin               `json:"next_pin"     doc:"while the controller hands over to another identity"`
	Hosts       int                    `json:"hosts"`
	Online      int                    `json:"online"`
	Pending     *Pending               `json:"pending"      doc:"a change that is taken back unless it is confirmed"`
}

// A NextPin is the identity that the controller will have.
type NextPin struct {
	Identity key.Identity `json:"identity"`
	Since    time.Time    `json:"since"`
	Until    time.Time    `json:"until"    doc:"then it is used, whoever does not know it"`
	Known    int          `json:"known"    doc:"hosts that have acknowledged it"`
	Waiting  []string     `json:"waiting"  doc:"hosts that have not"`
}

// A MeshRekey asks for another identity of the controller (POST /v1/mesh/rekey).
type MeshRekey struct {
	Overlap int    `json:"overlap,omitempty" doc:"seconds in which hosts may learn it; 604800 where left out" minimum:"0"`
	Why     string `json:"why,omitempty"     doc:"for the audit log" maxLength:"500"`
}

// A MeshSettings changes settings of the mesh (PATCH /v1/mesh); what is left out stays.
type MeshSettings struct {
	MTU       *int `json:"mtu,omitempty"       doc:"bytes, of the tunnel interfaces"`
	Keepalive *int `json:"keepalive,omitempty" doc:"seconds"`
	Grace     *int `json:"grace,omitempty"     doc:"seconds that a rotation waits for hosts that are away"`
	// Within and Why are not settings, but about the change of them.
	Within int    `json:"within,omitempty" minimum:"0" doc:"seconds until it is taken back unless confirmed"`
	Why    string `json:"why,omitempty"    maxLength:"500" doc:"for the audit log"`
}

// An AdminView is somebody who may administer the mesh from elsewhere (GET, POST /v1/admins).
type AdminView struct {
	Name     string       `json:"name"            maxLength:"63"`
	Identity key.Identity `json:"identity"        doc:"as warren admin key prints it"`
	Added    time.Time    `json:"added,omitzero"`
}
