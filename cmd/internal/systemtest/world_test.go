package systemtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/vm"
)

const (
	// patience is for what takes a moment; an emulated machine may take long.
	patience = 3 * time.Minute
	cache    = "../../../bin/vm"
	memory   = 1024
)

// A world is two machines and the cable between them: the shop, to which things happen, and the warehouse,
// which also has the controller.
type world struct {
	shop, warehouse *machine
}

// newWorld boots both machines at once, from disks of their own.
func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv("WARREN_VM") == "" {
		t.Skip("boots two machines in qemu, which takes minutes: make test-vm")
	}
	w, err := bootWorld(t)
	if errors.Is(err, vm.ErrMissing) {
		t.Skip("SKIPPED: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func bootWorld(t *testing.T) (*world, error) {
	if err := vm.Wanted(); err != nil {
		return nil, err
	}
	kernel, err := vm.Fetch(t.Context(), cache)
	if err != nil {
		return nil, err
	}
	image, err := vm.Debian(t.Context(), cache, kernel, func(line string) { t.Log(line) })
	if err != nil {
		return nil, err
	}
	// Not t.TempDir: its path is too long for a socket.
	dir, err := os.MkdirTemp("", "warren-vm-")
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	payload := filepath.Join(dir, "payload.ext4")
	if err := makePayload(t.Context(), payload); err != nil {
		return nil, err
	}
	w := &world{}
	end := [2]string{filepath.Join(dir, "shop.cable"), filepath.Join(dir, "warehouse.cable")}
	for i, m := range []**machine{&w.shop, &w.warehouse} {
		name := []string{"shop", "warehouse"}[i]
		*m = &machine{t: t, name: name, spec: vm.GuestSpec{
			Name: name, Dir: dir, Kernel: kernel, Disk: filepath.Join(dir, name+".ext4"), Payload: payload, Memory: memory,
			MAC: fmt.Sprintf("52:54:00:00:00:%02d", i+1), Link: [2]string{end[i], end[1-i]},
		}}
		if err := vm.Copy(t.Context(), image, (*m).spec.Disk); err != nil {
			return nil, err
		}
	}
	return w, w.boot(t)
}

// boot starts both machines at once.
func (w *world) boot(t *testing.T) error {
	var both sync.WaitGroup
	machines := []*machine{w.shop, w.warehouse}
	errs := make([]error, len(machines))
	for i, m := range machines {
		t.Cleanup(m.end)
		both.Go(func() { errs[i] = m.boot() })
	}
	both.Wait()
	return errors.Join(errs...)
}

// on gives the machines to a part of the test, and shows what they said if it fails.
func (w *world) on(t *testing.T) *world {
	shop, warehouse := *w.shop, *w.warehouse
	shop.t, warehouse.t = t, t
	part := &world{&shop, &warehouse}
	t.Cleanup(func() {
		w.shop.guest, w.warehouse.guest = shop.guest, warehouse.guest
		if t.Failed() { // before somebody mends the machines by a reset
			shop.journal()
			warehouse.journal()
		}
	})
	return part
}

// makePayload builds what the machines get: the guest's hand, and the product in two versions.
func makePayload(ctx context.Context, image string) error {
	dir, err := os.MkdirTemp("", "warren-payload-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := vm.GoBuild(ctx, "build", "-o", filepath.Join(dir, "guest"), "../vm/guest"); err != nil {
		return err
	}
	// The same Makefile as for a release, so the packages are those that people get.
	for _, version := range []string{first, second} {
		if err := buildVersion(ctx, filepath.Join(dir, version), version); err != nil {
			return err
		}
	}
	return vm.Disk(ctx, dir, image)
}
