package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// naive changes the keys as one would without Warren: a new private key on the same interface of one host after the
// other, and up to two seconds after it the new public key on all others: they are no more apart than the ends of pairs
// in Warren's rotations. The agents are stopped, or they would put it right.
func (r *rotor) naive(ctx context.Context, rate int) (Row, error) {
	for _, e := range r.ends {
		// Hosts hear of the end of a rotation after the controller has told of it.
		gone := func() error { return onDevice(e.Host, func(*wgctrl.Client, *wgtypes.Device) error { return nil }) }
		if err := retry(settleNaive, gone); err != nil {
			return Row{}, fmt.Errorf("%s has not ended the rotation: %v", e.Host.Name(), err)
		}
		agent := r.mesh.Agent(e.Host.Name())
		if err := agent.Signal(syscall.SIGSTOP); err != nil {
			return Row{}, err
		}
		defer func() { _ = agent.Signal(syscall.SIGCONT) }()
	}
	_, o, err := r.under(ctx, rate, func() error {
		if err := rest(ctx, settleNaive); err != nil {
			return err
		}
		for _, e := range r.ends {
			if err := r.replaceKey(ctx, e.Host); err != nil {
				return err
			}
		}
		return rest(ctx, settleNaive)
	})
	return Row{
		What:   r.what + "reference: one naive rotation, a new private key on the same interface",
		Target: "", OK: true,
		Measured: fmt.Sprintf("%d of %d packets lost, longest gap %.0f ms, %d TCP segments sent again, %d HTTP errors",
			o.packets.Lost, o.packets.Sent, 1e3*o.packets.LongestGap.Seconds(), o.stream.Retransmitted, o.requests.Failed),
	}, err
}

// settleNaive is twice what WireGuard takes to repeat a handshake.
const settleNaive = 10 * time.Second

// replaceKey gives a host a new key and tells all others.
func (r *rotor) replaceKey(ctx context.Context, host *lab.Host) error {
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return err
	}
	var old wgtypes.Key
	if err := onDevice(host, func(wg *wgctrl.Client, d *wgtypes.Device) error {
		old = d.PublicKey
		return wg.ConfigureDevice(d.Name, wgtypes.Config{PrivateKey: &key})
	}); err != nil {
		return fmt.Errorf("a new key for %s: %v", host.Name(), err)
	}
	if err := rest(ctx, rand.N(maxApart)); err != nil {
		return err
	}
	for _, e := range r.ends {
		if e.Host == host {
			continue
		}
		if err := onDevice(e.Host, func(wg *wgctrl.Client, d *wgtypes.Device) error {
			return replacePeer(wg, d, old, key.PublicKey())
		}); err != nil {
			return fmt.Errorf("tell %s of the new key of %s: %v", e.Host.Name(), host.Name(), err)
		}
	}
	return nil
}

// onDevice calls f with the host's one WireGuard device.
func onDevice(host *lab.Host, f func(wg *wgctrl.Client, d *wgtypes.Device) error) error {
	return host.Do(func() error {
		wg, err := wgctrl.New()
		if err != nil {
			return err
		}
		defer wg.Close()
		devices, err := wg.Devices()
		if err != nil {
			return err
		}
		if len(devices) != 1 {
			return fmt.Errorf("%d WireGuard devices, want one", len(devices))
		}
		return f(wg, devices[0])
	})
}

// replacePeer puts one peer in the place of another, in one message.
func replacePeer(wg *wgctrl.Client, d *wgtypes.Device, old, key wgtypes.Key) error {
	for _, p := range d.Peers {
		if p.PublicKey != old {
			continue
		}
		return wg.ConfigureDevice(d.Name, wgtypes.Config{Peers: []wgtypes.PeerConfig{
			{PublicKey: old, Remove: true},
			{
				PublicKey: key, PresharedKey: &p.PresharedKey, Endpoint: p.Endpoint, AllowedIPs: append([]net.IPNet(nil), p.AllowedIPs...),
				PersistentKeepaliveInterval: &p.PersistentKeepaliveInterval,
			},
		}})
	}
	return fmt.Errorf("no peer %v", old)
}
