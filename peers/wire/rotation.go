package wire

import (
	"time"

	"github.com/warren-mesh/warren/peers"
)

// A RotationOrder asks for a rotation (POST /v1/rotation).
type RotationOrder struct {
	Why   string `json:"why,omitempty"   maxLength:"500" doc:"for the audit log"`
	Grace int    `json:"grace,omitempty" doc:"seconds that it waits for hosts that are away; else as the mesh has it"`
}

// A RotationAbort asks to give the rotation up that runs (POST /v1/rotation/abort).
type RotationAbort struct {
	Why    string `json:"why,omitempty"     maxLength:"500" doc:"for the audit log"`
	DryRun bool   `json:"dry_run,omitempty" doc:"only say whether it is refused"`
}

// A RotationView is how far a rotation is (GET /v1/rotation). While none runs the phase is idle and there
// are no pairs.
type RotationView struct {
	Generation peers.Generation  `json:"generation"         doc:"the newest one"`
	Previous   *peers.Generation `json:"previous"           doc:"the one being left; null while no rotation runs"`
	Phase      peers.Phase       `json:"phase"              enum:"idle,announce,prove,switch,retire" doc:"what it waits for"`
	Started    time.Time         `json:"started"            doc:"when the newest generation began"`
	Pairs      RotationPairs     `json:"pairs"`
	Waiting    []RotationWait    `json:"waiting"            doc:"hosts that others wait for"`
	Held       bool              `json:"held,omitempty"     doc:"no more traffic moves: it is to be given up"`
	GraceEnds  *time.Time        `json:"grace_ends"         doc:"when hosts that are away are left behind; null while none runs"`
	Next       *time.Time        `json:"next"               doc:"of the schedule; null for none"`
	Last       *RotationEnd      `json:"last,omitempty"     doc:"how the last one ended, where the controller remembers it"`
}

// A RotationEnd is how a rotation ended.
type RotationEnd struct {
	Generation peers.Generation `json:"generation" doc:"that all have moved to"`
	Took       float64          `json:"took"       doc:"seconds"`
	Keys       int              `json:"keys"       doc:"hosts that have a key of it"`
	Behind     []string         `json:"behind"     doc:"hosts that had none when it ended"`
	Cut        int              `json:"cut"        doc:"pairs of hosts without a tunnel, because their traffic had not moved"`
}

// RotationPairs counts pairs of hosts.
type RotationPairs struct {
	Total    int `json:"total"`
	Proven   int `json:"proven"   doc:"have shaken hands on the newest generation"`
	Switched int `json:"switched" doc:"send their traffic over it, both ends"`
	Retired  int `json:"retired"  doc:"have dropped the previous one"`
}

// A RotationWait is a host that others wait for.
type RotationWait struct {
	Host   string           `json:"host"`
	Reason string           `json:"reason"`
	Code   peers.WaitReason `json:"code" enum:"offline,no-key,no-answer,traffic,no-hold"`
	Since  time.Time        `json:"since"`
}
