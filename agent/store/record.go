package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// A record is a line "warren KIND VERSION sha256:HEX" and then the content that the sum is of.
const (
	formatVersion = "1"
	maxHeader     = 256
)

// A Damaged error says which file is not what was written to it.
type Damaged struct {
	File string
	Why  string
}

// Error names the file and what is wrong with it.
func (d *Damaged) Error() string { return d.File + " is damaged: " + d.Why }

func encodeRecord(kind string, content []byte) []byte {
	sum := sha256.Sum256(content)
	head := fmt.Sprintf("warren %s %s sha256:%x\n", kind, formatVersion, sum)
	return append([]byte(head), content...)
}

// decodeRecord is the inverse of encodeRecord. The content is part of raw.
func decodeRecord(file, kind string, raw []byte) ([]byte, error) {
	damaged := func(why string) ([]byte, error) { return nil, &Damaged{File: file, Why: why} }
	if len(raw) == 0 {
		return damaged("it is empty")
	}
	end := bytes.IndexByte(raw[:min(len(raw), maxHeader)], '\n')
	if end < 0 {
		return damaged("it does not begin like a file of Warren")
	}
	words := bytes.Split(raw[:end], []byte(" "))
	if len(words) != 4 || string(words[0]) != "warren" || string(words[1]) != kind {
		return damaged("it does not begin like a file of Warren")
	}
	if string(words[2]) != formatVersion {
		return damaged(fmt.Sprintf("format %.8q is not known here: was it written by a newer Warren?", words[2]))
	}
	content := raw[end+1:]
	sum := sha256.Sum256(content)
	if string(words[3]) != "sha256:"+hex.EncodeToString(sum[:]) {
		return damaged("its checksum does not match")
	}
	return content, nil
}
