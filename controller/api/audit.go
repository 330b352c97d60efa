package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// longestWait is for how long a page of the audit log waits for the next change; shorter than what any
// deadline of a connection allows.
const longestWait = 25

func (s *Server) auditRoutes() {
	audit := s.backend.Audit
	type query struct {
		After peers.Revision `query:"after" doc:"the revision behind which the page begins"`
		Since time.Time      `query:"since" doc:"leave out what is older"`
		Wait  int            `query:"wait"  doc:"seconds to wait for the next change where there is none" minimum:"0" maximum:"25"`
	}
	add(s, operation{
		"read-audit", http.MethodGet, wire.PathAudit,
		"Read a page of the audit log", forReaders, 0,
	}, func(ctx context.Context, in *query) (*answer[wire.AuditPage], error) {
		wait := time.Duration(min(in.Wait, longestWait)) * time.Second
		v, err := audit.Audit(ctx, AuditQuery{After: in.After, Since: in.Since, Wait: wait})
		return reply(v), err
	})
	add(s, operation{
		"verify-audit", http.MethodGet, wire.PathAuditVerify,
		"Verify the audit log from its first entry on", forReaders, 0,
	}, func(ctx context.Context, _ *nothing) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) { s.verify(hc) }}, nil
	})
	s.describeLines(wire.PathAuditVerify, reflect.TypeFor[wire.AuditProgress]())
}

// describeLines writes down that an answer is an endless body with one JSON value on each line.
func (s *Server) describeLines(path string, t reflect.Type) {
	doc := s.huma.OpenAPI()
	doc.Paths[path].Get.Responses["200"] = &huma.Response{
		Description: "Messages",
		Content: map[string]*huma.MediaType{
			wire.MediaStream: {Schema: doc.Components.Schemas.Schema(t, true, t.Name())},
		},
	}
}

// verify streams how a verification goes. It takes as long as the ledger is, so each line moves the
// deadlines of its connection.
func (s *Server) verify(hc huma.Context) {
	r, w := humago.Unwrap(hc)
	control := http.NewResponseController(w)
	begun := false
	err := s.backend.Audit.VerifyLedger(r.Context(), func(p wire.AuditProgress) error {
		if !begun {
			w.Header().Set("Content-Type", wire.MediaStream)
			begun = true
		}
		err := errors.Join(control.SetReadDeadline(time.Now().Add(answerTimeout)),
			control.SetWriteDeadline(time.Now().Add(answerTimeout)))
		return errors.Join(err, json.NewEncoder(w).Encode(p), control.Flush())
	})
	if err != nil && !begun && r.Context().Err() == nil {
		s.refuse(w, r, err)
	}
}
