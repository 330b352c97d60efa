package main

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/daemon"
	"github.com/warren-mesh/warren/peers"
)

// options are the settings of the agent.
type options struct {
	dataDir   string
	socket    string
	backend   string
	port      uint16
	endpoints []string
	firewall  string
	leakGuard string
}

func (o *options) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.dataDir, "data-dir", "/var/lib/warren-agent", "`DIR` for identity, keys and plans")
	f.StringVar(&o.socket, "socket", "/run/warren-agent/agent.sock", "unix socket for warren on this host")
	f.StringVar(&o.backend, "backend", "auto", "auto, kernel or userspace: who does WireGuard")
	f.Uint16Var(&o.port, "port", 51820, "UDP port of slot 0; slot 1 uses the next one")
	f.StringSliceVar(&o.endpoints, "endpoint", nil, "`ADDR[:PORT]` at which others reach this host; may be repeated")
	o.bindGuard(cmd)
}

// bindGuard are the settings of the guard.
func (o *options) bindGuard(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.firewall, "firewall", on, "on or off: whether to have nftables rules, for the policy and the leak guard")
	f.StringVar(&o.leakGuard, "leak-guard", on,
		"on or off: whether to drop packets for the mesh that would leave outside of a tunnel")
}

const (
	on  = "on"
	off = "off"
)

// checkGuard refuses what is neither.
func (o *options) checkGuard() error {
	for name, v := range map[string]string{"--firewall": o.firewall, "--leak-guard": o.leakGuard} {
		if v != on && v != off && v != "" {
			return daemon.Usage("%s %q: want on or off", name, v)
		}
	}
	return nil
}

// pinned reads the endpoints that the operator gives.
func (o *options) pinned() ([]peers.Endpoint, error) {
	if o.port == 0 || o.port == math.MaxUint16 {
		return nil, daemon.Usage("--port %d: want 1 to 65534, because slot 1 uses the next one", o.port)
	}
	var out []peers.Endpoint
	for _, text := range o.endpoints {
		at, err := parseEndpoint(text, o.port)
		if err != nil {
			return nil, daemon.Usage("--endpoint %q: %v", text, err)
		}
		out = append(out, peers.Endpoint{Kind: peers.EndpointPinned, Address: at})
	}
	return out, nil
}

func parseEndpoint(text string, port uint16) (netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(text)
	if err != nil {
		addr, errAddr := netip.ParseAddr(text)
		if errAddr != nil {
			return at, fmt.Errorf("want an address, or one with a port, such as 198.51.100.7:51820 or [2001:db8::7]:51820")
		}
		at = netip.AddrPortFrom(addr, port)
	}
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	if !at.Addr().IsGlobalUnicast() || at.Addr().Zone() != "" || at.Port() == 0 || at.Port() == math.MaxUint16 {
		return at, fmt.Errorf("nobody else can reach a host there")
	}
	return at, nil
}
