package linux

import (
	"bytes"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// A set is what to look a key up in, which the part before it has loaded. One without a name belongs to its
// rule; one with a name is made before all rules and may be used by several. Nobody can change either while a
// rule uses it.
type set struct {
	nftables.Set
	kind     setKind
	elements []element
}

// What a set has behind its keys.
type setKind int

const (
	nothing   setKind = iota
	toChain           // where to go on
	toCounter         // what to count by
)

// An element is a key, or the first of a range, or the first behind it.
type element struct {
	key []byte
	to  string // chain or counter
	end bool
}

// newSet makes a set of ranges.
func newSet(name string, key nftables.SetDatatype) *set {
	return &set{Set: nftables.Set{Name: name, Anonymous: name == "", Constant: true, Interval: true, KeyType: key}}
}

func addressSet(name string, ipv6 bool) *set { return newSet(name, addressType(ipv6)) }

func addressType(ipv6 bool) nftables.SetDatatype {
	if ipv6 {
		return nftables.TypeIP6Addr
	}
	return nftables.TypeIPAddr
}

// add adds a range, behind those that are there, with what is behind it.
func (s *set) add(first, last []byte, to string) {
	s.elements = append(s.elements, element{key: first, to: to})
	if end := next(last); end != nil {
		s.elements = append(s.elements, element{key: end, end: true})
	}
}

// next is the key after another; nil after the last.
func next(key []byte) []byte {
	out := bytes.Clone(key)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i]++; out[i] != 0 {
			return out
		}
	}
	return nil
}

// mostAtOnce are as many keys as surely fit into one message: an attribute has at most 64 KB.
const mostAtOnce = 1000

func (s *set) expressions(conn *nftables.Conn, table *nftables.Table) ([]expr.Any, error) {
	if s.Anonymous {
		if err := s.addTo(conn, table); err != nil {
			return nil, err
		}
	}
	if s.kind == toCounter {
		return []expr.Any{counting(s)}, nil
	}
	return []expr.Any{&expr.Lookup{SourceRegister: 1, IsDestRegSet: s.kind == toChain, SetName: s.Name, SetID: s.ID}}, nil
}

// addTo has the library make a set without a name, of keys alone.
func (s *set) addTo(conn *nftables.Conn, table *nftables.Table) error {
	all := make([]nftables.SetElement, len(s.elements))
	for i, e := range s.elements {
		all[i] = nftables.SetElement{Key: e.key, IntervalEnd: e.end}
	}
	s.Table, s.Size = table, uint32(len(all))
	some := min(len(all), mostAtOnce)
	if err := conn.AddSet(&s.Set, all[:some]); err != nil {
		return err
	}
	known := s.Set
	known.Anonymous = false // no rule has it yet, so the kernel takes more; the library would not
	for all = all[some:]; len(all) > 0; all = all[some:] {
		some = min(len(all), mostAtOnce)
		if err := conn.SetAddElements(&known, all[:some]); err != nil {
			return err
		}
	}
	return nil
}

// An index is what to look keys up in of which most are alone: these by their hash, which takes the same time however
// many there are, and ranges in a tree.
type index struct{ alone, ranges *set }

// newIndex makes one with nothing in it: end is that of the names of both sets.
func newIndex(name, end string, key nftables.SetDatatype, kind setKind) index {
	i := index{newSet(name+end, key), newSet(name+"-ranges"+end, key)}
	i.alone.Interval = false
	i.alone.kind, i.ranges.kind = kind, kind
	return i
}

func (i index) add(first, last []byte, to string) {
	if bytes.Equal(first, last) {
		i.alone.elements = append(i.alone.elements, element{key: first, to: to})
		return
	}
	i.ranges.add(first, last, to)
}

// sets are those in which there is something.
func (i index) sets() (out []*set) {
	for _, s := range []*set{i.alone, i.ranges} {
		if len(s.elements) > 0 {
			out = append(out, s)
		}
	}
	return out
}
