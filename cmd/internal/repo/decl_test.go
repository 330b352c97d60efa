package repo

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// maxMainLines is what a main.go may have at most.
const maxMainLines = 60

func formatted(s source) []finding {
	want, err := format.Source(s.text)
	if err != nil || bytes.Equal(want, s.text) {
		return nil
	}
	return []finding{{s.path, 1, "not formatted"}}
}

// shortMain looks at the four programs; what only developers run (cmd/internal) may keep it all in one file.
func shortMain(s source) []finding {
	lines := bytes.Count(s.text, []byte("\n"))
	program, _ := path.Match("cmd/*/main.go", s.path)
	if !program || lines <= maxMainLines {
		return nil
	}
	return []finding{{s.path, lines, fmt.Sprintf("%d lines, at most %d", lines, maxMainLines)}}
}

// documented wants a comment on every exported name of code that is not a test. A comment on a group of
// constants or variables counts for all of them.
func documented(s source) (found []finding) {
	if s.isTest() {
		return nil
	}
	report := func(id *ast.Ident, docs ...*ast.CommentGroup) {
		if id.IsExported() && !slices.ContainsFunc(docs, func(d *ast.CommentGroup) bool { return d != nil }) {
			found = append(found, finding{s.path, s.line(id.Pos()), id.Name + " has no comment"})
		}
	}
	for _, decl := range s.file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || ast.IsExported(receiver(d)) {
				report(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					report(spec.Name, d.Doc, spec.Doc, spec.Comment)
				case *ast.ValueSpec:
					for _, id := range spec.Names {
						report(id, d.Doc, spec.Doc, spec.Comment)
					}
				}
			}
		}
	}
	return found
}

// receiver is the name of the type that a method belongs to.
func receiver(d *ast.FuncDecl) string {
	expr := d.Recv.List[0].Type
	for {
		switch x := expr.(type) {
		case *ast.StarExpr:
			expr = x.X
		case *ast.IndexExpr:
			expr = x.X
		case *ast.IndexListExpr:
			expr = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func noInit(s source) (found []finding) {
	for _, decl := range s.file.Decls {
		if d, ok := decl.(*ast.FuncDecl); ok && d.Recv == nil && d.Name.Name == "init" {
			found = append(found, finding{s.path, s.line(d.Pos()), "init()"})
		}
	}
	return found
}

// honestNames looks at functions and types; variables are too short-lived to mislead anybody.
func honestNames(s source) (found []finding) {
	vague := regexp.MustCompile(`(?i)(Manager|Helper|Helpers|Util|Utils|Impl|Handler|Info|Data)$`)
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			rest, ok := strings.CutPrefix(n.Name.Name, "Get")
			if ok && rest != "" && unicode.IsUpper(rune(rest[0])) {
				found = append(found, finding{s.path, s.line(n.Pos()), "func " + n.Name.Name})
			}
		case *ast.TypeSpec:
			if vague.MatchString(n.Name.Name) {
				found = append(found, finding{s.path, s.line(n.Pos()), "type " + n.Name.Name})
			}
		}
		return true
	})
	return found
}

func nothingPutOff(s source) (found []finding) {
	put := regexp.MustCompile(`^//\s*nolint|\b(TODO|FIXME|XXX)\b`)
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			if m := put.FindString(c.Text); m != "" {
				found = append(found, finding{s.path, s.line(c.Pos()), m})
			}
		}
	}
	return found
}

// smallInterfaces counts the methods that an interface declares and those it embeds from the same file;
// an embedded interface from elsewhere counts as one.
func smallInterfaces(s source) (found []finding) {
	const most = 4
	named := make(map[string]*ast.InterfaceType)
	ast.Inspect(s.file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if i, ok := spec.Type.(*ast.InterfaceType); ok {
				named[spec.Name.Name] = i
			}
		}
		return true
	})
	ast.Inspect(s.file, func(n ast.Node) bool {
		if i, ok := n.(*ast.InterfaceType); ok {
			if size := methods(i, named); size > most {
				what := fmt.Sprintf("interface of %d methods, at most %d", size, most)
				found = append(found, finding{s.path, s.line(i.Pos()), what})
			}
		}
		return true
	})
	return found
}

func methods(i *ast.InterfaceType, named map[string]*ast.InterfaceType) (size int) {
	for _, m := range i.Methods.List {
		switch x := m.Type.(type) {
		case *ast.BinaryExpr, *ast.UnaryExpr: // a constraint: a set of types, not of methods
		case *ast.Ident:
			if inner, ok := named[x.Name]; ok && inner != i {
				size += methods(inner, named)
				continue
			}
			size++
		default:
			size += max(1, len(m.Names))
		}
	}
	return size
}

// immutableTables lists the package variables that only exist because Go has no constants of their type,
// each with the reason why that is so and who else could change it.
func immutableTables() map[string]string {
	return map[string]string{
		"cmd/internal/version.version": "set by the linker, and by nobody else",
		"cmd/internal/version.commit":  "set by the linker, and by nobody else",
		"cmd/internal/version.date":    "set by the linker, and by nobody else",
	}
}

func noVariables(s source) (found []finding) {
	if s.isTest() {
		return nil
	}
	for _, decl := range s.file.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok || d.Tok != token.VAR {
			continue
		}
		for _, spec := range d.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok || embedded(d.Doc) || embedded(v.Doc) {
				continue
			}
			for i, id := range v.Names {
				_, listed := immutableTables()[s.dir()+"."+id.Name]
				if id.Name == "_" || listed || (i < len(v.Values) && constant(v.Values[i])) {
					continue
				}
				found = append(found, finding{s.path, s.line(id.Pos()), "package variable " + id.Name})
			}
		}
	}
	return found
}

// declares reports whether a package variable of the name is in the file.
func declares(s source, name string) bool {
	for _, decl := range s.file.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok || d.Tok != token.VAR {
			continue
		}
		for _, spec := range d.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if ok && slices.ContainsFunc(v.Names, func(id *ast.Ident) bool { return id.Name == name }) {
				return true
			}
		}
	}
	return false
}

// embedded reports whether the compiler fills the variable from a file.
func embedded(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}

// constant tells the calls whose result nobody can change afterwards.
func constant(value ast.Expr) bool {
	call, ok := value.(*ast.CallExpr)
	if !ok {
		return false
	}
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := fun.X.(*ast.Ident)
	return ok && slices.Contains([]string{
		"errors.New", "regexp.MustCompile", "netip.MustParsePrefix", "netip.MustParseAddr",
	}, pkg.Name+"."+fun.Sel.Name)
}
