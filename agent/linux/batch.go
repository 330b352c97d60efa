package linux

import (
	"iter"
	"net"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/warren-mesh/warren/peers"
)

// A message about peers stays below the 64 KiB of a netlink attribute, and below the sizes from which
// wgctrl cuts it up itself: its pieces lose what is said of a peer for the second time.
const (
	batchPeers   = 32
	batchAllowed = 256
)

// setPeers carries out steps about peers of one link in as few messages as hold them.
func (k *Kernel) setPeers(link string, steps []peers.Step) error {
	_, backend, err := k.ours(link)
	if err != nil {
		return err
	}
	for batch := range batches(steps) {
		if err := k.configure(link, backend, wgtypes.Config{Peers: batch}); err != nil {
			return err
		}
	}
	return nil
}

// batches puts steps about peers into messages, in their order. A message names a peer once.
func batches(steps []peers.Step) iter.Seq[[]wgtypes.PeerConfig] {
	return func(yield func([]wgtypes.PeerConfig) bool) {
		var batch []wgtypes.PeerConfig
		named, allowed := map[wgtypes.Key]bool{}, 0
		for _, step := range steps {
			for _, c := range pieces(step) {
				if named[c.PublicKey] || len(batch) == batchPeers || allowed+len(c.AllowedIPs) > batchAllowed {
					if !yield(batch) {
						return
					}
					batch, allowed = nil, 0
					clear(named)
				}
				batch = append(batch, c)
				named[c.PublicKey] = true
				allowed += len(c.AllowedIPs)
			}
		}
		if len(batch) > 0 {
			yield(batch)
		}
	}
}

// pieces are the configurations that make up one step: more than one where it has more allowed IPs than
// fit into a message. The peer exists after the first.
func pieces(step peers.Step) []wgtypes.PeerConfig {
	if s, ok := step.(peers.DelPeer); ok {
		return []wgtypes.PeerConfig{{PublicKey: wgtypes.Key(s.Key), Remove: true}}
	}
	s, ok := step.(peers.SetPeer)
	if !ok {
		return nil
	}
	first := wgtypes.PeerConfig{
		PublicKey:         wgtypes.Key(s.Key),
		UpdateOnly:        !s.New,
		ReplaceAllowedIPs: s.ReplaceAllowed,
	}
	if s.PSK != nil {
		psk := wgtypes.Key(s.PSK.ExposeBytes())
		first.PresharedKey = &psk
	}
	if s.Endpoint.IsValid() {
		first.Endpoint = net.UDPAddrFromAddrPort(s.Endpoint)
	}
	if s.Keepalive != nil {
		every := time.Duration(*s.Keepalive) * time.Second
		first.PersistentKeepaliveInterval = &every
	}
	rest := s.Allowed
	first.AllowedIPs, rest = take(rest)
	out := []wgtypes.PeerConfig{first}
	for len(rest) > 0 {
		next := wgtypes.PeerConfig{PublicKey: first.PublicKey, UpdateOnly: true}
		next.AllowedIPs, rest = take(rest)
		out = append(out, next)
	}
	return out
}

// take splits off what fits into a message.
func take(prefixes []netip.Prefix) ([]net.IPNet, []netip.Prefix) {
	n := min(len(prefixes), batchAllowed)
	if n == 0 {
		return nil, nil
	}
	out := make([]net.IPNet, n)
	for i, p := range prefixes[:n] {
		out[i] = *ipNet(p)
	}
	return out, prefixes[n:]
}
