package linux

import (
	"bytes"
	"slices"

	"github.com/google/nftables"
)

// contains says whether a set has a value; false for ok where that cannot be told.
func (w *walk) contains(table *nftables.Table, set string, v value) (has, ok bool) {
	elements, err := w.conn.GetSetElements(&nftables.Set{Table: table, Name: set})
	if err != nil || len(v.bytes) == 0 {
		return false, false
	}
	ranges := false
	for _, e := range elements {
		if e.KeyEnd != nil || len(e.Key) != len(v.bytes) {
			return false, false
		}
		ranges = ranges || e.IntervalEnd
	}
	last := slices.Clone(v.bytes) // the largest that it can be; the smallest is that with all unknown bits 0
	for i := range last {
		last[i] |= ^v.known[i]
	}
	if ranges {
		return inRanges(elements, v.bytes, last)
	}
	could := slices.ContainsFunc(elements, func(e nftables.SetElement) bool {
		return bytes.Compare(e.Key, v.bytes) >= 0 && bytes.Compare(e.Key, last) <= 0
	})
	return could, !could || v.whole()
}

// inRanges says whether all from first to last is in a set of ranges; false for ok where only some may be. Each range
// begins with an element and ends before one that says so.
func inRanges(elements []nftables.SetElement, first, last []byte) (has, ok bool) {
	slices.SortStableFunc(elements, func(a, b nftables.SetElement) int {
		if c := bytes.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		return map[bool]int{true: 0, false: 1}[a.IntervalEnd] - map[bool]int{true: 0, false: 1}[b.IntervalEnd]
	})
	for _, e := range elements {
		switch {
		case bytes.Compare(e.Key, first) <= 0:
			has = !e.IntervalEnd
		case bytes.Compare(e.Key, last) <= 0 && has == e.IntervalEnd:
			return false, false // a border in between
		}
	}
	return has, true
}
