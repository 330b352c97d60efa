// Package farm has the other ends of tunnels: many WireGuard devices, each with one peer, that shake hands and keep
// sessions alive as hosts do, without hosts behind them. They are wireguard-go with a socket of the plainest kind and
// an interface that answers the questions of agents, as on how large packets may be, and swallows all else.
package farm

import (
	"encoding/hex"
	"fmt"
	"net/netip"

	"golang.zx2c4.com/wireguard/device"

	"github.com/warren-mesh/warren/peers/key"
)

// An End is one device and its peer.
type End struct {
	Private key.Private
	Port    uint16
	Peer    key.Public
	PSK     key.Preshared
	At      netip.AddrPort // of the peer
}

// A Farm is a number of devices.
type Farm struct{ devices []*device.Device }

// Add brings one more device up. It must be called on the host that shall have its socket.
func (f *Farm) Add(e End) error {
	d := device.NewDevice(newSink(), &socket{}, device.NewLogger(device.LogLevelSilent, ""))
	f.devices = append(f.devices, d)
	private, psk := e.Private.ExposeBytes(), e.PSK.ExposeBytes()
	settings := fmt.Sprintf("private_key=%s\nlisten_port=%d\npublic_key=%s\npreshared_key=%s\nendpoint=%v\n"+
		"persistent_keepalive_interval=25\nallowed_ip=0.0.0.0/0\nallowed_ip=::/0\n",
		hex.EncodeToString(private[:]), e.Port, hex.EncodeToString(e.Peer[:]), hex.EncodeToString(psk[:]), e.At)
	if err := d.IpcSet(settings); err != nil {
		return fmt.Errorf("configure the end at port %d: %v", e.Port, err)
	}
	if err := d.Up(); err != nil {
		return fmt.Errorf("bring the end at port %d up: %v", e.Port, err)
	}
	return nil
}

// Close takes all devices away.
func (f *Farm) Close() {
	for _, d := range f.devices {
		d.Close()
	}
}
