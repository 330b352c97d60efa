package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const document = "../../docs/openapi.json"

// TestOpenAPI holds the document that is committed against the one that is served. Run with -update to
// write it anew.
func TestOpenAPI(t *testing.T) {
	update := slices.Contains(flag.Args(), "update")
	served := openAPI(t)
	if update {
		if err := os.WriteFile(document, served, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, served) {
		t.Errorf("%s is not what the controller serves: go test ./controller/api -run OpenAPI -args update", document)
	}
}

// openAPI is the served document, indented.
func openAPI(t *testing.T) []byte {
	t.Helper()
	s := newServer(t, stub{})
	rec := httptest.NewRecorder()
	s.Local(everybody).Handler.ServeHTTP(rec, s.local(t, http.MethodGet, "/v1/openapi.json", nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("GET /v1/openapi.json: %d %s", rec.Code, rec.Body)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, rec.Body.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// TestOpenAPIHoldsTogether holds that every reference leads somewhere, every operation has an id and
// tells its faults, and that no type of the library is left.
func TestOpenAPIHoldsTogether(t *testing.T) {
	raw := openAPI(t)
	var doc struct {
		OpenAPI    string `json:"openapi"`
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
		Paths map[string]map[string]struct {
			OperationID string                     `json:"operationId"`
			Summary     string                     `json:"summary"`
			Responses   map[string]json.RawMessage `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Errorf("the document is OpenAPI %s, want 3.1", doc.OpenAPI)
	}
	for _, m := range regexp.MustCompile(`"#/components/schemas/([^"]+)"`).FindAllSubmatch(raw, -1) {
		if doc.Components.Schemas[string(m[1])] == nil {
			t.Errorf("a reference to %s leads nowhere", m[1])
		}
	}
	ids := map[string]bool{}
	for path, operations := range doc.Paths {
		for method, op := range operations {
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" {
				t.Errorf("%s %s has the id %q and the summary %q", method, path, op.OperationID, op.Summary)
			}
			ids[op.OperationID] = true
			if !strings.Contains(string(op.Responses["default"]), "schemas/Fault") {
				t.Errorf("%s %s does not tell its faults", method, path)
			}
		}
	}
	if len(ids) < 15 {
		t.Errorf("only %d operations", len(ids))
	}
	for _, name := range []string{"ErrorModel", "ErrorDetail"} {
		if doc.Components.Schemas[name] != nil {
			t.Errorf("the library's own %s is in the document", name)
		}
	}
}
