package repo

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A program is what one of the commands must not carry, directly or through others.
type program struct {
	dir     string
	without []string
	reason  string
}

func programs() []program {
	const (
		small = "a host needs these two only, so they carry no store and no web framework to attack"
		apart = "the controller tells others what to do and touches no network of its own machine"
	)
	store := []string{"go.etcd.io", "github.com/danielgtaylor/huma", "time/tzdata", module + "/controller"}
	kernel := append(kernelModules(), "golang.zx2c4.com/wireguard", module+"/agent")
	return []program{
		{"cmd/warren", store, small},
		{"cmd/warren-agent", store, small},
		{"cmd/warren-controller", kernel, apart},
	}
}

// carried lists the packages of deps that lie in one of the trees.
func carried(deps, trees []string) (found []string) {
	for _, dep := range deps {
		if slices.ContainsFunc(trees, func(tree string) bool { return within(dep, tree) }) {
			found = append(found, dep)
		}
	}
	return found
}

// dependencies lists everything that is linked into the packages.
func dependencies(t *testing.T, packages string) []string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", packages)
	list.Dir = top
	var stderr strings.Builder
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", list, err, stderr.String())
	}
	return strings.Fields(string(out))
}

func TestPrograms(t *testing.T) {
	for _, p := range programs() {
		t.Run(p.dir, func(t *testing.T) {
			for _, dep := range carried(dependencies(t, "./"+p.dir), p.without) {
				t.Errorf("%s carries %s (%s)", p.dir, dep, p.reason)
			}
		})
	}
}

// TestProgramsPlanted shows that the names in the lists are real: all that one program must not carry is
// carried by another, so a misspelt tree would be found here.
func TestProgramsPlanted(t *testing.T) {
	all := dependencies(t, "./...")
	for _, p := range programs() {
		for _, tree := range p.without {
			if tree == "github.com/google/nftables" {
				continue // comes with the guard
			}
			if len(carried(all, []string{tree})) == 0 {
				t.Errorf("%s shall go without %s, which nothing here carries: is it spelt right?", p.dir, tree)
			}
		}
	}
	if got := carried([]string{"fmt", "go.etcd.io/bbolt", "go.etcd.iou"}, []string{"go.etcd.io"}); len(got) != 1 {
		t.Errorf("found %q, want the one of go.etcd.io", got)
	}
}
