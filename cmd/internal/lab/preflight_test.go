package lab

import (
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRefusalsNameTheRemedy(t *testing.T) {
	for _, c := range []struct {
		err    error
		root   bool
		remedy string
	}{
		{fs.ErrNotExist, false, "`sudo modprobe tun`"},
		{unix.ENODEV, true, "`sudo modprobe tun`"},
		{unix.EACCES, false, "`sudo chmod 0666 /dev/net/tun`"},
		{unix.EPERM, true, "`--device /dev/net/tun`"},
	} {
		if got := explainTun(c.err, c.root).Error(); !strings.Contains(got, c.remedy) {
			t.Errorf("%v, root %t: %q does not name %s", c.err, c.root, got, c.remedy)
		}
	}
	for _, c := range []struct{ setting, value, remedy string }{
		{"/proc/sys/user/max_user_namespaces", "0\n", "sysctl user.max_user_namespaces="},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0\n", "sysctl kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "apparmor_restrict_unprivileged_userns=0"},
		{"/proc/sys/user/max_user_namespaces", "100\n", "run it as root"},
	} {
		got := explainClone(unix.EPERM, func(path string) ([]byte, error) {
			if path == c.setting {
				return []byte(c.value), nil
			}
			return nil, fs.ErrNotExist
		}).Error()
		if !strings.Contains(got, c.remedy) {
			t.Errorf("%s=%s: %q does not name %s", c.setting, c.value, got, c.remedy)
		}
	}
}
