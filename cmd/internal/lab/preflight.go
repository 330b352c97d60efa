package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const tunDevice = "/dev/net/tun"

// preflight looks for what would otherwise fail far inside the lab, with a worse message.
func preflight() error {
	tun, err := os.OpenFile(tunDevice, os.O_RDWR, 0)
	if err == nil {
		return tun.Close()
	}
	return explainTun(err, os.Geteuid() == 0)
}

// explainTun says what to do about a /dev/net/tun that cannot be opened.
func explainTun(err error, root bool) error {
	const what = "a lab needs " + tunDevice + " (the hosts' tunnels are made there), "
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return errors.New(what + "and this machine has none: `sudo modprobe tun`; " +
			"in a container start it with `--device " + tunDevice + "`")
	case errors.Is(err, fs.ErrPermission) && root:
		return errors.New(what + "and this container may not open it: start it with `--device " + tunDevice + "`")
	case errors.Is(err, fs.ErrPermission):
		return errors.New(what + "and you may not open it: `sudo chmod 0666 " + tunDevice +
			"`, which is the mode it has on most systems; it gives nobody any right in this machine's own network")
	}
	return fmt.Errorf(what+"which cannot be opened: %v", err)
}

// privileged reports whether namespaces can be had without a user namespace around them.
func privileged() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	const needed = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN
	return os.Geteuid() == 0 && data[0].Effective&needed == needed
}

// explainClone says what to do where this machine refuses namespaces. The settings named differ by distribution; read
// is os.ReadFile, or a test's.
func explainClone(err error, read func(string) ([]byte, error)) error {
	hints := []struct{ setting, refusing, remedy string }{
		{"/proc/sys/user/max_user_namespaces", "0", "sudo sysctl user.max_user_namespaces=10000"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl kernel.unprivileged_userns_clone=1"},
		{
			"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
			"sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
		},
	}
	for _, h := range hints {
		if value, readErr := read(h.setting); readErr == nil && strings.TrimSpace(string(value)) == h.refusing {
			return fmt.Errorf("this machine gives an ordinary user no namespaces (%v; %s is %s): `%s`, or run it as root",
				err, h.setting, h.refusing, h.remedy)
		}
	}
	return fmt.Errorf("this machine gives no namespaces (%v): run it as root; in a container, one started with "+
		"`--privileged`", err)
}
