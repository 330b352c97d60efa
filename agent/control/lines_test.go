package control

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestLinesOfAnyLength(t *testing.T) {
	long := `{"kind":"` + strings.Repeat("x", 100_000) + `"}`
	in := newLines(strings.NewReader(`{"kind":"a"}` + "\n" + long + "\n" + `{"kind":"b","more":[1]}` + "\n" + `{"kind":"cut`))
	for i, want := range []int{1, 100_000, 1} {
		d, err := in.next()
		if err != nil || len(d.Kind) != want {
			t.Fatalf("message %d: %v, kind of %d letters, want %d", i, err, len(d.Kind), want)
		}
	}
	if _, err := in.next(); !errors.Is(err, io.EOF) {
		t.Errorf("half a message: %v, want EOF", err)
	}
}

func TestLineWithoutEnd(t *testing.T) {
	in := newLines(strings.NewReader(strings.Repeat("[", 1<<20)))
	in.max = 64 << 10
	if _, err := in.next(); !errors.Is(err, errLine) {
		t.Errorf("got %v, want errLine", err)
	}
}
