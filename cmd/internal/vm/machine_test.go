package vm

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestWatchTellsCodeOnlyWhereTheGuestDid(t *testing.T) {
	for _, c := range []struct {
		console string
		code    int
		told    bool
	}{
		{"hello\r\nVM-EXIT-CODE 0\r\nPower down\r\n", 0, true},
		{"VM-EXIT-CODE 7\n", 7, true},
		{"Kernel panic\n", 0, false},
		{"VM-EXIT-CODE x\n", 0, false},
		{"says VM-EXIT-CODE 0\n", 0, false},
	} {
		if code, told := watch(strings.NewReader(c.console), io.Discard); code != c.code || told != c.told {
			t.Errorf("%q: code %d, told %v", c.console, code, told)
		}
	}
}

func TestArchiveIsAlignedAndEnds(t *testing.T) {
	a := newArchive()
	a.file("a/b/c", 0o644, []byte("xyz"))
	a.link("d", "a/b")
	raw := a.bytes()
	if len(raw)%4 != 0 || !bytes.Contains(raw, []byte("TRAILER!!!\x00")) {
		t.Errorf("archive of %d bytes is not complete", len(raw))
	}
	if n := bytes.Count(raw, []byte("070701")); n != 5 { // a, a/b, a/b/c, d, the trailer
		t.Errorf("%d entries, want 5", n)
	}
}

func TestWithLibraries(t *testing.T) {
	files := map[string]string{}
	if err := WithLibraries(files, "/bin/sh"); err != nil {
		t.Skip("not on this machine: ", err)
	}
	linker, libc := false, false
	for guest, here := range files {
		linker = linker || strings.Contains(guest, "/ld-linux")
		libc = libc || strings.Contains(guest, "/libc.so")
		if guest != here {
			t.Errorf("%s is put to %s", here, guest)
		}
	}
	if !linker || !libc {
		t.Errorf("sh needs %v", files)
	}
}
