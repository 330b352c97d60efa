package api

import (
	"bytes"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/warren-mesh/warren/peers/wire"
)

// mediaMetrics is the text format of Prometheus, version 0.0.4.
const mediaMetrics = "text/plain; version=0.0.4; charset=utf-8"

// metricsRoute serves figures for monitoring, which is no JSON and does not run through huma.
func (s *Server) metricsRoute() {
	s.mux.HandleFunc(http.MethodGet+" "+wire.PathMetrics, func(w http.ResponseWriter, r *http.Request) {
		if err := forReaders.check(callerOf(r.Context())); err != nil {
			s.refuse(w, r, err)
			return
		}
		var b bytes.Buffer
		s.backend.Metrics.WriteMetrics(&b)
		w.Header().Set("Content-Type", mediaMetrics)
		_, _ = w.Write(b.Bytes()) // who is gone needs no answer
	})
	doc := s.huma.OpenAPI()
	doc.AddOperation(&huma.Operation{
		OperationID: "metrics", Method: http.MethodGet, Path: wire.PathMetrics, Summary: "Figures for monitoring",
		Description: "For " + string(forReaders) + ", in the text format of Prometheus.",
		Responses: map[string]*huma.Response{
			"200": {Description: "Metrics", Content: map[string]*huma.MediaType{
				"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}},
			}},
			"default": faultResponse(doc),
		},
	})
}
