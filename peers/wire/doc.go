// Package wire holds what controller, agents and the CLI say to each other: the enrolment token, the
// messages of the agents' stream, and the resources of the two HTTP APIs (/v1/ of the controller and
// the agent's local one). It is JSON throughout.
//
// Unknown JSON fields are ignored, unknown meaning is refused: every stream and every enrolment names
// its Protocol, and a controller serves Protocol and the two before it.
package wire

// Protocol is the version that this code speaks; OldestProtocol is the oldest that a controller serves.
const (
	Protocol       = 1
	OldestProtocol = 1
)

// MediaProblem is the media type of errors (RFC 9457).
const MediaProblem = "application/problem+json"

// MediaStream is the media type of streams: one JSON value on each line.
const MediaStream = "application/x-ndjson"
