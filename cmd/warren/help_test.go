package main

import (
	"strings"
	"testing"

	"github.com/warren-mesh/warren/cmd/warren/meshfile"
)

// TestHelpExamples reads the files that help texts show.
func TestHelpExamples(t *testing.T) {
	for name, c := range map[string]struct {
		help  string
		parse func([]byte) (*meshfile.File, error)
	}{
		"apply": {applyHelp, meshfile.Parse}, "policy": {policyHelp, meshfile.ParsePolicy},
	} {
		var file strings.Builder
		for line := range strings.Lines(c.help) {
			if text, shown := strings.CutPrefix(line, "  "); shown {
				file.WriteString(text)
			}
		}
		if f, err := c.parse([]byte(file.String())); err != nil || len(f.Policy.Flows)+len(f.Declared.Hosts) == 0 {
			t.Errorf("the file in the help of warren %s: %v\n%s", name, err, file.String())
		}
	}
}
