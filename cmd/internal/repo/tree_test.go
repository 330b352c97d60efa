package repo

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// topLevel is all that the top of the checkout holds, dotfiles apart.
func topLevel() []string {
	return []string{
		"LICENSE", "Makefile", "README.md", "go.mod", "go.sum",
		"agent", "cmd", "controller", "docs", "peers", "systemd",
	}
}

// misplaced compares the names at the top with what belongs there. What make makes is ignored by git.
func misplaced(names []string) (found []string) {
	for _, name := range names {
		if !strings.HasPrefix(name, ".") && !slices.Contains(append(topLevel(), "bin", "dist"), name) {
			found = append(found, name+" does not belong at the top")
		}
	}
	for _, name := range topLevel() {
		if !slices.Contains(names, name) {
			found = append(found, name+" is missing")
		}
	}
	return found
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(top)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for _, what := range misplaced(names) {
		t.Errorf("%s (the top level is the map of the project, and a map that grows is no map)", what)
	}
}

func TestTopLevelPlanted(t *testing.T) {
	if got := misplaced(append(topLevel(), "bin", ".ci")); len(got) != 0 {
		t.Errorf("found %q in a clean top level", got)
	}
	if got := misplaced(append(topLevel()[1:], "pkg")); len(got) != 2 {
		t.Errorf("found %q, want pkg too many and LICENSE missing", got)
	}
}

// undocumented lists the packages without a comment on their package clause, in any file that is no test,
// or in a test where there is nothing else.
func undocumented(sources []source) []string {
	has := make(map[string]bool)
	for _, s := range sources {
		if s.isTest() {
			continue
		}
		has[s.dir()] = has[s.dir()] || s.file.Doc != nil
	}
	for _, s := range sources {
		if _, ok := has[s.dir()]; !ok {
			has[s.dir()] = s.file.Doc != nil
		}
	}
	maps.DeleteFunc(has, func(_ string, documented bool) bool { return documented })
	return slices.Sorted(maps.Keys(has))
}

func TestPackageComments(t *testing.T) {
	for _, dir := range undocumented(checkout(t)) {
		t.Errorf("package %s has no comment (one honest sentence says what it is for, and what it is not)", dir)
	}
}

func TestPackageCommentsPlanted(t *testing.T) {
	sources := []source{
		plant(t, "agent/a.go", "// Package agent is.\npackage agent\n"),
		plant(t, "agent/b.go", "package agent\n"),
		plant(t, "agent/linux/a.go", "package linux\n"),
		plant(t, "agent/linux/a_test.go", "// Package linux is.\npackage linux\n"),
		plant(t, "cmd/x/main.go", "// far away\n\npackage main\n"),
		plant(t, "cmd/y/y_test.go", "package y\n"),
	}
	if got, want := fmt.Sprint(undocumented(sources)), "[agent/linux cmd/x cmd/y]"; got != want {
		t.Errorf("without a comment: %s, want %s", got, want)
	}
}

// TestImmutableTables keeps the list of allowed package variables free of names that are gone.
func TestImmutableTables(t *testing.T) {
	left := immutableTables()
	for _, s := range checkout(t) {
		for name := range left {
			dir, id, _ := strings.Cut(name, ".")
			if s.dir() == dir && declares(s, id) {
				delete(left, name)
			}
		}
	}
	for name := range left {
		t.Errorf("%s is on the list of immutable tables but not in the code", name)
	}
}
