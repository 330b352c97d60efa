package linux

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/nftables"
)

// completions are all values of two bytes that a value may be.
func completions(v value) (out [][]byte) {
	for i := range 1 << 16 {
		b := binary.BigEndian.AppendUint16(nil, uint16(i))
		if (b[0]^v.bytes[0])&v.known[0] == 0 && (b[1]^v.bytes[1])&v.known[1] == 0 {
			out = append(out, b)
		}
	}
	return out
}

// someValue knows the first few bits of two bytes, few enough that it takes not long to go through all completions.
func someValue(r *rand.Rand) value {
	v := anything(2)
	v.put(0, two(r), 6+r.IntN(11))
	return v
}

func two(r *rand.Rand) []byte { return binary.BigEndian.AppendUint16(nil, uint16(r.Uint32())) }

// TestWhatIsCertainIsTrue holds what is said of values that are known in part against all values that they may be.
func TestWhatIsCertainIsTrue(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var certain, differing, within, without int
	for range 400 {
		v := someValue(r)
		all := completions(v)
		with := slices.Clone(all[r.IntN(len(all))])
		if r.IntN(2) == 0 {
			with = two(r)
		}
		order, sure := v.compare(with)
		for _, b := range all {
			got := bytes.Compare(b, with)
			if sure && sign(got) != sign(order) || order != 0 && got == 0 {
				t.Fatalf("%v compared with %x: %d, %v; %x is %d", v, with, order, sure, b, got)
			}
		}
		certain += map[bool]int{true: 1}[sure]
		differing += map[bool]int{true: 1}[!sure && order != 0]

		and, xor := two(r), two(r)
		masked := v.mask(and, xor)
		for _, b := range all {
			for i := range b {
				if c := b[i]&and[i] ^ xor[i]; (c^masked.bytes[i])&masked.known[i] != 0 {
					t.Fatalf("%v masked with %x, %x: %v, and %x gives %x", v, and, xor, masked, b, c)
				}
			}
		}

		set, elements := someRanges(r)
		has, ok := inRanges(elements, all[0], all[len(all)-1])
		for _, b := range all {
			if in := set[binary.BigEndian.Uint16(b)]; ok && in != has {
				t.Fatalf("%v in %v: %v, and %x is %v", v, elements, has, b, in)
			}
		}
		within += map[bool]int{true: 1}[ok && has]
		without += map[bool]int{true: 1}[ok && !has]
	}
	if min(certain, differing, within, without) < 20 {
		t.Errorf("the cases are lopsided: %d certain, %d differing, %d within, %d without", certain, differing, within, without)
	}
}

func sign(n int) int { return max(-1, min(1, n)) }

// someRanges is a set of ranges, and as the kernel lists it, in any order.
func someRanges(r *rand.Rand) (set map[uint16]bool, elements []nftables.SetElement) {
	set = map[uint16]bool{}
	borders := []int{}
	for range 2 * (1 + r.IntN(4)) {
		borders = append(borders, r.IntN(1<<16))
	}
	slices.Sort(borders)
	borders = slices.Compact(borders)
	for i := 0; i+1 < len(borders); i += 2 {
		for n := borders[i]; n < borders[i+1]; n++ {
			set[uint16(n)] = true
		}
		elements = append(elements,
			nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, uint16(borders[i]))},
			nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, uint16(borders[i+1])), IntervalEnd: true})
	}
	r.Shuffle(len(elements), func(i, j int) { elements[i], elements[j] = elements[j], elements[i] })
	return set, elements
}
