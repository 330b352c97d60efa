package linux

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// device reads a WireGuard device, from the kernel or from its tunnel process.
func (k *Kernel) device(name, backend string) (*wgtypes.Device, error) {
	read := func() (*wgtypes.Device, error) { return k.wg.Device(name) }
	if backend == Userspace {
		return await(k.uapi, name, read)
	}
	return read()
}

// deviceOf is device for a link of which only the kind is known: where nobody listens for it, it is somebody else's. To be
// asked is the proof, so nobody is called twice.
func (k *Kernel) deviceOf(name, backend string) (*wgtypes.Device, error) {
	if backend == "" {
		return nil, peers.ErrForeign
	}
	d, err := k.device(name, backend)
	if backend == Userspace && (errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED)) {
		return nil, peers.ErrForeign
	}
	return d, err
}

// configure sends one message that sets something on a device.
func (k *Kernel) configure(name, backend string, c wgtypes.Config) error {
	set := func() (struct{}, error) { return struct{}{}, k.wg.ConfigureDevice(name, c) }
	var err error
	if backend == Userspace {
		_, err = await(k.uapi, name, set)
	} else {
		_, err = set()
	}
	if errors.Is(err, errSilent) {
		err = &linkError{err}
	}
	return explain(k.wrote(err))
}

// setDevice gives a link its key and its port. A link that is down and cannot have its port must not come up: it would
// take any other one.
func (k *Kernel) setDevice(s peers.SetDevice) error {
	link, backend, err := k.ours(s.Link)
	if err != nil {
		return err
	}
	if backend == Userspace {
		if err := k.portFree(s.Link, s.Port); err != nil {
			if link.Attrs().Flags&net.FlagUp == 0 {
				return &linkError{err}
			}
			return err
		}
	}
	private, port := wgtypes.Key(s.Private.ExposeBytes()), int(s.Port)
	err = k.configure(s.Link, backend, wgtypes.Config{PrivateKey: &private, ListenPort: &port})
	return k.onPort(err, s.Port)
}

// fill takes over what a device says of itself, and what way says of the ways to its peers.
func fill(l *peers.Link, d *wgtypes.Device, way func(netip.Addr) int) {
	l.Public = key.Public(d.PublicKey)
	l.Port = uint16(d.ListenPort)
	if d.PrivateKey == (wgtypes.Key{}) {
		// The public half of no key, and a port that nobody has asked for: tunnel processes take any until they are told.
		l.Public, l.Port = key.Public{}, 0
	}
	l.Peers = make([]peers.LinkPeer, len(d.Peers))
	for i := range d.Peers {
		p := &d.Peers[i]
		l.Peers[i] = peers.LinkPeer{
			Key:           key.Public(p.PublicKey),
			PSK:           key.PresharedFromBytes(p.PresharedKey),
			Keepalive:     int(p.PersistentKeepaliveInterval / time.Second),
			Allowed:       make([]netip.Prefix, len(p.AllowedIPs)),
			LastHandshake: handshake(p.LastHandshakeTime),
			Rx:            uint64(p.ReceiveBytes),
			Tx:            uint64(p.TransmitBytes),
		}
		if p.Endpoint != nil {
			at := p.Endpoint.AddrPort()
			l.Peers[i].Endpoint = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
			l.Peers[i].Path = way(l.Peers[i].Endpoint.Addr())
		}
		for j := range p.AllowedIPs {
			l.Peers[i].Allowed[j] = prefixOf(&p.AllowedIPs[j])
		}
	}
}

// handshake makes 1970, which is how no handshake reads in some places, the zero time.
func handshake(t time.Time) time.Time {
	if t.UnixNano() == 0 {
		return time.Time{}
	}
	return t
}
