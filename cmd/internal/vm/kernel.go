package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Kernel is an unpacked Debian kernel package.
type Kernel struct {
	Version string // as uname -r says
	Image   string // path of vmlinuz
	Modules string // path of lib/modules/VERSION
}

// Fetch downloads and unpacks the newest kernel of Debian's linux-image-cloud-amd64 below cache, unless
// it is there already.
func Fetch(ctx context.Context, cache string) (Kernel, error) {
	pkg, err := kernelPackage(ctx)
	if err != nil {
		return Kernel{}, err
	}
	dir := filepath.Join(cache, pkg)
	version := strings.TrimPrefix(pkg, "linux-image-")
	k := Kernel{
		Version: version, Image: filepath.Join(dir, "boot", "vmlinuz-"+version), Modules: filepath.Join(dir, "lib", "modules", version),
	}
	if _, err := os.Stat(k.Image); err == nil {
		return k, nil
	}
	if err := unpack(ctx, pkg, dir); err != nil {
		return Kernel{}, err
	}
	return k, nil
}

// kernelPackage resolves the meta package to the one that holds the kernel.
func kernelPackage(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", "linux-image-cloud-amd64").Output()
	if err != nil {
		return "", fmt.Errorf("%w: apt-cache does not know linux-image-cloud-amd64 (apt-get update?): %v", ErrMissing, err)
	}
	for line := range strings.Lines(string(out)) {
		if pkg, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: linux-image-"); ok {
			return "linux-image-" + pkg, nil
		}
	}
	return "", fmt.Errorf("%w: linux-image-cloud-amd64 depends on no kernel", ErrMissing)
}

// unpack downloads into a temporary folder first, so that an interrupted run leaves nothing half done.
func unpack(ctx context.Context, pkg, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	download := exec.CommandContext(ctx, "apt-get", "download", "-q", pkg)
	download.Dir = tmp
	if out, err := download.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: download %s: %v: %s", ErrMissing, pkg, err, out)
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("download of %s left %d packages", pkg, len(debs))
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", debs[0], filepath.Join(tmp, "root")).CombinedOutput(); err != nil {
		return fmt.Errorf("unpack %s: %v: %s", pkg, err, out)
	}
	return os.Rename(filepath.Join(tmp, "root"), dir)
}
