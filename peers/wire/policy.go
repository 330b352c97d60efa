package wire

import "github.com/warren-mesh/warren/peers"

// PathPolicy is where the policy of the mesh is.
const PathPolicy = "/v1/policy"

// Modes of a policy.
const (
	PolicyAllowAll = "allow-all" // there never was a policy: everybody may talk to everybody
	PolicyEnforced = "enforced"
)

// A PolicyView is the policy as admins see it (GET /v1/policy).
type PolicyView struct {
	Mode     string          `json:"mode"     enum:"allow-all,enforced" doc:"allow-all while there never was a policy"`
	Policy   *peers.Policy   `json:"policy"   doc:"null while there never was one"`
	Warnings []peers.Problem `json:"warnings" doc:"what is odd about it without being wrong"`
	// Unenforced are hosts that take it for less than it says.
	Unenforced []string `json:"unenforced" doc:"hosts whose agents do not know policies"`
}

// A PolicyOrder replaces the policy (PUT /v1/policy).
type PolicyOrder struct {
	Policy peers.Policy `json:"policy"`
	DryRun bool         `json:"dry_run,omitempty" doc:"only tell what would come of it"`
	Why    string       `json:"why,omitempty"     maxLength:"500" doc:"for the audit log"`
	Within int          `json:"within,omitempty"  minimum:"0" doc:"seconds until it is taken back unless confirmed; 0 for never"`
}

// A PolicyResult is what comes of a policy.
type PolicyResult struct {
	Applied bool `json:"applied"`
	Consequences
}

// A HostChange changes what an admin says of a host (PATCH /v1/hosts/{name}).
type HostChange struct {
	Labels map[string]string `json:"labels,omitempty"  doc:"to give it, or to replace"`
	Remove []string          `json:"remove,omitempty"  doc:"keys of labels to take away" maxItems:"64"`
	DryRun bool              `json:"dry_run,omitempty" doc:"only tell what would come of it"`
	Why    string            `json:"why,omitempty"     doc:"for the audit log"           maxLength:"500"`
	Within int               `json:"within,omitempty"  doc:"seconds until taken back unless confirmed; 0 for never" minimum:"0"`
}

// A HostResult is what comes of it.
type HostResult struct {
	Applied bool     `json:"applied"`
	Host    HostView `json:"host" doc:"as it is then"`
	Consequences
}
