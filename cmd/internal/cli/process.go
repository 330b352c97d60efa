package cli

import (
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// A Process is all that a command may see of the process that it runs in.
type Process struct {
	Args   []string // without the program's name
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Env    func(name string) string
	Now    func() time.Time
}

// Colour reports whether w may be written to in colour: it is a terminal that knows colours, and nobody
// has asked for none (https://no-color.org).
func (p *Process) Colour(w io.Writer) bool {
	return IsTerminal(w) && p.Env("NO_COLOR") == "" && p.Env("TERM") != "dumb"
}

// IsTerminal reports whether a stream of the process is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Height is how many lines the terminal w has, 24 where that is not known.
func Height(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if _, lines, err := term.GetSize(int(f.Fd())); err == nil && lines > 0 {
			return lines
		}
	}
	return 24
}

// Width is the number of columns of a terminal, or a common one where that cannot be known.
func Width(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return 80
}
