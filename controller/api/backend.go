package api

import (
	"context"
	"io"
	"net/netip"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// A Caller is who makes a request, as far as the socket or the TLS connection proves it.
type Caller struct {
	Name        string         // for the ledger: "unix:anna", "admin:anna"; empty for a host or a stranger
	Read, Write bool           // of admins' resources
	Identity    key.Identity   // zero on the unix socket
	From        netip.AddrPort // invalid on the unix socket
}

// Tokens are the enrolment tokens.
type Tokens interface {
	CreateToken(ctx context.Context, by string, order wire.TokenOrder) (wire.TokenView, error)
	Tokens() []wire.TokenView
	RevokeToken(ctx context.Context, by, id string) error
}

// A HostOrder is what an admin wants done to a host.
type HostOrder struct {
	Name   string
	Action string // of the constants in package wire
	Why    string
}

// Hosts are the enrolled hosts.
type Hosts interface {
	Hosts() []wire.HostView
	Host(name string) (wire.HostView, error)
	SetHost(ctx context.Context, by string, order HostOrder) (wire.HostView, error)
	RemoveHost(ctx context.Context, by, name string) error
}

// Mesh is what holds for all hosts.
type Mesh interface {
	Mesh() wire.MeshView
	Graph() wire.Graph
	SetMesh(ctx context.Context, by string, settings wire.MeshSettings) (wire.MeshView, error)
	RekeyMesh(ctx context.Context, by string, order wire.MeshRekey) (wire.MeshView, error)
}

// Rotation moves all hosts to new keys.
type Rotation interface {
	Rotation() wire.RotationView
	Rotate(ctx context.Context, by string, order wire.RotationOrder) (wire.RotationView, error)
	AbortRotation(ctx context.Context, by string, order wire.RotationAbort) (wire.RotationView, error)
}

// Admins are those who administer the mesh from elsewhere.
type Admins interface {
	Admins() []wire.AdminView
	AddAdmin(ctx context.Context, by string, admin wire.AdminView) (wire.AdminView, error)
	RemoveAdmin(ctx context.Context, by, name string) error
	AdminWith(id key.Identity) (name string, ok bool)
}

// Schedule is the schedule of rotations.
type Schedule interface {
	Schedule() wire.ScheduleView
	SetSchedule(ctx context.Context, by string, order wire.ScheduleOrder) (wire.ScheduleView, error)
	DropSchedule(ctx context.Context, by string) (wire.ScheduleView, error)
}

// Metrics are figures for monitoring.
type Metrics interface {
	// WriteMetrics writes them in the text format of Prometheus.
	WriteMetrics(w io.Writer)
}

// An AuditQuery asks for a page of the audit log: the entries behind a revision that are not older than
// Since. Where there is none, it waits for the next one.
type AuditQuery struct {
	After peers.Revision
	Since time.Time
	Wait  time.Duration
}

// Audit is the history of the mesh.
type Audit interface {
	Audit(ctx context.Context, q AuditQuery) (wire.AuditPage, error)
	// VerifyLedger tells how far it has come, and at the end the outcome. An error from before the first
	// call of tell is the answer to the request.
	VerifyLedger(ctx context.Context, tell func(wire.AuditProgress) error) error
}

// Enrolment admits hosts.
type Enrolment interface {
	CheckToken(who Caller, check wire.EnrollCheck) (wire.EnrollOffer, error)
	Enroll(ctx context.Context, who Caller, request wire.EnrollRequest) (wire.Enrolled, error)
}

// A Pipe is the stream of one agent, in both directions.
type Pipe interface {
	io.ReadWriter
	// Flush sends what was written.
	Flush() error
	// Cut ends the stream at once, also while another goroutine reads or writes. It may be called at
	// any time and more than once.
	Cut()
}

// Agents are the agents of enrolled hosts.
type Agents interface {
	// Stream serves an agent until it goes or must go. An error from before the first Write is the
	// answer to the request; a later one only ends the stream.
	Stream(ctx context.Context, who Caller, pipe Pipe) error
	Leave(ctx context.Context, who Caller) error
}

// A Backend is all that the API serves.
type Backend struct {
	Tokens    Tokens
	Hosts     Hosts
	Mesh      Mesh
	Rotation  Rotation
	Policies  Policies
	Sites     Sites
	Declared  Declared
	Admins    Admins
	Audit     Audit
	Schedule  Schedule
	Metrics   Metrics
	Enrolment Enrolment
	Agents    Agents
}
