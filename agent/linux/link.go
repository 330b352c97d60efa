package linux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// What the kernel calls the kinds of links that can be ours.
const (
	kindWireGuard = "wireguard"
	kindTUN       = "tuntap"
)

// LinkNames are the names that links of ours can have.
func LinkNames() []string { return linkNames() }

// linkNames are the names that are ours, and only these: wrn0 and wrn1 for the generations, wrnx for
// external peers.
func linkNames() []string {
	return []string{peers.Generation(0).Link(), peers.Generation(1).Link(), "wrnx"}
}

// A linkError says that nothing can be done to a link until what is wrong with it is mended, so that
// further steps for it would only fail the same way.
type linkError struct{ err error }

func (e *linkError) Error() string { return e.err.Error() }
func (e *linkError) Unwrap() error { return e.err }

// lookup finds a link of ours by name, nil if there is none.
func (k *Kernel) lookup(name string) (netlink.Link, error) {
	link, err := dump(func() (netlink.Link, error) { return k.rt.LinkByName(name) })
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for %s: %v", name, err)
	}
	return link, nil
}

// mayBeOurs says whether a link of our name is of a kind that we make. Then its routes are no networks of
// somebody else, even while nobody answers for it.
func mayBeOurs(link netlink.Link) bool {
	return link.Type() == kindWireGuard || link.Type() == kindTUN
}

// backendOfKind says what drives a link of our names if it is one of ours.
func backendOfKind(link netlink.Link) string {
	switch link.Type() {
	case kindWireGuard:
		return InKernel
	case kindTUN:
		return Userspace
	}
	return ""
}

// backendOf says what drives a link, from its kind and from whether somebody listens at its socket.
func backendOf(link netlink.Link) string {
	backend := backendOfKind(link)
	if backend != Userspace {
		return backend
	}
	c, err := net.DialTimeout("unix", socketPath(link.Attrs().Name), time.Second)
	if err != nil {
		return ""
	}
	c.Close()
	return backend
}

// socketPath is where a tunnel process listens, as wgctrl and wg(8) expect.
func socketPath(name string) string { return filepath.Join("/var/run/wireguard", name+".sock") }

// A driven link is one that is there and may be touched.
type driven struct {
	netlink.Link
	backend string
}

// ours finds a link that is there and may be touched. What it finds holds until the end of an Apply. A link
// that Observe could not read is left alone even if it answers by now: steps that come from not knowing its
// peers would set what the kernel owns, like the endpoints of roaming peers.
func (k *Kernel) ours(name string) (netlink.Link, string, error) {
	if err := k.unread[name]; err != nil {
		return nil, "", &linkError{err}
	}
	if d, ok := k.known[name]; ok {
		return d.Link, d.backend, nil
	}
	link, err := k.lookup(name)
	if err != nil {
		return nil, "", err
	}
	if link == nil {
		return nil, "", &linkError{fmt.Errorf("there is no interface %s", name)}
	}
	backend := backendOf(link)
	if backend == "" {
		return nil, "", &linkError{peers.ErrForeign}
	}
	k.known[name] = driven{link, backend}
	return link, backend, nil
}

func (k *Kernel) addLink(ctx context.Context, s peers.AddLink) error {
	delete(k.known, s.Name)
	delete(k.unread, s.Name)
	there, err := k.lookup(s.Name)
	if err == nil && there != nil {
		err = fmt.Errorf("there is an interface of this name already: %w", peers.ErrForeign)
	}
	if err != nil {
		return &linkError{err}
	}
	if k.backend == Userspace {
		err = k.wrote(k.tunnels.Start(ctx, s.Name, s.MTU))
	} else {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = s.Name, s.MTU
		err = k.wrote(k.rt.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs}))
	}
	if err != nil {
		return &linkError{explain(err)}
	}
	return nil
}

func (k *Kernel) setLink(s peers.SetLink) error {
	link, backend, err := k.ours(s.Name)
	if err != nil {
		return err
	}
	if s.MTU != 0 {
		if err := k.wrote(k.rt.LinkSetMTU(link, s.MTU)); err != nil {
			return explain(err)
		}
	}
	if s.Up {
		if backend == InKernel {
			k.noteRedirects()
		}
		if err := k.wrote(k.rt.LinkSetUp(link)); err != nil {
			return &linkError{k.onPort(explain(err), k.portOf(s.Name, backend))}
		}
	}
	return nil
}

// delLink deletes a link. The addresses and routes go with it, and so does its tunnel process.
func (k *Kernel) delLink(ctx context.Context, s peers.DelLink) error {
	link, err := k.lookup(s.Name)
	if err != nil || link == nil {
		return err
	}
	end := func(context.Context) error { return nil }
	switch backendOf(link) {
	case "":
		return &linkError{peers.ErrForeign}
	case Userspace:
		if k.tunnels != nil {
			end = k.tunnels.Hold(s.Name)
		}
	}
	delete(k.known, s.Name)
	delete(k.unread, s.Name)
	if err := gone(k.wrote(k.rt.LinkDel(link))); err != nil {
		return err
	}
	return end(ctx)
}

// addAddress leaves out duplicate address detection: on a link without neighbours it finds nothing, and
// until it has, an IPv6 address cannot be used.
func (k *Kernel) addAddress(s peers.AddAddress) error {
	link, _, err := k.ours(s.Link)
	if err != nil {
		return err
	}
	address := &netlink.Addr{IPNet: ipNet(s.Prefix)}
	if s.Prefix.Addr().Is6() {
		address.Flags = unix.IFA_F_NODAD
	}
	err = k.wrote(k.rt.AddrReplace(link, address))
	if errors.Is(err, unix.EACCES) && s.Prefix.Addr().Is6() {
		return fmt.Errorf("IPv6 is off on this interface; see: sysctl net.ipv6.conf.%s.disable_ipv6", s.Link)
	}
	return explain(err)
}

func (k *Kernel) delAddress(s peers.DelAddress) error {
	link, _, err := k.ours(s.Link)
	if err != nil {
		return err
	}
	return gone(k.wrote(k.rt.AddrDel(link, &netlink.Addr{IPNet: ipNet(s.Prefix)})))
}

// gone makes an error of removing what is not there a success.
func gone(err error) error {
	for _, ok := range []error{unix.ENODEV, unix.ESRCH, unix.ENOENT, unix.EADDRNOTAVAIL} {
		if errors.Is(err, ok) {
			return nil
		}
	}
	return explain(err)
}

// errnoInUse is EADDRINUSE as tunnel processes say it, and wgctrl passes it on.
const errnoInUse = "errno=-98"

// explain adds what an error number of the kernel means here.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM):
		return errNoLeave
	default:
		return err
	}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefixOf is the reverse of ipNet; the zero prefix for none.
func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}
	}
	if bits == 32 {
		addr = addr.Unmap()
	}
	return netip.PrefixFrom(addr, ones)
}
