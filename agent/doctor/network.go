package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// firewall looks for chains of others that drop what begins a handshake at our ports.
func (d *Doctor) firewall(p *patient) []wire.Finding {
	var out []wire.Finding
	for _, in := range p.plan.Interfaces {
		chain, by, err := d.Drops(in.Port)
		words := strings.Fields(chain)
		switch {
		case err != nil:
			out = append(out, finding("firewall", skipped, "nft list ruleset", "the rules of this host cannot be read: %v", err))
		case len(words) == 3:
			out = append(out, finding("firewall", p.ifDown(),
				fmt.Sprintf("nft insert rule %s udp dport %d accept; and the same in what makes that table", chain, in.Port),
				"handshakes of others at UDP port %d are dropped in table %s %s, chain %s, by %s: only peers that this host "+
					"calls first are reached", in.Port, words[0], words[1], words[2], ofWhat(by)))
		}
	}
	if len(out) == 0 {
		out = append(out, finding("firewall", ok, "", "no rule of nftables drops handshakes at the ports of the tunnels for certain"))
	}
	out = append(out, d.forwarded(p)...)
	if tables, err := fs.ReadFile(d.Root, "proc/net/ip_tables_names"); err == nil && len(bytes.TrimSpace(tables)) > 0 {
		out = append(out, finding("iptables-legacy", skipped, "iptables-legacy -S",
			"this host has rules of iptables-legacy as well, which cannot be looked at from here"))
	}
	return out
}

// ifDown is how bad it is that others cannot call this host: where all peers are up, not yet.
func (p *patient) ifDown() string {
	if slices.ContainsFunc(p.status.Peers, func(row wire.PeerStatus) bool { return row.State != wire.PeerUp }) {
		return failed
	}
	return warning
}

// names looks up the names of the controller. One that does not resolve harms only where there is no other address.
func (d *Doctor) names(ctx context.Context, p *patient) []wire.Finding {
	c := &p.status.Controller
	var found, failures []wire.Finding
	for _, address := range c.Addresses {
		name, _, err := net.SplitHostPort(address)
		if _, isAddress := netip.ParseAddr(name); err != nil || isAddress == nil {
			continue
		}
		hint := "getent hosts " + name + "; cat /etc/resolv.conf"
		switch err := d.Resolve(ctx, name); {
		case err == nil:
			found = append(found, finding("dns", ok, "", "%s resolves", name))
		case c.Connected:
			failures = append(failures, finding("dns", warning, hint, "the name of the controller, %s, does not resolve: %v; "+
				"it is reached at %s", name, err, c.Address))
		default:
			failures = append(failures, finding("dns", failed, hint, "the name of the controller, %s, does not resolve: %v", name, err))
		}
	}
	return append(failures, found...)
}

// ways tries the ways to peers that are down, as far as the network says a word.
func (d *Doctor) ways(ctx context.Context, p *patient) []wire.Finding {
	var out []wire.Finding
	for i := range p.status.Peers {
		row := &p.status.Peers[i]
		if row.State == wire.PeerUp || row.Interface == "" || len(out) >= probeMost {
			continue // without an interface for it, nothing that comes or does not come from there means anything
		}
		if f, found := d.way(ctx, p, row); found {
			out = append(out, f)
		}
	}
	return out
}

func (d *Doctor) way(ctx context.Context, p *patient, row *wire.PeerStatus) (wire.Finding, bool) {
	check := "udp/" + row.Host
	at := p.places(row)
	if slices.ContainsFunc(at, func(a netip.AddrPort) bool { return slices.Contains(p.state.Knocks, a.Addr()) }) {
		return finding(check, failed, "does a firewall on the way drop UDP from this host? On "+row.Host+": warren doctor",
			"UDP is blocked one way: its handshakes arrive here, and the answers do not reach it"), true
	}
	for _, a := range at {
		switch err := d.Send(ctx, a); {
		case errors.Is(err, syscall.ECONNREFUSED):
			return finding(check, failed, "on "+row.Host+": systemctl status warren-agent",
				"nobody listens at %v: the port is closed", a), true
		case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EACCES):
			return finding(check, failed, "ip route get "+a.Addr().String(), "there is no way to %v: %v", a, err), true
		}
	}
	return wire.Finding{}, false
}

// places are where a peer may be reached: where the kernel has it, and what the plan says.
func (p *patient) places(row *wire.PeerStatus) []netip.AddrPort {
	var out []netip.AddrPort
	if at, err := netip.ParseAddrPort(row.Endpoint); err == nil {
		out = append(out, at)
	}
	for i := range p.plan.Peers {
		if peer := &p.plan.Peers[i]; peer.ID == row.ID {
			for _, e := range peer.Endpoints {
				if at := e.At(row.Generation); !slices.Contains(out, at) {
					out = append(out, at)
				}
			}
		}
	}
	return out
}

// promised is the largest packet that the way to a peer should take.
func (p *patient) promised(row *wire.PeerStatus, link *peers.Link) int {
	for i := range p.plan.Peers {
		k, ok := p.plan.Peers[i].Key(row.Generation)
		if p.plan.Peers[i].ID != row.ID || !ok {
			continue
		}
		if peer, there := link.Peer(k); there && peer.Fits() != 0 && peer.Fits() < link.MTU {
			return peers.Padded(peer.Fits())
		}
	}
	return link.MTU
}
