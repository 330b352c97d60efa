package repo

import (
	"go/ast"
	"slices"
	"strings"
)

// noSleep lets tests with synctest be: there a sleep takes no time and is how the clock moves on.
func noSleep(s source) []finding {
	if _, fake := s.imports()["testing/synctest"]; fake && s.isTest() {
		return nil
	}
	return uses(s, "time", "Sleep")
}

// noClock holds peers to be a function of what it is given. Types and constants of package time are fine.
func noClock(s source) []finding {
	if s.isTest() || !strings.HasPrefix(s.path, "peers/") {
		return nil
	}
	return uses(s, "time", "Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker",
		"Sleep", "Local", "LoadLocation")
}

// uses finds every mention of the names of a package, called or not, under whatever name it is imported.
func uses(s source, imported string, names ...string) (found []finding) {
	local, ok := s.imports()[imported]
	if !ok {
		return nil
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == local && slices.Contains(names, sel.Sel.Name) {
			found = append(found, finding{s.path, s.line(sel.Pos()), imported + "." + sel.Sel.Name})
		}
		return true
	})
	return found
}
