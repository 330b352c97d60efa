package wire

import (
	"encoding/binary"
	"hash/crc32"
)

// WithChecksumForTest puts the checksum of a token behind its content.
func WithChecksumForTest(content []byte) []byte {
	return binary.BigEndian.AppendUint32(append([]byte{}, content...), crc32.ChecksumIEEE(content))
}
