package repo

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// reasonsFile says for every direct dependency why it is there.
const reasonsFile = "docs/dependencies.md"

// unexplained compares the direct dependencies with the rows of the table in reasonsFile, both ways.
func unexplained(direct []string, doc string) (found []string) {
	row := regexp.MustCompile("^\\| `([^`]+)` \\|(.*)\\|$")
	reasons := make(map[string]string)
	for line := range strings.Lines(doc) {
		if m := row.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			reasons[m[1]] = strings.TrimSpace(m[2])
			if !slices.Contains(direct, m[1]) {
				found = append(found, m[1]+" is no direct dependency in go.mod: take its row out")
			}
		}
	}
	for _, d := range direct {
		if reasons[d] == "" {
			found = append(found, d+" has no reason: give it one, or do without it")
		}
	}
	return found
}

// directDependencies reads go.mod as the go command does.
func directDependencies(t *testing.T) (direct []string) {
	t.Helper()
	edit := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	edit.Dir = top
	out, err := edit.Output()
	if err != nil {
		t.Fatalf("%v: %v", edit, err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	for _, r := range mod.Require {
		if !r.Indirect {
			direct = append(direct, r.Path)
		}
	}
	return direct
}

func TestDependencies(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join(top, reasonsFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range unexplained(directDependencies(t), string(doc)) {
		t.Errorf("%s: %s", reasonsFile, what)
	}
}

func TestDependenciesPlanted(t *testing.T) {
	doc := "| module | why |\n|---|---|\n| `a.example/a` | needed |\n| `b.example/b` | |\n| `c.example/c` | gone |\n"
	got := unexplained([]string{"a.example/a", "b.example/b", "d.example/d"}, doc)
	want := []string{"c.example/c is no", "b.example/b has no", "d.example/d has no"}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("found %q, want those beginning with %q", got, want)
	}
}
