package linux

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/warren-mesh/warren/peers"
)

// String prints the host as the ip(8) and wg(8) commands that make what it has, without secrets.
func (f *Fake) String() string {
	s, err := f.Observe(context.Background())
	if err != nil {
		return err.Error()
	}
	slices.SortFunc(s.Routes, func(a, b peers.Route) int {
		return cmp.Or(a.Prefix.Compare(b.Prefix), strings.Compare(b.Link, a.Link))
	})
	var b strings.Builder
	if s.Guard.There {
		fmt.Fprintf(&b, "nft add table inet %s # %s\n", peers.GuardTable, s.Guard.Digest)
	}
	for i := range s.Links {
		printLink(&b, &s.Links[i])
	}
	for _, f := range s.Forwarding {
		if f.Ours4 {
			fmt.Fprintln(&b, peers.SetForwarding{Link: f.Link, On: true})
		}
		if f.Ours6 {
			fmt.Fprintln(&b, peers.SetForwarding{Link: f.Link, IPv6: true, On: true})
		}
	}
	for _, r := range s.Routes {
		fmt.Fprintf(&b, "ip route add %v\n", r)
	}
	for _, r := range s.Foreign {
		fmt.Fprintf(&b, "ip route add %v dev %s\n", r.Prefix, r.Link)
	}
	return b.String()
}

func printLink(b *strings.Builder, l *peers.Link) {
	if l.Backend == "" {
		fmt.Fprintf(b, "ip link add %s type dummy\n", l.Name)
		return
	}
	fmt.Fprintf(b, "ip link add %s mtu %d type wireguard\n", l.Name, l.MTU)
	if !l.Public.IsZero() {
		fmt.Fprintf(b, "wg set %s private-key (hidden) listen-port %d\n", l.Name, l.Port)
	}
	if l.RPFilter != 0 {
		fmt.Fprintf(b, "sysctl net.ipv4.conf.%s.rp_filter=%d\n", l.Name, l.RPFilter)
	}
	for _, a := range l.Addresses {
		fmt.Fprintf(b, "ip address add %v dev %s\n", a, l.Name)
	}
	if l.Up {
		fmt.Fprintf(b, "ip link set %s up\n", l.Name)
	}
	for i := range l.Peers {
		printPeer(b, l.Name, &l.Peers[i])
	}
}

func printPeer(b *strings.Builder, link string, p *peers.LinkPeer) {
	fmt.Fprintf(b, "wg set %s peer %v", link, p.Key)
	if !p.PSK.IsZero() {
		fmt.Fprintf(b, " preshared-key %v", p.PSK)
	}
	if p.Endpoint.IsValid() {
		fmt.Fprintf(b, " endpoint %v", p.Endpoint)
	}
	if p.Keepalive != 0 {
		fmt.Fprintf(b, " persistent-keepalive %d", p.Keepalive)
	}
	for i, a := range p.Allowed {
		fmt.Fprintf(b, "%s%v", []string{" allowed-ips ", ","}[min(i, 1)], a)
	}
	b.WriteString("\n")
}
