package tap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// counters read how many packets the links of a network namespace have carried, both directions added up. The file
// belongs to the namespace of whoever opened it, whoever reads it.
type counters struct {
	file *os.File
}

func openCounters() (counters, error) {
	file, err := os.Open("/proc/thread-self/net/dev")
	return counters{file}, err
}

// packets returns the count of a link.
func (c counters) packets(link string) (uint64, error) {
	text, err := io.ReadAll(io.NewSectionReader(c.file, 0, 1<<20))
	if err != nil {
		return 0, fmt.Errorf("reading %s: %v", c.file.Name(), err)
	}
	for line := range bytes.Lines(text) {
		name, numbers, ok := strings.Cut(string(line), ":")
		if ok && strings.TrimSpace(name) == link {
			return packetsIn(strings.Fields(numbers))
		}
	}
	return 0, fmt.Errorf("link %s is gone", link)
}

// packetsIn adds up the columns of /proc/net/dev that count packets.
func packetsIn(columns []string) (uint64, error) {
	const received, sent, all = 1, 9, 16
	if len(columns) != all {
		return 0, errors.New("/proc/net/dev has other columns than it used to")
	}
	in, err1 := strconv.ParseUint(columns[received], 10, 64)
	out, err2 := strconv.ParseUint(columns[sent], 10, 64)
	return in + out, errors.Join(err1, err2)
}
