package api

import (
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/warren-mesh/warren/peers/wire"
)

// config is huma without what it adds by default: no pages that load scripts from elsewhere, no "$schema"
// in answers, no formats but JSON. Unknown fields are ignored, so that a newer program can talk to an
// older controller.
func config() huma.Config {
	c := huma.DefaultConfig("Warren controller", "1")
	c.Info.Description = "Admins come in over the unix socket or with a pinned identity over TLS 1.3, hosts with " +
		"theirs. Errors are problem details (RFC 9457) with a stable code. Unknown fields are ignored, but in what is declared."
	c.Info.License = &huma.License{Name: "Apache 2.0", Identifier: "Apache-2.0"}
	c.OpenAPIPath = "/v1/openapi"
	c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", nil
	c.AllowAdditionalPropertiesByDefault = true
	c.Transformers = []huma.Transformer{tellFaults}
	return c
}

func faultResponse(doc *huma.OpenAPI) *huma.Response {
	return &huma.Response{
		Description: "Fault",
		Content: map[string]*huma.MediaType{
			wire.MediaProblem: {Schema: doc.Components.Schemas.Schema(reflect.TypeFor[wire.Fault](), true, "Fault")},
		},
	}
}

// correct puts right what huma cannot know from the types: the records of peers are lists, and errors are
// faults and none of its own types.
func (s *Server) correct() {
	schemas := s.huma.OpenAPI().Components.Schemas.Map()
	// What an admin declares must not mean less here than to the program that sends it.
	for _, name := range []string{
		"Declared", "SetMesh", "Rotations", "Schedule", "SetSite", "DeclaredHost", "Policy", "Flow", "FlowTest",
	} {
		schemas[name].AdditionalProperties = false
	}
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	schemas["Peer"] = &huma.Schema{
		Type: huma.TypeArray, Items: &huma.Schema{}, MinItems: new(7),
		Description: "Another host: name, site, identity, joined, prefixes, keys (each a list of generation, public key, " +
			"signature in base64), endpoints (each a list of kind and address). More elements may follow.",
	}
}
