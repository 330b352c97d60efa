package tap

import "bytes"

// needles are the texts that a tap looks for.
type needles struct {
	texts   [][]byte
	longest int
}

func needlesOf(texts []string) needles {
	var n needles
	for _, text := range texts {
		if text != "" {
			n.texts = append(n.texts, []byte(text))
			n.longest = max(n.longest, len(text))
		}
	}
	return n
}

// in returns the first of the texts that is in b, "" if none is.
func (n needles) in(b []byte) string {
	for _, text := range n.texts {
		if bytes.Contains(b, text) {
			return string(text)
		}
	}
	return ""
}

// A seam is the end of what a flow has carried so far: as much of it as may be the beginning of a text.
type seam []byte

// join moves the seam behind b and returns the text that lies across the two. What lies within b, or was complete
// before it, is not its business.
func (s *seam) join(b []byte, n needles) string {
	if n.longest < 2 || len(b) == 0 {
		return ""
	}
	keep := n.longest - 1
	head := b[:min(keep, len(b))]
	around := append(bytes.Clone(*s), head...)
	found := ""
	for _, text := range n.texts {
		if bytes.Contains(around, text) && !bytes.Contains(*s, text) && !bytes.Contains(head, text) {
			found = string(text)
			break
		}
	}
	if len(b) > keep {
		around = b
	}
	*s = append((*s)[:0], around[max(0, len(around)-keep):]...)
	return found
}
