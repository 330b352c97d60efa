package systemtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/vm"
	"github.com/warren-mesh/warren/peers/wire"
)

// powerCuts is how often TestPowerCuts takes the power away.
const powerCuts = 20

// TestPowerCuts takes the power of a machine away, again and again, while controller and agent write. What was
// acknowledged is there after each, and nobody has become somebody else.
func TestPowerCuts(t *testing.T) {
	m := cutMachine(t)
	var last written
	for i := range powerCuts {
		w := cutOnce(t, m, i)
		if w.loaded < last.acked {
			t.Fatalf("power cut %d: revision %d was acknowledged, %d loaded", i, last.acked, w.loaded)
		}
		if i > 0 && (w.pin != last.pin || w.host != last.host || string(w.status.ID) != last.host) {
			t.Fatalf("power cut %d: controller %s, before %s; host %s (%s when loaded), before %s", i,
				w.pin, last.pin, w.host, w.status.ID, last.host)
		}
		for _, p := range w.status.Problems {
			if strings.HasSuffix(p.Code, "-damaged") {
				t.Errorf("power cut %d: %v", i, p)
			}
		}
		t.Logf("power cut %d: revision %d loaded (%d acknowledged before it), then %d changes", i, w.loaded, last.acked, w.acks)
		last = w
	}
}

// A written is what one life of the machine has told.
type written struct {
	loaded, acked, acks int
	pin, host           string
	status              wire.Status
}

// cutMachine is a small machine with a disk.
func cutMachine(t *testing.T) vm.Machine {
	t.Helper()
	if os.Getenv("WARREN_VM") == "" {
		t.Skip("boots a machine in qemu again and again, which takes minutes: make test-vm")
	}
	if err := vm.Wanted(); err != nil {
		t.Skip("SKIPPED: ", err)
	}
	kernel, err := vm.Fetch(t.Context(), cache)
	if err != nil {
		t.Skip("SKIPPED: ", err)
	}
	dir := t.TempDir()
	m := vm.Machine{
		Kernel: kernel, Guest: filepath.Join(dir, "guest"), Files: map[string]string{}, Memory: 512, CPUs: 2,
		Disk:     filepath.Join(dir, "disk"),
		Programs: []vm.Program{{Argv: []string{"/test/cut"}, Dir: "/"}},
	}
	build := func(name, pkg string) string {
		out := filepath.Join(dir, name)
		if err := vm.GoBuild(t.Context(), "build", "-o", out, pkg); err != nil {
			t.Fatal(err)
		}
		return out
	}
	build("guest", "../vm/guest")
	m.Files["/test/cut"] = build("cut", "./cut")
	for _, p := range []string{"warren", "warren-agent", "warren-controller"} {
		m.Files["/test/bin/"+p] = build(p, module+"cmd/"+p)
	}
	if out, err := exec.CommandContext(t.Context(), "mkfs.ext4", "-q", m.Disk, "128M").CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	return m
}

// cutOnce lets the machine live until some moment after its first change.
func cutOnce(t *testing.T, m vm.Machine, i int) written {
	t.Helper()
	ctx, cut := context.WithTimeout(t.Context(), 2*patience)
	defer cut()
	console := &console{first: func() {
		after := time.Duration(rand.IntN(1500)) * time.Millisecond
		time.AfterFunc(after, cut)
	}}
	_, err := m.Run(ctx, console) // ends with an error, as it is killed
	w, told := console.told()
	if told != nil || w.acks == 0 {
		t.Fatalf("power cut %d: %v; the machine ended with %v and said\n%s", i, told, err, console.text.String())
	}
	return w
}

// A console reads what the machine tells.
type console struct {
	text  bytes.Buffer
	acks  int
	first func()
}

// Write takes whole lines.
func (c *console) Write(p []byte) (int, error) {
	if c.acks == 0 && bytes.HasPrefix(p, []byte("CUT-ACK ")) {
		c.acks++
		c.first()
	}
	return c.text.Write(p)
}

func (c *console) told() (w written, err error) {
	for line := range strings.Lines(c.text.String()) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "CUT-LOADED":
			var raw string
			if n, err := fmt.Sscanf(rest, "%d %s", &w.loaded, &w.pin); n != 2 {
				return w, fmt.Errorf("%q: %v", line, err)
			}
			raw = rest[strings.Index(rest, "{"):]
			if err := json.Unmarshal([]byte(raw), &w.status); err != nil {
				return w, fmt.Errorf("%q: %v", raw, err)
			}
		case "CUT-HOST":
			w.host = rest
		case "CUT-ACK":
			// The last line may be cut off in the middle of the number.
			if n := 0; strings.HasSuffix(line, "\n") {
				if _, err := fmt.Sscan(rest, &n); err == nil && n > w.acked {
					w.acked, w.acks = n, w.acks+1
				}
			}
		case "CUT-FAILED":
			return w, fmt.Errorf("%s", line)
		}
	}
	return w, nil
}
