package tap

// records follows one direction of a TLS connection from record to record. It cannot see what is encrypted, but it
// does see everything that is no record at all.
type records struct {
	header [5]byte
	have   int // bytes of header that are there
	left   int // bytes of the record's body to come
}

// follow takes the next bytes and reports whether all of them belong to records.
func (r *records) follow(b []byte) bool {
	for len(b) > 0 {
		if r.left > 0 {
			n := min(r.left, len(b))
			r.left, b = r.left-n, b[n:]
			continue
		}
		n := copy(r.header[r.have:], b)
		r.have, b = r.have+n, b[n:]
		if !plausible(r.header[:r.have]) {
			return false
		}
		if r.have == len(r.header) {
			r.left, r.have = int(r.header[3])<<8|int(r.header[4]), 0
		}
	}
	return true
}

// plausible checks as much of a record's header as there is: type, version, and a length that TLS allows.
func plausible(header []byte) bool {
	const changeCipherSpec, applicationData, longest = 20, 23, 1<<14 + 256
	for i, b := range header {
		switch {
		case i == 0 && (b < changeCipherSpec || b > applicationData), i == 1 && b != 3, i == 2 && (b < 1 || b > 3):
			return false
		}
	}
	if len(header) < 5 {
		return true
	}
	length := int(header[3])<<8 | int(header[4])
	return length > 0 && length <= longest
}
