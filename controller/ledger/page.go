package ledger

import "encoding/binary"

// Kinds of pages.
const (
	flagBranch = 0x01
	flagLeaf   = 0x02
	flagFree   = 0x10
)

// flagBucket marks the records of a leaf that are buckets.
const flagBucket = 0x01

const (
	headerSize  = 16
	elementSize = 16 // of a leaf and of a branch
)

// A page is one page of a bbolt file, with those that continue it: a header, elements of equal size, and
// behind them the keys and values, packed, in the order of the elements.
type page struct{ data []byte }

func (p page) id() uint64       { return binary.NativeEndian.Uint64(p.data) }
func (p page) flags() uint16    { return binary.NativeEndian.Uint16(p.data[8:]) }
func (p page) count() int       { return int(binary.NativeEndian.Uint16(p.data[10:])) }
func (p page) overflow() uint32 { return binary.NativeEndian.Uint32(p.data[12:]) }

// leaf visits the records of a leaf and gives the number of bytes that the page uses.
func (p page) leaf(v visit) (used int, err error) {
	used = headerSize + p.count()*elementSize
	if used > len(p.data) {
		return 0, flawf("page %d: %d records do not fit", p.id(), p.count())
	}
	for i := range p.count() {
		at := headerSize + i*elementSize
		word := func(n int) uint32 { return binary.NativeEndian.Uint32(p.data[at+4*n:]) }
		flags, pos, ksize, vsize := word(0), int(word(1)), int(word(2)), int(word(3))
		if at+pos != used || ksize > len(p.data)-used || vsize > len(p.data)-used-ksize || flags > flagBucket {
			return 0, flawf("page %d: record %d is not where it should be", p.id(), i)
		}
		middle := used + ksize
		if err := v(p.data[used:middle], p.data[middle:middle+vsize], flags); err != nil {
			return 0, err
		}
		used = middle + vsize
	}
	return used, nil
}

// branch visits the pages below a branch and gives the number of bytes that the page uses.
func (p page) branch(v func(key []byte, child uint64) error) (used int, err error) {
	used = headerSize + p.count()*elementSize
	if used > len(p.data) || p.count() == 0 {
		return 0, flawf("page %d: %d branches do not fit", p.id(), p.count())
	}
	for i := range p.count() {
		at := headerSize + i*elementSize
		pos, ksize := int(binary.NativeEndian.Uint32(p.data[at:])), int(binary.NativeEndian.Uint32(p.data[at+4:]))
		if at+pos != used || ksize > len(p.data)-used || ksize == 0 {
			return 0, flawf("page %d: branch %d is not where it should be", p.id(), i)
		}
		if err := v(p.data[used:used+ksize], binary.NativeEndian.Uint64(p.data[at+8:])); err != nil {
			return 0, err
		}
		used += ksize
	}
	return used, nil
}

// free reads a list of free pages. Where there are 65,535 or more, the first number is their count.
func (p page) free() ([]uint64, error) {
	if p.flags() != flagFree {
		return nil, flawf("page %d is no list of free pages", p.id())
	}
	count, rest := uint64(p.count()), p.data[headerSize:]
	if count == 0xFFFF {
		count, rest = binary.NativeEndian.Uint64(rest), rest[8:]
	}
	if count > uint64(len(rest)/8) {
		return nil, flawf("page %d: %d free pages do not fit", p.id(), count)
	}
	ids := make([]uint64, count)
	for i := range ids {
		ids[i] = binary.NativeEndian.Uint64(rest[8*i:])
		if i > 0 && ids[i] <= ids[i-1] {
			return nil, flawf("page %d: the free pages are out of order", p.id())
		}
	}
	return ids, nil
}

// A bucket is the value of a record that is one: the page of its tree, or 0 and the only page itself.
type bucket []byte

const bucketSize = 16

func (b bucket) root() uint64 { return binary.NativeEndian.Uint64(b) }

// records visits all records of the bucket.
func (b bucket) records(im *image, v visit) error {
	if len(b) < bucketSize || b.root() != 0 && len(b) != bucketSize || b.root() == 0 && len(b) < bucketSize+headerSize {
		return flawf("a bucket of %d bytes", len(b))
	}
	if b.root() != 0 {
		return im.tree(b.root(), v)
	}
	p := page{data: b[bucketSize:]}
	if p.id() != 0 || p.flags() != flagLeaf || p.overflow() != 0 {
		return flawf("a bucket within its record is no leaf")
	}
	w := &walk{image: im, visit: v}
	used, err := p.leaf(w.record)
	if err == nil && used != len(p.data) {
		err = flawf("a bucket within its record has another length than its content")
	}
	return err
}
