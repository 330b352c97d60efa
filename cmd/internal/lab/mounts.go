package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// labDir is where the router keeps the hosts' files; it lies on the lab's own tmpfs.
const labDir = "/run/warren-lab"

// makeMounts gives the lab mounts of its own: nothing of them is seen on the machine, and they end with the lab.
func makeMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the lab's mounts private: %w", explainMount(err))
	}
	// A container may refuse it. Then /proc shows the machine's numbers for processes, which the lab can live with.
	_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err := mountTmpfs("/run", "mode=0755"); err != nil {
		return err
	}
	if err := joinVarRun(); err != nil {
		return err
	}
	return os.Mkdir(labDir, 0o755)
}

// explainMount puts the usual reason beside a refused first mount.
func explainMount(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return explainClone(err, os.ReadFile)
	}
	return err
}

func mountTmpfs(at, options string) error {
	if err := unix.Mount("tmpfs", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mounting a tmpfs on %s: %v", at, err)
	}
	return nil
}

func bind(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting %s on %s: %v", from, to, err)
	}
	return nil
}

// joinVarRun makes /var/run lead to /run where it is a directory of its own: wireguard-go's sockets are there.
func joinVarRun() error {
	target, err := filepath.EvalSymlinks("/var/run")
	if err != nil {
		return fmt.Errorf("/var/run must lead to /run (ln -s /run /var/run): %v", err)
	}
	if target == "/run" {
		return nil
	}
	return bind("/run", target)
}

// hostMounts turns the mounts of the calling thread, a copy of the lab's, into the host's.
func (h *Host) hostMounts() error {
	if err := errors.Join(bind(h.dir("disk"), "/var/lib"), bind(h.dir("run"), "/run"), joinVarRun()); err != nil {
		return err
	}
	// The configuration of this machine, if it is a host of a real mesh, is none of the lab's.
	if _, err := os.Stat("/etc/warren"); err == nil {
		return mountTmpfs("/etc/warren", "mode=0755")
	}
	return nil
}
