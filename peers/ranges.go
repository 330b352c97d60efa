package peers

import (
	"net/netip"
	"slices"
)

// A Range is addresses of one family from First to Last, both included.
type Range struct{ First, Last netip.Addr }

// String is one address, or a range with a dash.
func (r Range) String() string {
	if r.First == r.Last {
		return r.First.String()
	}
	return r.First.String() + "-" + r.Last.String()
}

// RangeOf are the addresses of a prefix.
func RangeOf(p netip.Prefix) Range {
	p = p.Masked()
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < p.Addr().BitLen(); i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(last)
	return Range{p.Addr(), a}
}

// A tagged range is one that certain things, named by a set of bits, say something about.
type tagged struct {
	Range
	tags string
}

// A splitter takes prefixes with tags and splits them into ranges that do not overlap, each with the tags of
// all prefixes that it lies in. Prefixes overlap only in that one lies within the other, so a stack is enough.
type splitter struct {
	size  int // of a set of tags
	tags  map[netip.Prefix][]byte
	stack []tagged
	at    netip.Addr // up to here all is told
	out   []tagged
}

func newSplitter(tags int) *splitter {
	return &splitter{size: (tags + 7) / 8, tags: map[netip.Prefix][]byte{}}
}

// add says that a prefix has a tag.
func (s *splitter) add(p netip.Prefix, tag int) {
	set := s.tags[p]
	if set == nil {
		set = make([]byte, s.size)
		s.tags[p] = set
	}
	set[tag/8] |= 1 << (tag % 8)
}

// split gives the ranges of one family, ascending. Neighbours with the same tags are one range.
func (s *splitter) split(ipv6 bool) []tagged {
	prefixes := make([]netip.Prefix, 0, len(s.tags))
	for p := range s.tags {
		if p.Addr().Is6() == ipv6 {
			prefixes = append(prefixes, p)
		}
	}
	slices.SortFunc(prefixes, comparePrefixes)
	s.stack, s.out, s.at = nil, nil, netip.Addr{}
	for _, p := range prefixes {
		r := RangeOf(p)
		s.pop(r.First)
		set := s.tags[p]
		if n := len(s.stack); n > 0 {
			s.emit(s.stack[n-1].tags, r.First.Prev())
			set = joinTags(set, s.stack[n-1].tags)
		}
		s.at = r.First
		s.stack = append(s.stack, tagged{r, string(set)})
	}
	s.pop(netip.Addr{})
	return s.out
}

// pop ends the prefixes that lie before an address; all of them for none.
func (s *splitter) pop(before netip.Addr) {
	for n := len(s.stack); n > 0; n = len(s.stack) {
		top := s.stack[n-1]
		if before.IsValid() && !top.Last.Less(before) {
			return
		}
		s.emit(top.tags, top.Last)
		s.stack = s.stack[:n-1]
	}
}

// emit tells what lies between where all is told and an address.
func (s *splitter) emit(tags string, last netip.Addr) {
	if !s.at.IsValid() || !last.IsValid() || last.Less(s.at) {
		return
	}
	if n := len(s.out); n > 0 && s.out[n-1].tags == tags && s.out[n-1].Last.Next() == s.at {
		s.out[n-1].Last = last
	} else {
		s.out = append(s.out, tagged{Range{s.at, last}, tags})
	}
	s.at = last.Next()
}

func joinTags(set []byte, more string) []byte {
	out := slices.Clone(set)
	for i := range out {
		out[i] |= more[i]
	}
	return out
}

// protected are the ranges of prefixes less those of others.
func protected(prefixes, less []netip.Prefix) []Range {
	const keep, drop = 0, 1
	s := newSplitter(2)
	for _, p := range prefixes {
		if p.IsValid() {
			s.add(p.Masked(), keep)
		}
	}
	for _, p := range less {
		s.add(p.Masked(), drop)
	}
	var out []Range
	for _, t := range slices.Concat(s.split(false), s.split(true)) {
		if t.tags[0] == 1<<keep {
			out = append(out, t.Range)
		}
	}
	return out
}
