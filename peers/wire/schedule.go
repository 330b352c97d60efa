package wire

import (
	"time"

	"github.com/warren-mesh/warren/peers"
)

// PathSchedule is the schedule of rotations: GET, PUT and DELETE.
const PathSchedule = "/v1/rotation/schedule"

// A ScheduleOrder asks for a schedule (PUT /v1/rotation/schedule).
type ScheduleOrder struct {
	Every   int64    `json:"every"              doc:"seconds from one rotation to the next" minimum:"1"`
	Windows []string `json:"windows,omitempty"  doc:"when a rotation may begin" maxItems:"16"`
	CatchUp bool     `json:"catch_up,omitempty" doc:"what was missed is not left to the next window"`
}

// A ScheduleView is the schedule and what comes of it.
type ScheduleView struct {
	Schedule   *ScheduleOrder   `json:"schedule"   doc:"null for none"`
	Next       *time.Time       `json:"next"       doc:"when the next rotation begins; null for never"`
	Missed     bool             `json:"missed"     doc:"a slot has passed without a rotation"`
	Generation peers.Generation `json:"generation" doc:"the newest one"`
	KeyAge     float64          `json:"key_age"    doc:"seconds since its keys were asked for"`
	Problems   []peers.Problem  `json:"problems"`
}
