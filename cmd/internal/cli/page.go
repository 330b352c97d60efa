package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/warren-mesh/warren/peers"
)

// A Page is where a command writes for people.
type Page struct {
	W      io.Writer
	Now    time.Time
	Colour bool
}

// A Tone says how something is meant; on a terminal it becomes a colour.
type Tone string

// The tones, as parameters of SGR (ECMA-48 §8.3.117).
const (
	Plain Tone = ""
	Good  Tone = "32"
	Warn  Tone = "33"
	Bad   Tone = "31"
	Dim   Tone = "2"
	Bold  Tone = "1"
)

// A Cell is text with a tone.
type Cell struct {
	Text string
	Tone Tone
}

// Clean takes out of text from elsewhere what could move the cursor or hide other text.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, s)
}

// Paint gives text its tone.
func (p *Page) Paint(tone Tone, text string) string {
	text = Clean(text)
	if !p.Colour || tone == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(tone) + "m" + text + "\x1b[0m"
}

// Line writes one line. Strings among args are cleaned.
func (p *Page) Line(format string, args ...any) {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = Clean(s)
		}
	}
	fmt.Fprintf(p.W, format+"\n", args...)
}

// Title writes a heading, with a note behind it, after an empty line.
func (p *Page) Title(text, note string) {
	fmt.Fprintf(p.W, "\n%s", p.Paint(Bold, text))
	if note != "" {
		fmt.Fprintf(p.W, "  %s", Clean(note))
	}
	fmt.Fprintln(p.W)
}

// Fields writes names and values below each other. A name without a value is left out.
func (p *Page) Fields(fields ...Field) {
	width := 0
	for _, f := range fields {
		if f.Value.Text != "" {
			width = max(width, len(f.Name))
		}
	}
	for _, f := range fields {
		if f.Value.Text != "" {
			fmt.Fprintf(p.W, "%s  %s\n", p.Paint(Dim, pad(f.Name, width)), p.Paint(f.Value.Tone, f.Value.Text))
		}
	}
}

// A Field is a name and a value.
type Field struct {
	Name  string
	Value Cell
}

// F makes a field without a tone.
func F(name, format string, args ...any) Field {
	return Field{Name: name, Value: Cell{Text: fmt.Sprintf(format, args...)}}
}

// Grid writes rows in columns below a heading. Cells are strings or Cells; an empty one becomes "-".
func (p *Page) Grid(heading []string, rows [][]any) {
	cells := make([][]Cell, 0, len(rows)+1)
	top := make([]Cell, len(heading))
	for i, h := range heading {
		top[i] = Cell{h, Dim}
	}
	cells = append(cells, top)
	for _, row := range rows {
		line := make([]Cell, len(row))
		for i, v := range row {
			line[i] = cellOf(v)
		}
		cells = append(cells, line)
	}
	widths := make([]int, len(heading))
	for _, line := range cells {
		for i, c := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.Text))
		}
	}
	for _, line := range cells {
		p.row(line, widths)
	}
}

func (p *Page) row(line []Cell, widths []int) {
	for i, c := range line {
		if i == len(line)-1 {
			fmt.Fprintln(p.W, p.Paint(c.Tone, c.Text))
			return
		}
		gap := widths[i] - utf8.RuneCountInString(c.Text) + 2
		fmt.Fprint(p.W, p.Paint(c.Tone, c.Text), strings.Repeat(" ", gap))
	}
}

func cellOf(v any) Cell {
	c, ok := v.(Cell)
	if !ok {
		c = Cell{Text: fmt.Sprint(v)}
	}
	if c.Text = Clean(c.Text); c.Text == "" {
		c = Cell{"-", Dim}
	}
	return c
}

// Problems writes what is wrong and what helps.
func (p *Page) Problems(problems []peers.Problem) {
	for _, problem := range problems {
		fmt.Fprintf(p.W, "%s  %s\n", p.Paint(Bad, problem.Code), Clean(problem.Message))
		if problem.Hint != "" {
			fmt.Fprintf(p.W, "  %s %s\n", p.Paint(Dim, "hint:"), Clean(problem.Hint))
		}
	}
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}
