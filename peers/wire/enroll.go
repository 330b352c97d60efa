package wire

import (
	"net/netip"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// An EnrollCheck asks what a token would lead to, without using it (POST /v1/enroll/check).
type EnrollCheck struct {
	Protocol int    `json:"protocol"          doc:"of the asking agent"`
	TokenID  string `json:"token_id"          maxLength:"64"`
	Secret   []byte `json:"secret"            maxLength:"64" doc:"base64"`
	Name     string `json:"name,omitempty"    maxLength:"63" doc:"the host name that is wished for"`
}

// An EnrollOffer is the answer: what the host needs to check itself and to sign its keys.
type EnrollOffer struct {
	Protocol    int                `json:"protocol"`
	Time        time.Time          `json:"time"        doc:"of the controller, to notice a wrong clock"`
	MeshID      string             `json:"mesh_id"`
	Mesh        string             `json:"mesh"`
	Overlay     netip.Prefix       `json:"overlay"`
	Overlay6    netip.Prefix       `json:"overlay6"`
	Site        string             `json:"site"`
	Name        string             `json:"name,omitempty" doc:"the host name that the token is bound to"`
	Generations []peers.Generation `json:"generations"    doc:"for each of them a signed key is needed"`
}

// An EnrollRequest enrols the host whose identity the TLS connection proves (POST /v1/enroll). Sent again
// with the same token by the same identity it gives the same answer and does not use the token again.
type EnrollRequest struct {
	Protocol  int              `json:"protocol"`
	TokenID   string           `json:"token_id"            maxLength:"64"`
	Secret    []byte           `json:"secret"              maxLength:"64" doc:"base64"`
	Name      string           `json:"name"                maxLength:"63"`
	Port      uint16           `json:"port"                doc:"UDP, of slot 0; slot 1 uses the next one"`
	Endpoints []peers.Endpoint `json:"endpoints"           maxItems:"16"`
	Keys      []peers.HostKey  `json:"keys"                maxItems:"2"`
}

// An Enrolled says who the host is from now on. The plan comes on the stream.
type Enrolled struct {
	ID          peers.HostID    `json:"id"`
	Name        string          `json:"name"`
	Site        string          `json:"site"`
	Address     netip.Addr      `json:"address"`
	Address6    netip.Addr      `json:"address6"`
	State       peers.HostState `json:"state" doc:"active, or pending until an admin approves"`
	Controllers []string        `json:"controllers,omitempty"`
}
