package packages

import (
	"cmp"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// update writes what the tests see as what they want.
func update() bool { return flag.Lookup("update").Value.String() == "true" }

// TestMain knows -update.
func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files")
	flag.Parse()
	os.Exit(m.Run())
}

// built finds the packages of a kind that make check-packages has built; without it there are none.
func built(t *testing.T, kind string) []string {
	t.Helper()
	dir := os.Getenv("WARREN_PACKAGES")
	if dir == "" {
		t.Skip("no packages were built for this test: make check-packages")
	}
	found, err := filepath.Glob(filepath.Join(dir, "*."+kind))
	if err != nil || len(found) != 3 {
		t.Fatalf("want three packages for one machine in %s: %v, %v", dir, found, err)
	}
	return found
}

// command gives what a program prints.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// golden compares a text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if update() {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

// TestContents: every file with its mode and owner, in both kinds of packages, and what they depend on.
func TestContents(t *testing.T) {
	for kind, list := range map[string]func(*testing.T, string) string{"deb": listDeb, "rpm": listRPM} {
		t.Run(kind, func(t *testing.T) {
			var all strings.Builder
			for _, path := range built(t, kind) {
				all.WriteString(list(t, path))
			}
			golden(t, kind+".txt", all.String())
		})
	}
}

// version is what changes with each commit.
func anonymous(text string) string {
	return regexp.MustCompile(`[0-9][0-9.]*([+~][0-9a-z.+~]*)?\b`).ReplaceAllString(text, "VERSION")
}

func listDeb(t *testing.T, path string) string {
	need(t, "dpkg-deb", "dpkg")
	out := command(t, "dpkg-deb", "--show", "--showformat=${Package}: ${Architecture}, depends on: ${Depends}\n", path)
	out = anonymous(strings.ReplaceAll(out, "amd64", "this machine"))
	out = strings.ReplaceAll(out, "arm64", "this machine")
	var files []string
	for line := range strings.Lines(command(t, "dpkg-deb", "--contents", path)) {
		f := strings.Fields(line)
		if len(f) < 6 {
			t.Fatalf("not understood: %s", line)
		}
		if name := strings.TrimPrefix(f[5], "."); !strings.HasSuffix(name, "/") {
			files = append(files, "  "+f[0]+" "+f[1]+" "+name+"\n")
		} else if f[0] != "drwxr-xr-x" || f[1] != "root/root" {
			t.Errorf("the folder %s is %s of %s", name, f[0], f[1])
		}
	}
	return out + strings.Join(byName(files), "")
}

func listRPM(t *testing.T, path string) string {
	need(t, "rpm", "rpm")
	head := command(t, "rpm", "-qp", "--qf", `%{NAME}: this machine, depends on: [%{REQUIRENAME} %{REQUIREFLAGS:depflags} %{REQUIREVERSION}, ]`+"\n", path)
	head = regexp.MustCompile(`(rpmlib|/bin)[^,]*, `).ReplaceAllString(head, "")
	files := strings.SplitAfter(command(t, "rpm", "-qp", "--qf", `[  %{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES}`+"\n]", path), "\n")
	return anonymous(head) + strings.Join(byName(files), "")
}

func byName(lines []string) []string {
	slices.SortFunc(lines, func(a, b string) int {
		return cmp.Compare(a[strings.LastIndex(a, " ")+1:], b[strings.LastIndex(b, " ")+1:])
	})
	return lines
}

// TestScripts: those of the packages are shell, and none is left with a place to fill in.
func TestScripts(t *testing.T) {
	for _, path := range built(t, "deb") {
		dir := t.TempDir()
		command(t, "dpkg-deb", "--raw-extract", path, filepath.Join(dir, "x"))
		scripts, err := filepath.Glob(filepath.Join(dir, "x", "DEBIAN", "p*"))
		if err != nil || len(scripts) < 2 {
			t.Fatalf("%s has the scripts %v, %v", path, scripts, err)
		}
		for _, script := range scripts {
			command(t, "sh", "-n", script)
			text, err := os.ReadFile(script)
			if err != nil || regexp.MustCompile(`@[a-z]+@|\$\{[A-Z]+\}`).Match(text) {
				t.Errorf("%s of %s is not filled in: %v", filepath.Base(script), filepath.Base(path), err)
			}
		}
		pages, err := filepath.Glob(filepath.Join(dir, "x", "usr/share/man/man?/*.gz"))
		if err != nil || len(pages) != 1 {
			t.Fatalf("%s has the manual pages %v, %v", path, pages, err)
		}
		command(t, "gzip", "--test", pages[0])
	}
}
