package ledger

import (
	"bytes"
	"io"
)

// An image is a bbolt file that is read to check it, page by page and without bbolt. The format is
// number 2 of bbolt, in the byte order of the machine.
//
// It is stricter than bbolt: what bbolt writes is packed without gaps, a branch names the first key
// below it, and every page is in use exactly once or in the free list. Anything else is damage, because
// bbolt would read past the end of a page, run in circles or, later, write over pages in use.
type image struct {
	r    io.ReaderAt
	top  top
	seen []bool   // pages that were met, by number
	bufs [][]byte // one for each level of the tree
}

// maxDepth is far more than a tree of pages can have.
const maxDepth = 64

// A visit is called for every record of a bucket in the order of the keys. What it is given is only
// valid until it returns.
type visit func(key, value []byte, flags uint32) error

// openImage reads what says where everything is.
func openImage(r io.ReaderAt, size int64) (*image, error) {
	t, err := newestTop(r, size)
	if err != nil {
		return nil, err
	}
	return &image{r: r, top: t, seen: make([]bool, t.high)}, nil
}

// extent reads the page with a number together with those that continue it, and notes that they are used.
func (im *image) extent(id uint64, depth int) (page, error) {
	if depth >= maxDepth {
		return page{}, flawf("page %d: the tree is too deep", id)
	}
	if depth >= len(im.bufs) {
		im.bufs = append(im.bufs, make([]byte, im.top.pageSize))
	}
	if id < 2 || id >= im.top.high {
		return page{}, flawf("page %d is beyond the last one, %d", id, im.top.high)
	}
	buf := im.bufs[depth][:im.top.pageSize]
	if err := readAt(im.r, buf, int64(id)*im.top.pageSize); err != nil {
		return page{}, err
	}
	p := page{data: buf}
	if p.id() != id {
		return page{}, flawf("page %d says that it is %d", id, p.id())
	}
	more := uint64(p.overflow())
	if id+more >= im.top.high {
		return page{}, flawf("page %d goes on beyond the last one", id)
	}
	for n := id; n <= id+more; n++ {
		if im.seen[n] {
			return page{}, flawf("page %d is used twice", n)
		}
		im.seen[n] = true
	}
	if more > 0 {
		all := make([]byte, int64(more+1)*im.top.pageSize)
		copy(all, buf)
		if err := readAt(im.r, all[len(buf):], int64(id+1)*im.top.pageSize); err != nil {
			return page{}, err
		}
		im.bufs[depth], p.data = all, all
	}
	return p, nil
}

// A walk goes over one tree in the order of the keys.
type walk struct {
	image *image
	last  []byte
	visit visit
}

// tree visits every record below a page.
func (im *image) tree(root uint64, v visit) error {
	w := &walk{image: im, visit: v}
	_, err := w.page(root, 0)
	return err
}

// page visits a page and gives the first key below it.
func (w *walk) page(id uint64, depth int) ([]byte, error) {
	p, err := w.image.extent(id, depth)
	if err != nil {
		return nil, err
	}
	used := 0
	var first []byte
	switch p.flags() {
	case flagLeaf:
		used, err = p.leaf(func(key, value []byte, flags uint32) error {
			if first == nil {
				first = bytes.Clone(key)
			}
			return w.record(key, value, flags)
		})
		if p.count() == 0 && depth > 0 {
			return nil, flawf("page %d is empty", id)
		}
	case flagBranch:
		used, err = p.branch(func(key []byte, child uint64) error {
			if first == nil {
				first = bytes.Clone(key)
			}
			least, err := w.page(child, depth+1)
			if err == nil && !bytes.Equal(least, key) {
				err = flawf("page %d does not begin with the key that page %d says", child, id)
			}
			return err
		})
	default:
		return nil, flawf("page %d is of unknown kind %#x", id, p.flags())
	}
	if err == nil && (int64(used)+w.image.top.pageSize-1)/w.image.top.pageSize != int64(p.overflow())+1 {
		err = flawf("page %d has another length than its content", id)
	}
	return first, err
}

// record holds the order of the keys.
func (w *walk) record(key, value []byte, flags uint32) error {
	if len(key) == 0 || w.last != nil && bytes.Compare(w.last, key) >= 0 {
		return flawf("key %.80q is out of order", key)
	}
	w.last = append(w.last[:0], key...)
	return w.visit(key, value, flags)
}

// freelist notes the free pages, and refuses any that is in use.
func (im *image) freelist() error {
	p, err := im.extent(im.top.freelist, 0)
	if err != nil {
		return err
	}
	free, err := p.free()
	if err != nil {
		return err
	}
	for _, id := range free {
		if id < 2 || id >= im.top.high || im.seen[id] {
			return flawf("page %d is in the list of free pages", id)
		}
		im.seen[id] = true
	}
	for id := uint64(2); id < im.top.high; id++ {
		if !im.seen[id] {
			return flawf("page %d is neither used nor free", id)
		}
	}
	return nil
}
