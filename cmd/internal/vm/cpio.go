package vm

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"strings"
)

// An archive is an initramfs in the "newc" format (the kernel's Documentation/driver-api/early-userspace/
// buffer-format.rst): files in memory, folders made as they are needed.
type archive struct {
	out  bytes.Buffer
	ino  int
	dirs map[string]bool
}

func newArchive() *archive { return &archive{dirs: map[string]bool{".": true}} }

func (a *archive) entry(name string, mode uint32, content []byte) {
	a.ino++
	fmt.Fprintf(&a.out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		a.ino, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad()
	a.out.Write(content)
	a.pad()
}

func (a *archive) pad() {
	for a.out.Len()%4 != 0 {
		a.out.WriteByte(0)
	}
}

const (
	modeFile = 0o100000
	modeDir  = 0o040000
	modeLink = 0o120000
)

func (a *archive) dir(name string) {
	name = strings.Trim(name, "/")
	if name == "" || a.dirs[name] {
		return
	}
	if parent := path.Dir(name); parent != "." {
		a.dir(parent)
	}
	a.dirs[name] = true
	a.entry(name, modeDir|0o755, nil)
}

func (a *archive) file(name string, perm uint32, content []byte) {
	a.dir(path.Dir(name))
	a.entry(strings.Trim(name, "/"), modeFile|perm, content)
}

func (a *archive) link(name, target string) {
	a.dir(path.Dir(name))
	a.entry(strings.Trim(name, "/"), modeLink|0o777, []byte(target))
}

// copy puts a file of this machine into the archive.
func (a *archive) copy(name, from string, perm uint32) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("put into the initramfs: %v", err)
	}
	a.file(name, perm, raw)
	return nil
}

func (a *archive) bytes() []byte {
	a.entry("TRAILER!!!", 0, nil)
	return a.out.Bytes()
}
