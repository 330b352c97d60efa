package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/warren-mesh/warren/peers/wire"
)

// maxLine is far above a snapshot of the largest mesh that an IPv4 overlay of /16 can hold.
const maxLine = 96 << 20

// errLine is returned for a line that is longer than any message.
var errLine = errors.New("the controller sends a line without an end")

// lines reads messages of the controller, one on each line.
type lines struct {
	r   *bufio.Reader
	max int
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, 16<<10), max: maxLine} }

// next reads one message. A short one is decoded where it lies in the buffer.
func (l *lines) next() (*wire.Down, error) {
	line, err := l.r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return decodeLine(line, err)
	}
	long := append([]byte(nil), line...)
	for errors.Is(err, bufio.ErrBufferFull) {
		if len(long) > l.max {
			return nil, errLine
		}
		line, err = l.r.ReadSlice('\n')
		long = append(long, line...)
	}
	return decodeLine(long, err)
}

func decodeLine(line []byte, err error) (*wire.Down, error) {
	if err != nil {
		return nil, err
	}
	var d wire.Down
	if err := json.Unmarshal(line, &d); err != nil {
		return nil, fmt.Errorf("message of the controller: %v", err)
	}
	return &d, nil
}
