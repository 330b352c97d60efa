package controller

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/warren-mesh/warren/peers/wire"
)

// maxLine is the longest message of an agent: a report on some thousand peers.
const maxLine = 1 << 20

// errLine is returned for what is no message of an agent.
var errLine = errors.New("not a message of an agent")

// lines reads the messages of an agent.
type lines struct {
	r    *bufio.Reader
	line []byte
}

// newLines has a small buffer of its own: most messages are short, and there is one for each host.
func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, 512)} }

// next waits for a message. Errors of the message wrap errLine, all others are those of the stream.
func (l *lines) next() (wire.Up, error) {
	var up wire.Up
	l.line = l.line[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		if len(l.line)+len(part) > maxLine {
			return up, fmt.Errorf("a line of more than %d bytes: %w", maxLine, errLine)
		}
		l.line = append(l.line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return up, err
		}
	}
	if err := json.Unmarshal(l.line, &up); err != nil {
		return up, fmt.Errorf("%v: %w", err, errLine)
	}
	if cap(l.line) > 8<<10 { // a thousand streams would keep a thousand of these
		l.line = nil
	}
	return up, nil
}
