package ledger

import (
	"encoding/binary"
	"hash/fnv"
	"io"
)

// A top is the part of a file's first two pages ("meta" in bbolt) that says where everything is.
type top struct {
	pageSize             int64
	root, freelist, high uint64 // numbers of pages; high is the first that was never used
	transaction          uint64
}

const (
	topMagic  = 0xED0CDAED
	topFormat = 2
	topStart  = 16 // behind the header of the page
	topSize   = 64
)

func parseTop(raw []byte) (top, error) {
	n := binary.NativeEndian
	if len(raw) < topStart+topSize || n.Uint32(raw[topStart:]) != topMagic {
		return top{}, flawf("it is no database of Warren")
	}
	raw = raw[topStart : topStart+topSize]
	sum := fnv.New64a()
	sum.Write(raw[:topSize-8])
	if n.Uint32(raw[4:]) != topFormat || n.Uint64(raw[topSize-8:]) != sum.Sum64() {
		return top{}, flawf("a record of the last transaction does not have its checksum")
	}
	return top{
		pageSize: int64(n.Uint32(raw[8:])), root: n.Uint64(raw[16:]), freelist: n.Uint64(raw[32:]),
		high: n.Uint64(raw[40:]), transaction: n.Uint64(raw[48:]),
	}, nil
}

// newestTop reads both tops; both must be readable.
func newestTop(r io.ReaderAt, size int64) (top, error) {
	if size == 0 {
		return top{}, flawf("it is empty (0 bytes)")
	}
	raw := make([]byte, topStart+topSize)
	if size < int64(len(raw)) {
		return top{}, flawf("it is cut off after %d bytes", size)
	}
	if err := readAt(r, raw, 0); err != nil {
		return top{}, err
	}
	first, err := parseTop(raw)
	if err != nil {
		return top{}, err
	}
	if ps := first.pageSize; ps < 512 || ps > 1<<24 || ps&(ps-1) != 0 {
		return top{}, flawf("pages of %d bytes", ps)
	}
	if size < first.pageSize+int64(len(raw)) {
		return top{}, flawf("it is cut off after %d bytes", size)
	}
	if err := readAt(r, raw, first.pageSize); err != nil {
		return top{}, err
	}
	second, err := parseTop(raw)
	if err != nil {
		return top{}, err
	}
	newest := first
	if second.transaction > first.transaction {
		newest = second
	}
	if newest.pageSize != first.pageSize || newest.high < 4 || newest.high > uint64(size/newest.pageSize) {
		return top{}, flawf("it is cut off: %d pages of %d bytes do not fit into %d bytes",
			newest.high, newest.pageSize, size)
	}
	return newest, nil
}

// readAt fills buf. A file that ends early is damaged; anything else is the disk's trouble.
func readAt(r io.ReaderAt, buf []byte, at int64) error {
	n, err := r.ReadAt(buf, at)
	switch {
	case n == len(buf):
		return nil
	case err == io.EOF || err == nil:
		return flawf("it is cut off after %d bytes", at+int64(n))
	default:
		return err
	}
}
