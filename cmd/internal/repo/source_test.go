package repo

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/warren-mesh/warren"
	top    = "../../.." // the top of the checkout, from here
)

// A source is one Go file of the checkout. Files are read from disk and not through go list, so that a
// rule also holds for files that only build with a tag or on another system.
type source struct {
	path string // from the top of the checkout, with slashes
	text []byte
	fset *token.FileSet
	file *ast.File
}

// dir is the folder of the package, from the top of the checkout.
func (s source) dir() string { return path.Dir(s.path) }

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) line(p token.Pos) int { return s.fset.Position(p).Line }

// imports maps the path of every import to the name that the file uses for it.
func (s source) imports() map[string]string {
	names := make(map[string]string)
	for _, spec := range s.file.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has refused it already
		}
		names[imp] = path.Base(imp)
		if spec.Name != nil {
			names[imp] = spec.Name.Name
		}
	}
	return names
}

// A finding is one place that breaks a rule.
type finding struct {
	path string
	line int
	what string
}

func (f finding) String() string {
	if f.line == 0 {
		return f.path + ": " + f.what
	}
	return fmt.Sprintf("%s:%d: %s", f.path, f.line, f.what)
}

func parse(name string, text []byte) (source, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	return source{path: name, text: text, fset: fset, file: file}, err
}

// plant makes a source from text, for the tests that show a violation to a rule.
func plant(t *testing.T, name, text string) source {
	t.Helper()
	s, err := parse(name, []byte(text))
	if err != nil {
		t.Fatalf("planted source: %v", err)
	}
	return s
}

// checkout parses every Go file that belongs to the module.
func checkout(t *testing.T) []source {
	t.Helper()
	var sources []source
	err := filepath.WalkDir(top, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != top && foreign(entry.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, name)
		if err != nil {
			return err
		}
		s, err := parse(filepath.ToSlash(rel), text)
		sources = append(sources, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(sources, func(s source) bool { return s.path == "peers/doc.go" }) {
		t.Fatal("peers/doc.go is not among the sources: the rules look at the wrong folder")
	}
	return sources
}

// foreign tells the folders that the go command leaves out too, and those that make fills.
func foreign(dir string) bool {
	return strings.HasPrefix(dir, ".") || strings.HasPrefix(dir, "_") ||
		slices.Contains([]string{"testdata", "vendor", "bin", "dist"}, dir)
}
