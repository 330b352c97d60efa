package repo

import "strings"

// A plantedCase is a source and the lines on which a rule must find something.
type plantedCase struct {
	name, path, text string
	lines            []int
}

// planted gives the cases of each rule by its name.
func planted() map[string][]plantedCase {
	const doc = "// Package a is planted.\npackage a\n\n"
	return map[string][]plantedCase{
		"formatted": {
			{"spaces", "peers/a.go", "package a\n\nfunc  f() {}\n", []int{1}},
			{"clean", "peers/a.go", "package a\n\nfunc f() {}\n", nil},
		},
		"exported names documented": {
			{"func", "peers/a.go", doc + "func F() {}\n", []int{4}},
			{"method", "peers/a.go", doc + "// T is.\ntype T struct{}\n\nfunc (*T) G() {}\n", []int{7}},
			{"method nobody can call", "peers/a.go", doc + "type t struct{}\n\nfunc (t) F() {}\n", nil},
			{"generic method", "peers/a.go", doc + "// T is.\ntype T[X any] struct{}\n\nfunc (*T[X]) G() {}\n", []int{7}},
			{"const in a group", "peers/a.go", doc + "const (\n\tA = 1\n\t// B is.\n\tB = 2\n\tC = 3 // C is.\n)\n", []int{5}},
			{"documented group", "peers/a.go", doc + "// Both are.\nconst (\n\tA = 1\n\tB = 2\n)\n", nil},
			{"type", "peers/a.go", doc + "type T int\n", []int{4}},
			{"test", "peers/a_test.go", doc + "func TestF() {}\n", nil},
		},
		"no init": {
			{"init", "peers/a.go", doc + "func init() {}\n", []int{4}},
			{"in a test", "peers/a_test.go", doc + "func init() {}\n", []int{4}},
			{"method", "peers/a.go", doc + "type t struct{}\n\nfunc (t) init() {}\n", nil},
		},
		"no sleep": {
			{"sleep", "peers/a.go", doc + "import \"time\"\n\nfunc f() { time.Sleep(1) }\n", []int{6}},
			{"renamed", "agent/a_test.go", doc + "import clock \"time\"\n\nfunc f() { clock.Sleep(1) }\n", []int{6}},
			{"as a value", "peers/a.go", doc + "import \"time\"\n\nfunc f() { g(time.Sleep) }\n", []int{6}},
			{"fake time", "agent/a_test.go", doc + "import (\n\t\"testing/synctest\"\n\t\"time\"\n)\n\n" +
				"func f() { time.Sleep(1) }\n", nil},
			{"another time", "peers/a.go", doc + "func f(time t) { time.Sleep(1) }\n", nil},
		},
		"no package variables": {
			{"map", "agent/a.go", doc + "var m = map[string]int{}\n", []int{4}},
			{"zero", "agent/a.go", doc + "var x int\n", []int{4}},
			{"two", "agent/a.go", doc + "var x, y = 1, 2\n", []int{4, 4}},
			{"sentinel", "agent/a.go", doc + "import \"errors\"\n\nvar errX = errors.New(\"x\")\n", nil},
			{"pattern", "agent/a.go", doc + "import \"regexp\"\n\nvar p = regexp.MustCompile(\"x\")\n", nil},
			{"assertion", "agent/a.go", doc + "var _ t = u{}\n", nil},
			{"embed", "agent/a.go", doc + "//go:embed x\nvar x []byte\n", nil},
			{"test", "agent/a_test.go", doc + "var x int\n", nil},
		},
		"small interfaces": {
			{"five", "agent/a.go", doc + "type i interface{ a(); b(); c(); d(); e() }\n", []int{4}},
			{"four", "agent/a.go", doc + "type i interface{ a(); b(); c(); d() }\n", nil},
			{"anonymous", "agent/a.go", doc + "func f(interface{ a(); b(); c(); d(); e() }) {}\n", []int{4}},
			{"grown", "agent/a.go", doc + "type j interface{ i; d(); e() }\n\ntype i interface{ a(); b(); c() }\n", []int{4}},
			{"names in one", "agent/a.go", doc + "type i interface{ x.Y; b(); c(); d(); e() }\n", []int{4}},
			{"constraint", "agent/a.go", doc + "type i interface{ ~int | ~string | ~uint | ~bool | ~int8 }\n", nil},
		},
		"short main.go": {
			{"long", "cmd/x/main.go", "package main\n" + strings.Repeat("\n", 60), []int{61}},
			{"short", "cmd/x/main.go", "package main\n" + strings.Repeat("\n", 59), nil},
			{"no program", "cmd/internal/x/main.go", "package main\n" + strings.Repeat("\n", 60), nil},
		},
		"no clock in peers": {
			{"now", "peers/a.go", doc + "import \"time\"\n\nfunc f() { time.Now() }\n", []int{6}},
			{"since", "peers/wire/a.go", doc + "import \"time\"\n\nfunc f(t time.Time) { time.Since(t) }\n", []int{6}},
			{"a duration", "peers/a.go", doc + "import \"time\"\n\nconst d = time.Second\n", nil},
			{"elsewhere", "agent/a.go", doc + "import \"time\"\n\nfunc f() { time.Now() }\n", nil},
		},
		"honest names": {
			{"get", "agent/a.go", doc + "func (t) GetName() {}\n", []int{4}},
			{"manager", "agent/a.go", doc + "type PeerManager struct{}\n", []int{4}},
			{"unexported", "agent/a.go", doc + "type peerInfo struct{}\n", []int{4}},
			{"gettysburg", "agent/a.go", doc + "func Gettysburg() {}\n", nil},
		},
		"nothing put off": {
			{"nolint", "agent/a.go", doc + "func f() {} //nolint:errcheck // it is fine\n", []int{4}},
			{"to do", "agent/a.go", doc + "// TO" + "DO: later\nfunc f() {}\n", []int{4}},
			{"in a string", "agent/a.go", doc + "const c = \"TO" + "DO\"\n", nil},
		},
	}
}
