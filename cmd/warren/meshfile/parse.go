package meshfile

import (
	"strings"

	"github.com/warren-mesh/warren/peers"
)

// MaxSize is how large a file may be.
const MaxSize = 1 << 20

// A File is what stands in a file, and where.
type File struct {
	Policy   peers.Policy   // of a file of its own
	Declared peers.Declared // of a file that says more
	lines    map[string]int // by what peers calls the place
}

// ParsePolicy reads a file that is a policy. The error is peers.Problems, with all that is wrong with it.
func ParsePolicy(raw []byte) (*File, error) {
	r := &reader{file: &File{lines: map[string]int{}}, code: "policy-file", hint: "warren policy apply --help"}
	root, err := document(raw)
	if err != nil {
		r.refuse(nil, "policy", "%v", err)
		return nil, r.problems
	}
	r.policy(root, "policy")
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return r.file, nil
}

// Line is where a problem that peers found stands; 0 where it is about no line.
func (f *File) Line(at string) int {
	for at != "" {
		if n := f.lines[at]; n > 0 {
			return n
		}
		at = at[:max(0, strings.LastIndexByte(at, '/'))]
	}
	return 0
}
