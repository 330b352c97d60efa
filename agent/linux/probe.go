package linux

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// probeName is that of the interface which is created to see whether that works. One that a crash has
// left behind is found and removed by the next probe.
const probeName = "wrn-probe"

// errNoWireGuard is the kernel's word that it has no WireGuard, built in or as a module it can load.
var errNoWireGuard = errors.New("this kernel has no WireGuard")

// errNoLeave is the answer to anything that sets something without the capability for it.
var errNoLeave = errors.New("the network of this host may not be changed: CAP_NET_ADMIN is missing; " +
	"start the agent as root or with AmbientCapabilities=CAP_NET_ADMIN (systemctl cat warren-agent)")

// choose decides on the backend.
func (k *Kernel) choose(want string) (string, error) {
	switch want {
	case Auto, "":
		err := k.probeKernel()
		if err == nil {
			return InKernel, nil
		}
		if !errors.Is(err, errNoWireGuard) {
			return "", err
		}
		if also := k.probeUserspace(); also != nil {
			return "", fmt.Errorf("no WireGuard here: %v, and %v", err, also)
		}
		k.log.Info("tunnels run in processes of their own", "reason", err)
		return Userspace, nil
	case InKernel:
		if err := k.probeKernel(); err != nil {
			return "", fmt.Errorf("%w; --backend userspace does without", err)
		}
		return InKernel, nil
	case Userspace:
		return Userspace, k.probeUserspace()
	case None:
		return None, errors.Join(k.mayChange(), k.unprobe())
	default:
		return "", fmt.Errorf("backend %q: want %s, %s or %s", want, Auto, InKernel, Userspace)
	}
}

// probeKernel makes a WireGuard interface and deletes it: only this tells a module that can be loaded from
// one that cannot. Where one of ours stands already, an agent that comes back makes nothing.
func (k *Kernel) probeKernel() error {
	for _, name := range linkNames() {
		if link, err := k.rt.LinkByName(name); err == nil && link.Type() == kindWireGuard {
			return k.mayChange()
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = probeName
	err := k.rt.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs})
	switch {
	case err == nil, errors.Is(err, unix.EEXIST):
		return k.unprobe()
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENODEV):
		return errNoWireGuard
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return errNoLeave
	default:
		return fmt.Errorf("create a WireGuard interface: %v", err)
	}
}

// unprobe deletes the probe's interface, and nothing else of its name.
func (k *Kernel) unprobe() error {
	link, err := k.rt.LinkByName(probeName)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil && link.Type() != kindWireGuard {
		return fmt.Errorf("an interface %s of type %s is in the way of a probe; try: ip link delete %s",
			probeName, link.Type(), probeName)
	}
	if err == nil {
		err = k.rt.LinkDel(link)
	}
	if err != nil {
		return fmt.Errorf("delete %s, which was made to look for WireGuard: %v; try: ip link delete %s",
			probeName, err, probeName)
	}
	return nil
}

// mayChange says whether this process may change the network. To delete what does not exist changes
// nothing, and needs the same capability as all the rest.
func (k *Kernel) mayChange() error {
	err := k.rt.LinkDel(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: probeName + "0"}})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return errNoLeave
	}
	return nil
}

// probeUserspace looks for what a tunnel process needs, without starting one.
func (k *Kernel) probeUserspace() error {
	if k.tunnels == nil {
		return errors.New("this program cannot start tunnel processes")
	}
	if err := k.mayChange(); err != nil {
		return err
	}
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	switch {
	case err == nil:
		// Container engines put /dev/null over what a container shall not have, and that can be opened.
		_, err = unix.IoctlGetUint32(int(tun.Fd()), unix.TUNGETFEATURES)
		if err = errors.Join(err, tun.Close()); err != nil {
			return fmt.Errorf("/dev/net/tun is not the device that tunnel processes need: %v; see: ls -l /dev/net/tun "+
				"(in a container: --device /dev/net/tun)", err)
		}
		return nil
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return errors.New("there is no /dev/net/tun for tunnel processes; try: modprobe tun " +
			"(in a container: --device /dev/net/tun)")
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("tunnel processes may not use /dev/net/tun: %v; see: ls -l /dev/net/tun "+
			"and DeviceAllow= of the unit", err)
	default:
		return fmt.Errorf("tunnel processes cannot use /dev/net/tun: %v", err)
	}
}
