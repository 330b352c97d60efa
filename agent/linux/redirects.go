package linux

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Kernel WireGuard turns net.ipv4.conf.all.send_redirects off whenever an interface of it comes up, and never puts it back
// (wg_open in drivers/net/wireguard/device.c of Linux): the sender of what came out of a tunnel is not to hear of a shorter
// way. Where it was on, that is noted in the tag of the loopback interface: it lives as long as the setting does, until the
// machine is started anew, whatever becomes of our interfaces and files.
const (
	redirectsPath = "/proc/sys/net/ipv4/conf/all/send_redirects"
	tagRedirects  = 1 // in the tag of the loopback interface, beside tagOurs
)

// noteRedirects notes that redirects are sent, before an interface comes up. Where somebody else uses the tag it is not
// noted: the tunnel matters more.
func (k *Kernel) noteRedirects() {
	if !isOn("net/ipv4/conf/all/send_redirects") {
		return // nothing that could be put back, or it is noted already
	}
	conf, err := inetConf(loopback)
	if err == nil {
		switch tag := setting(conf, devconfTag-1); tag {
		case 0:
			err = k.wrote(setInetConf(loopback, map[int]uint32{devconfTag: tagOurs | tagRedirects}))
		case tagOurs | tagRedirects:
		default:
			err = errors.New("somebody else uses net.ipv4.conf.lo.tag")
		}
	}
	if err != nil {
		k.log.Warn("kernel WireGuard turns net.ipv4.conf.all.send_redirects off, and it cannot be noted that it was on", "error", err)
	}
}

// isRedirects reports whether the IPv4 settings of the loopback interface have that note.
func isRedirects(conf []byte) bool { return setting(conf, devconfTag-1) == tagOurs|tagRedirects }

// restoreRedirects puts the setting back, unless somebody else has a WireGuard interface by now, for which the kernel would
// have turned it off as well. Where it may not be written, that is said, and is no reason to keep the rest of the host.
func (k *Kernel) restoreRedirects() error {
	others, err := k.othersWireGuard()
	if err != nil {
		return err
	}
	if !others {
		err = k.wrote(os.WriteFile(redirectsPath, []byte("1"), 0))
		switch {
		case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
			k.log.Warn("net.ipv4.conf.all.send_redirects was on and cannot be put back: sysctl -w net.ipv4.conf.all.send_redirects=1",
				"error", err)
		case err != nil:
			return err
		}
	}
	conf, err := inetConf(loopback)
	if err != nil || !isRedirects(conf) {
		return err
	}
	return explain(k.wrote(setInetConf(loopback, map[int]uint32{devconfTag: 0})))
}

// othersWireGuard reports whether an interface of the kernel's WireGuard is up that is none of ours.
func (k *Kernel) othersWireGuard() (bool, error) {
	links, err := dump(k.rt.LinkList)
	if err != nil {
		return false, err
	}
	for _, link := range links {
		at := link.Attrs()
		if link.Type() == kindWireGuard && at.RawFlags&unix.IFF_UP != 0 && !slices.Contains(linkNames(), at.Name) {
			return true, nil
		}
	}
	return false, nil
}
