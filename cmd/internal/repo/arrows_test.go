package repo

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// An arrow is a rule about who may import whom. Packages of this module are named by their folder
// ("peers/key"), all others by their import path.
type arrow struct {
	name   string
	reason string
	tests  bool // whether it binds test files too; where not, a test may put real parts together
	wrong  func(from, imported string) bool
}

func arrows() []arrow {
	return []arrow{
		{
			name:   "peers is the bottom",
			reason: "controller, agent and CLI call the same rules, so these know none of them",
			tests:  true,
			wrong: func(from, imported string) bool {
				return within(from, "peers") && own(imported) && !within(imported, "peers")
			},
		},
		{
			name: "inside peers",
			reason: "keys and pins are leaves, the domain knows keys, the wire knows the domain; " +
				"a new package under peers takes its place in this list",
			wrong: func(from, imported string) bool {
				return within(from, "peers") && within(imported, "peers") &&
					!slices.Contains(peersArrows()[from], imported)
			},
		},
		{
			name:   "peers needs the standard library only",
			reason: "what decides where order data goes must be readable without reading anything else",
			wrong: func(from, imported string) bool {
				return within(from, "peers") && !own(imported) && strings.Contains(strings.Split(imported, "/")[0], ".")
			},
		},
		{
			name:   "peers does nothing but compute",
			reason: "no files, network, log, randomness, goroutine or clock: the same inventory gives the same plan",
			wrong: func(from, imported string) bool {
				return within(from, "peers") && impure(imported) && !slices.Contains(pinOnly(), from+" "+imported)
			},
		},
		{
			name:   "controller and agent apart",
			reason: "they are two programs on two machines and of two versions: what both need is in peers",
			tests:  true,
			wrong: func(from, imported string) bool {
				return within(from, "controller") && within(imported, "agent") ||
					within(from, "agent") && within(imported, "controller")
			},
		},
		{
			name: "imports point down",
			reason: "a part never knows its parent or a sibling: " +
				"the parent declares the interface it needs, cmd hands the part in",
			wrong: func(from, imported string) bool {
				return (within(from, "controller") || within(from, "agent")) && own(imported) &&
					!within(imported, "peers") && !strings.HasPrefix(imported, from+"/")
			},
		},
		{
			name:   "one place talks to the kernel",
			reason: "everything else is tested against the fake that passes the same contract test",
			wrong: func(from, imported string) bool {
				return slices.ContainsFunc(kernelModules(), func(m string) bool { return within(imported, m) }) &&
					!slices.ContainsFunc(kernelUsers(), func(user string) bool { return within(from, user) })
			},
		},
	}
}

// peersArrows says for each package under peers which others of them it may import.
func peersArrows() map[string][]string {
	return map[string][]string{
		"peers":      {"peers/key"},
		"peers/key":  nil,
		"peers/pin":  nil,
		"peers/wire": {"peers", "peers/key"},
	}
}

// pinOnly lists what one package under peers may import although the others may not: peers/pin makes TLS
// configurations, which opens no connection.
func pinOnly() []string {
	return []string{"peers/pin crypto/tls", "peers/pin crypto/x509", "peers/pin crypto/x509/pkix"}
}

// impure tells the packages that reach outside of the process, know the time, draw lots or share memory.
func impure(imported string) bool {
	trees := []string{
		"os", "log", "sync", "syscall", "runtime", "unsafe", "plugin", "math/rand", "crypto/rand",
		"crypto/tls", "crypto/x509", "net/http", "net/rpc", "net/smtp", "net/textproto", "io/fs", "testing", "database",
	}
	exact := []string{"net", "context", "io/ioutil", "path/filepath", "embed", "time/tzdata", "expvar", "flag"}
	return slices.Contains(exact, imported) ||
		slices.ContainsFunc(trees, func(tree string) bool { return within(imported, tree) })
}

// kernelModules are the ways to the kernel's links, routes, rules and tunnels.
func kernelModules() []string {
	return []string{
		"github.com/vishvananda/netlink", "github.com/vishvananda/netns", "github.com/mdlayher",
		"github.com/google/nftables", "golang.zx2c4.com/wireguard/wgctrl",
	}
}

// kernelUsers are the agent's way to the kernel, the lab that builds its hosts out of it, and the bench that
// measures plain WireGuard beside the mesh.
func kernelUsers() []string { return []string{"agent/linux", "cmd/internal/lab", "cmd/internal/bench"} }

// within reports whether pkg is tree or lies under it.
func within(pkg, tree string) bool { return pkg == tree || strings.HasPrefix(pkg, tree+"/") }

// own reports whether pkg belongs to this module.
func own(pkg string) bool {
	return slices.Contains([]string{"cmd", "agent", "controller", "peers"}, strings.Split(pkg, "/")[0])
}

// broken lists the imports of the sources that go against an arrow.
func (a arrow) broken(sources []source) (found []finding) {
	for _, s := range sources {
		if s.isTest() && !a.tests {
			continue
		}
		for _, spec := range s.file.Imports {
			imported := strings.TrimPrefix(strings.Trim(spec.Path.Value, "\"`"), module+"/")
			if a.wrong(s.dir(), imported) {
				what := fmt.Sprintf("%s must not import %s", s.dir(), imported)
				found = append(found, finding{s.path, s.line(spec.Pos()), what})
			}
		}
	}
	return found
}

func TestArrows(t *testing.T) {
	sources := checkout(t)
	for _, a := range arrows() {
		t.Run(a.name, func(t *testing.T) {
			for _, f := range a.broken(sources) {
				t.Errorf("%v (%s)", f, a.reason)
			}
		})
	}
}

// TestArrowsPlanted holds the arrows against imports that each of them must refuse or let pass.
func TestArrowsPlanted(t *testing.T) {
	cases := []struct{ file, imported, broken string }{
		{"peers/a.go", module + "/agent", "peers is the bottom"},
		{"peers/a_test.go", module + "/controller/ledger", "peers is the bottom"},
		{"peers/a.go", module + "/peers/wire", "inside peers"},
		{"peers/key/a.go", module + "/peers", "inside peers"},
		{"peers/pin/a.go", module + "/peers/key", "inside peers"},
		{"peers/new/a.go", module + "/peers", "inside peers"},
		{"peers/wire/a.go", module + "/peers", ""},
		{"peers/wire/a_test.go", module + "/peers/pin", ""},
		{"peers/a.go", "pgregory.net/rapid", "peers needs the standard library only"},
		{"peers/a_test.go", "pgregory.net/rapid", ""},
		{"peers/a.go", "os", "peers does nothing but compute"},
		{"peers/a.go", "os/exec", "peers does nothing but compute"},
		{"peers/a.go", "net", "peers does nothing but compute"},
		{"peers/a.go", "log/slog", "peers does nothing but compute"},
		{"peers/a.go", "sync/atomic", "peers does nothing but compute"},
		{"peers/key/a.go", "crypto/rand", "peers does nothing but compute"},
		{"peers/key/a.go", "crypto/tls", "peers does nothing but compute"},
		{"peers/pin/a.go", "crypto/tls", ""},
		{"peers/pin/a.go", "context", "peers does nothing but compute"},
		{"peers/a.go", "net/netip", ""},
		{"peers/a.go", "time", ""},
		{"peers/a.go", "encoding/json", ""},
		{"peers/a_test.go", "os", ""},
		{"controller/api/a.go", module + "/agent", "controller and agent apart"},
		{"agent/a_test.go", module + "/controller", "controller and agent apart"},
		{"agent/linux/a.go", module + "/agent", "imports point down"},
		{"agent/linux/a.go", module + "/agent/cache", "imports point down"},
		{"agent/linux/a_test.go", module + "/agent/cache", ""},
		{"agent/linuxulator/a.go", module + "/agent/linux", "imports point down"},
		{"controller/ledger/a.go", module + "/controller", "imports point down"},
		{"controller/a.go", module + "/controller/ledger", ""},
		{"controller/a.go", module + "/cmd/internal/version", "imports point down"},
		{"controller/ledger/a.go", module + "/peers/wire", ""},
		{"agent/a.go", "github.com/vishvananda/netlink", "one place talks to the kernel"},
		{"cmd/warren-agent/a.go", "golang.zx2c4.com/wireguard/wgctrl/wgtypes", "one place talks to the kernel"},
		{"agent/userspace/a.go", "golang.zx2c4.com/wireguard/device", ""},
		{"agent/linux/a.go", "github.com/mdlayher/netlink", ""},
		{"cmd/internal/lab/a.go", "github.com/vishvananda/netlink", ""},
		{"cmd/internal/bench/a.go", "golang.zx2c4.com/wireguard/wgctrl", ""},
		{"cmd/internal/e2e/a.go", "github.com/vishvananda/netlink", "one place talks to the kernel"},
		{"cmd/warren/a.go", module + "/agent", ""},
	}
	seen := make(map[string]bool)
	for _, c := range cases {
		s := plant(t, c.file, fmt.Sprintf("package a\n\nimport _ %q\n", c.imported))
		var got []string
		for _, a := range arrows() {
			if len(a.broken([]source{s})) > 0 {
				got = append(got, a.name)
				seen[a.name] = true
			}
		}
		if !slices.Contains(got, c.broken) && c.broken != "" || c.broken == "" && len(got) > 0 {
			t.Errorf("%s importing %s breaks %q, want %q", c.file, c.imported, got, c.broken)
		}
	}
	for _, a := range arrows() {
		if !seen[a.name] {
			t.Errorf("no planted import breaks %q", a.name)
		}
	}
}
