// Package control lets other processes of the same user talk to a running lab: over a unix socket, on which they hand
// over their standard streams, so that a command on a host reads and writes what its caller does.
//
// Both ends write JSON values. The first byte of a connection carries the streams; after the request, the caller
// sends signals as they come, and the lab one reply.
package control

import "encoding/json"

// A Request is what a caller wants of a lab: with no argument vector, its status.
type Request struct {
	Host     string   `json:"host,omitempty"`
	Argv     []string `json:"argv,omitempty"`
	Env      []string `json:"env,omitempty"`
	Dir      string   `json:"dir,omitempty"`
	Terminal bool     `json:"terminal,omitempty"` // the streams are a terminal, to be the command's own
	Down     bool     `json:"down,omitempty"`
}

// A signalled event tells the lab that the caller has received a signal.
type signalled struct {
	Signal int `json:"signal"`
}

// A reply is the lab's answer: one of these.
type reply struct {
	Exit   *int            `json:"exit,omitempty"` // of the command
	Status json.RawMessage `json:"status,omitempty"`
	Error  string          `json:"error,omitempty"`
}
