package main

import (
	"strings"
	"testing"
)

func TestClip(t *testing.T) {
	text := strings.Repeat("line\n", 10)
	for lines, want := range map[int]int{24: 10, 11: 10, 10: 9, 5: 4, 1: 2} {
		got := strings.Count(clip(text, lines), "\n")
		if got != want {
			t.Errorf("10 lines on a terminal of %d: %d lines, want %d", lines, got, want)
		}
	}
	if got := clip(text, 5); !strings.HasSuffix(got, "… 7 more lines: warren status\n") {
		t.Errorf("clipped text does not say what is missing: %q", got)
	}
}
