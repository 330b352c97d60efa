package main

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/warren-mesh/warren/cmd/internal/cli"
)

const top = "../../.."

func TestReferenceIsUpToDate(t *testing.T) {
	want, err := generate(t.Context(), top)
	if err != nil {
		t.Fatal(err)
	}
	if want[commandsDir+"/warren.md"] == nil {
		t.Fatal("warren itself is not in the reference")
	}
	have := map[string]bool{}
	for _, dir := range []string{commandsDir, manDir} {
		entries, err := os.ReadDir(filepath.Join(top, dir))
		if err != nil {
			t.Errorf("%v (run `make docs`)", err)
		}
		for _, e := range entries {
			have[path.Join(dir, e.Name())] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		got, err := os.ReadFile(filepath.Join(top, name))
		if err != nil {
			t.Errorf("%s is missing (run `make docs`)", name)
			continue
		}
		if diff := cmp.Diff(string(got), string(want[name])); diff != "" {
			t.Errorf("%s is out of date (run `make docs`):\n%s", name, diff)
		}
	}
	for name := range have {
		if want[name] == nil {
			t.Errorf("%s describes nothing (run `make docs`)", name)
		}
	}
}

func TestPages(t *testing.T) {
	d := cli.Description{
		Path: "prog", Use: "prog COMMAND", Short: "Do things",
		Long:  "Do things.\n\n  prog it  # 'so'\n\n.dots start requests",
		Every: []cli.FlagText{{Name: "output", Short: "o", Value: "table|json", Usage: "how", Default: "table"}},
		Commands: []cli.Description{{
			Path: "prog it", Use: "prog it NAME", Short: "Do it", Example: "  prog it now",
			Flags: []cli.FlagText{{Name: "yes", Usage: "do not ask"}},
		}},
	}
	for name, want := range map[string]string{"prog.md": string(markdown(d)), "prog.1": string(man(d))} {
		golden, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(golden), want); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// TestManPagesFormat has the real formatter read the pages, where there is one, and takes no warning.
func TestManPagesFormat(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("no groff here to read the man pages")
	}
	pages, err := filepath.Glob(filepath.Join(top, manDir, "*"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no man pages: %v", err)
	}
	for _, page := range pages {
		out, err := exec.CommandContext(t.Context(), groff, "-man", "-Tutf8", "-ww", "-z", page).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", page, err, out)
		}
	}
}

func TestWriteTakesStalePagesAway(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir, map[string][]byte{commandsDir + "/old.md": []byte("old")}); err != nil {
		t.Fatal(err)
	}
	if err := write(dir, map[string][]byte{commandsDir + "/new.md": []byte("new")}); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "docs", "*", "*"))
	if err != nil || len(left) != 1 || !strings.HasSuffix(left[0], "new.md") {
		t.Errorf("left are %q, %v; want new.md alone", left, err)
	}
	text, err := os.ReadFile(left[0])
	if err != nil || !bytes.Equal(text, []byte("new")) {
		t.Errorf("new.md is %q, %v", text, err)
	}
}
