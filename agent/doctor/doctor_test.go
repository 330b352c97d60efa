package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/warren-mesh/warren/agent/doctor"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// A patient is a host and what is wrong with it.
type patient struct {
	status wire.Status
	plan   peers.Plan
	state  peers.State
	ahead  time.Duration
	files  map[string]string
	drops  [2]string
	// forwards is what drops from, to, on links.
	forwards map[string][2]string
	unread   error
	sends    error
	names    error
	tun      error
	free     map[uint16]bool
	answer   wire.PingSummary
	refuse   error
}

// Ping answers as the case says.
func (p *patient) Ping(context.Context, netip.Addr, int, int, func(wire.PingReply)) (wire.PingSummary, error) {
	return p.answer, p.refuse
}

// healthy is a member with one peer, and nothing wrong.
func healthy() *patient {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	prefix := netip.MustParsePrefix("10.90.0.2/32")
	return &patient{
		status: wire.Status{
			Host: "shop", Mesh: "orders", Site: "shop", State: wire.StateOK, Backend: "kernel", Revision: 4,
			Controller: wire.ControllerStatus{
				Address: "c:7443", Connected: true, LastContact: &now, Addresses: []string{"c:7443", "198.51.100.1:7443", "[fd00::1]:7443"},
			},
			Peers: []wire.PeerStatus{{
				Host: "warehouse", ID: "w", State: wire.PeerUp, Interface: "wrn1", Generation: 1,
				Address: prefix.Addr(), Endpoint: "198.51.100.2:51821", LastHandshake: &now,
			}},
		},
		plan: peers.Plan{
			Mesh:       peers.PlanMesh{Overlay: netip.MustParsePrefix("10.90.0.0/16")},
			Interfaces: []peers.Interface{{Generation: 1, Name: "wrn1", Port: 51821, MTU: 1420}},
			Peers: []peers.Peer{{ID: "w", Name: "warehouse", Prefixes: []netip.Prefix{prefix}, Endpoints: []peers.Endpoint{
				{Kind: peers.EndpointPinned, Address: netip.MustParseAddrPort("198.51.100.2:51820")},
			}}},
		},
		state: peers.State{
			IPv6:   true,
			Links:  []peers.Link{{Name: "wrn1", Up: true, MTU: 1420, Port: 51821, RPFilter: 2}},
			Routes: []peers.Route{{Prefix: prefix, Link: "wrn1"}},
		},
		answer: wire.PingSummary{Received: 2, PathMTU: 1420, Mean: 0.001},
	}
}

func (p *patient) examine(t *testing.T) []wire.Finding {
	t.Helper()
	root := fstest.MapFS{}
	for name, value := range p.files {
		root[name] = &fstest.MapFile{Data: []byte(value)}
	}
	p.status.Problems = append(slices.Clone(p.status.Problems), peers.ForwardingProblems(&p.plan, &p.state)...)
	d := &doctor.Doctor{
		Prober: p, Root: root, Tun: func() error { return p.tun }, Free: func(port uint16) bool { return p.free[port] },
		Drops: func(uint16) (string, string, error) { return p.drops[0], p.drops[1], nil },
		DropsForwarded: func(from, to netip.Prefix, in, out string) (string, string, error) {
			if why, ok := p.forwards[fmt.Sprintf("%v %v %s %s", from, to, in, out)]; ok {
				return why[0], why[1], nil
			}
			return "", "", p.unread
		},
		Send:    func(context.Context, netip.AddrPort) error { return p.sends },
		Resolve: func(context.Context, string) error { return p.names },
	}
	return d.Examine(t.Context(), p.status, p.plan, p.state, p.ahead)
}

func TestHealthy(t *testing.T) {
	checks := map[string]bool{}
	for _, f := range healthy().examine(t) {
		checks[f.Check] = true
		if f.Result != "ok" && f.Check != "tun" {
			t.Errorf("%+v", f)
		}
		if f.Message == "" {
			t.Errorf("%s says nothing", f.Check)
		}
	}
	for _, want := range []string{
		"enrolled", "identity", "dns", "firewall", "backend", "tun", "ipv6", "controller", "clock", "port", "rp-filter", "routes", "peer/warehouse", "mtu/warehouse",
	} {
		if !checks[want] {
			t.Errorf("no check %q", want)
		}
	}
}

// gateway makes the host one of a site with a prefix of each family, both of which it forwards.
func gateway(p *patient) {
	p.plan.Self.ID, p.plan.Self.Site = "self", "warehouse"
	four, six := netip.MustParsePrefix("10.20.0.0/24"), netip.MustParsePrefix("2001:db8:20::/48")
	p.plan.Sites = []peers.PlanSite{{
		Name: "warehouse", Gateways: []peers.HostID{"other", "self"}, Prefixes: []netip.Prefix{four, six},
		Networks: []peers.SitePrefix{{Prefix: four}, {Prefix: six}},
	}}
	p.state.Foreign = []peers.Foreign{{Prefix: four, Link: "lan0", Connected: true}, {Prefix: six, Link: "lan0", Connected: true}}
	p.state.Forwarding = []peers.Forwarding{
		{Link: "lan0", IPv4: true, IPv6: true}, {Link: "wrn1", IPv4: true, Ours4: true, IPv6: true, Ours6: true},
	}
}

// TestForwarding: each family counts where the site has prefixes and the host has addresses of it, and a host
// that is no gateway may have what it likes.
func TestForwarding(t *testing.T) {
	off := func(p *patient) { p.state.Forwarding = nil }
	for _, c := range []struct {
		name   string
		infect func(p *patient)
		want   []string
	}{
		{"no gateway", func(p *patient) { off(p); p.plan.Sites[0].Gateways = p.plan.Sites[0].Gateways[:1] }, nil},
		{"both off", off, []string{"failed", "failed", "failed", "failed"}},
		{"IPv6 off on the LAN", func(p *patient) { p.state.Forwarding[0].IPv6 = false }, []string{"failed"}},
		{"without IPv6", func(p *patient) { p.state.IPv6, p.state.Forwarding[0].IPv6 = false, false }, []string{"failed"}},
		{"an older kernel", func(p *patient) { p.state.Forward6 = peers.Forward6None }, []string{"failed"}},
		{"both on", func(*patient) {}, []string{"ok"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := healthy()
			gateway(p)
			c.infect(p)
			var got []string
			for _, f := range p.examine(t) {
				if f.Check == "forwarding" {
					got = append(got, f.Result)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func down(p *patient) *wire.PeerStatus {
	row := &p.status.Peers[0]
	row.State, row.LastHandshake, row.Endpoint = wire.PeerDown, nil, ""
	return row
}

// TestIllnesses: each known cause has its check, and each check a remedy.
func TestIllnesses(t *testing.T) {
	cases := []struct {
		name    string
		infect  func(p *patient)
		check   string
		result  string
		message string
		hint    string
	}{
		{"not enrolled", func(p *patient) { p.status = wire.Status{State: wire.StateUnenrolled, Backend: "kernel"} }, "enrolled", "failed", "not enrolled", "warren enroll"},
		{"no plan", func(p *patient) { p.status.Revision = 0 }, "enrolled", "warning", "no plan yet", "warren status"},
		{"controller", func(p *patient) {
			p.status.Controller.Connected, p.status.Controller.Error = false, "connection refused"
		}, "controller", "failed", "connection refused", "TCP port"},
		{"controller, with a hint of its own", func(p *patient) {
			p.status.Controller.Connected = false
			p.status.Problems = []peers.Problem{{Code: "suspended", At: "controller", Hint: "ask an admin"}}
		}, "controller", "failed", "not connected", "ask an admin"},
		{"clock", func(p *patient) { p.ahead = -25 * time.Hour }, "clock", "warning", "25h0m0s", "timedatectl"},
		{"clock unknown", func(p *patient) { p.status.Controller.LastContact = nil }, "clock", "skipped", "not reached", ""},
		{"no backend", func(p *patient) {
			p.status.Backend = ""
			p.status.Problems = []peers.Problem{{Code: "backend", Message: "CAP_NET_ADMIN is missing"}}
		}, "backend", "failed", "CAP_NET_ADMIN is missing", "journalctl"},
		{"userspace", func(p *patient) { p.status.Backend = "userspace" }, "backend", "ok", "process of its own", "modprobe"},
		{"no tun", func(p *patient) { p.status.Backend, p.tun = "userspace", errors.New("no such device") }, "tun", "failed", "no such device", "modprobe tun"},
		{"no IPv6", func(p *patient) { p.state.IPv6 = false }, "ipv6", "skipped", "does without", ""},
		{"no interface", func(p *patient) { p.state.Links = nil }, "port", "failed", "no interface wrn1", "journalctl"},
		{"other port", func(p *patient) { p.state.Links[0].Port = 7 }, "port", "failed", "UDP port 7", "ss -ulpn"},
		{"interface down", func(p *patient) { p.state.Links[0].Up = false }, "port", "failed", "wrn1 is down", "journalctl"},
		{"port of somebody else", func(p *patient) {
			p.state.Links[0].Up = false
			p.status.Problems = []peers.Problem{{Code: "port-taken", At: "port/51821", Message: "taken by socat (process 7)", Hint: "ss -lunp"}}
		}, "port", "failed", "taken by socat", "ss -lunp"},
		{"port of another kind", func(p *patient) {
			p.status.Problems = []peers.Problem{{Code: "port-taken", At: "port/51820", Message: "taken by socat (process 7)", Hint: "ss -lunp"}}
		}, "port-taken", "failed", "taken by socat", "ss -lunp"},
		{"clock went back", func(p *patient) {
			p.status.Problems = []peers.Problem{{Code: "clock-back", At: "clock", Message: "behind what it was", Hint: "set it"}}
		}, "clock", "warning", "behind what it was", "set it"},
		{"nobody listens", func(p *patient) { p.free = map[uint16]bool{51821: true} }, "port", "failed", "does not listen", "ip link set wrn1 down"},
		{"strict filter", func(p *patient) { p.state.Links[0].RPFilter = 1 }, "rp-filter", "warning", "rp_filter of wrn1 is 1", "sysctl.d"},
		{"cloned", func(p *patient) {
			p.status.Controller.Connected = false
			p.status.Problems = []peers.Problem{{Code: "identity-in-use", At: "controller", Message: "in use by another", Hint: "cloned?"}}
		}, "identity", "failed", "in use by another", "cloned?"},
		{"cloned or not", func(p *patient) { p.status.Controller.Connected = false }, "identity", "skipped", "not reached", ""},
		{"module came later", func(p *patient) {
			p.status.Backend, p.files = "userspace", map[string]string{"sys/module/wireguard/version": "1.0.0"}
		}, "backend", "warning", "slower", "ip link delete"},
		{"firewall, policy", func(p *patient) { p.drops = [2]string{"ip filter INPUT", "policy"} }, "firewall", "warning", "dropped in table ip filter, chain INPUT, by its policy", "nft insert rule ip filter INPUT udp dport 51821 accept"},
		{"firewall, rule, and a peer down", func(p *patient) { p.drops = [2]string{"inet fw in", "rule"}; down(p) }, "firewall", "failed", "by a rule", "udp dport 51821"},
		{"rules of another kind", func(p *patient) { p.files = map[string]string{"proc/net/ip_tables_names": "filter\n"} }, "iptables-legacy", "skipped", "iptables-legacy as well", "iptables-legacy -S"},
		{"no name", func(p *patient) {
			p.status.Controller.Connected, p.names = false, errors.New("no such host")
			p.status.Controller.Addresses = []string{"198.51.100.1:7443", "c.example.com:7443"}
		}, "dns", "failed", "c.example.com, does not resolve: no such host", "getent"},
		{"no name, and an address", func(p *patient) { p.names = errors.New("no such host") }, "dns", "warning", "it is reached at c:7443", "getent"},
		{"a name", func(p *patient) { p.status.Controller.Connected = false }, "dns", "ok", "c resolves", ""},
		{"port closed", func(p *patient) { down(p); p.sends = syscall.ECONNREFUSED }, "udp/warehouse", "failed", "nobody listens at 198.51.100.2:51821", "on warehouse"},
		{"no way", func(p *patient) { down(p); p.sends = syscall.ENETUNREACH }, "udp/warehouse", "failed", "no way to 198.51.100.2:51821", "ip route get"},
		{"one way", func(p *patient) {
			down(p)
			p.state.Knocks = []netip.Addr{netip.MustParseAddr("198.51.100.2")}
		}, "udp/warehouse", "failed", "blocked one way", "On warehouse"},
		{"own network in the overlay", func(p *patient) {
			p.state.Foreign = []peers.Foreign{{Prefix: netip.MustParsePrefix("10.90.3.0/24"), Link: "docker0"}}
		}, "routes", "failed", "docker0", "docker0"},
		{"a gateway", gateway, "forwarding", "ok", "forwards between the mesh and [10.20.0.0/24 2001:db8:20::/48]", ""},
		{"a gateway without forwarding", func(p *patient) {
			gateway(p)
			p.state.Forwarding[0].IPv4 = false
		}, "forwarding", "failed", "does not forward what comes in by lan0: net.ipv4.conf.lan0.forwarding=1 is not set", "sysctl.d"},
		{"a gateway without a LAN", func(p *patient) {
			gateway(p)
			p.state.Foreign = p.state.Foreign[:1]
		}, "forwarding", "failed", "not in 2001:db8:20::/48 and has no route to it", "give it an address there"},
		{"a gateway of IPv6 with an older kernel", func(p *patient) {
			gateway(p)
			p.state.Forward6 = peers.Forward6None
		}, "forwarding", "failed", "older than 6.17", "sysctl -w net.ipv6.conf.all.forwarding=1"},
		{"a gateway without rules", func(p *patient) {
			gateway(p)
			p.plan.Sites[0].Networks[0].SNAT, p.plan.Guarded = true, &peers.Guard{}
		}, "forwarding", "failed", "does not translate 10.20.0.0/24 snat", "--firewall off"},
		{"route missing", func(p *patient) { p.state.Routes = nil }, "routes", "failed", "1 routes", "ip route"},
		{"peer never heard", func(p *patient) { down(p).TxBytes = 148 }, "peer/warehouse", "failed", "never heard; tried 198.51.100.2:51821 (pinned)", "firewall"},
		{"peer silent", func(p *patient) {
			at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			down(p).LastHandshake = &at
		}, "peer/warehouse", "failed", "since 2026-01-01T00:00:00Z", "firewall"},
		{"peer heard but no handshake", func(p *patient) { down(p).RxBytes = 148 }, "peer/warehouse", "failed", "clocks", "firewall"},
		{"peer nowhere", func(p *patient) { down(p); p.plan.Peers[0].Endpoints = nil }, "peer/warehouse", "failed", "not known where", "--endpoint"},
		{"peer on no interface", func(p *patient) {
			down(p).Interface = ""
			p.plan.Peers[0].Keys = []peers.HostKey{{Generation: 1}}
			p.sends = syscall.ECONNREFUSED
		}, "peer/warehouse", "failed", "no interface with it", "of ports"},
		{"plan not carried out", func(p *patient) { p.status.Revision, p.plan.Revision = 0, 4 }, "enrolled", "ok", "this host is shop", ""},
		{"peer without key", func(p *patient) { down(p).Interface = "" }, "peer/warehouse", "failed", "no interface", "warren host show warehouse"},
		{"small MTU", func(p *patient) { p.answer.PathMTU = 1380 }, "mtu/warehouse", "warning", "more than 1380 bytes are lost", "mtu=1380"},
		{"agent of the peer gone", func(p *patient) { p.answer = wire.PingSummary{} }, "mtu/warehouse", "warning", "does not answer", "systemctl status warren-agent"},
		{"cannot ask", func(p *patient) { p.refuse = errors.New("no route") }, "mtu/warehouse", "failed", "no route", "ip route get 10.90.0.2"},
		{"nobody to ask", func(p *patient) { down(p) }, "mtu", "skipped", "no peer is up", ""},
		{"damaged key", func(p *patient) {
			p.status.Problems = []peers.Problem{{Code: "key-damaged", Message: "key-1 is damaged", Hint: "restore it"}}
		}, "key-damaged", "failed", "key-1 is damaged", "restore it"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := healthy()
			c.infect(p)
			found := p.examine(t)
			for _, f := range found {
				if f.Check != c.check {
					continue
				}
				if f.Result != c.result || !strings.Contains(f.Message, c.message) || !strings.Contains(f.Hint, c.hint) {
					t.Errorf("%+v\nwant %s, %q, hint %q", f, c.result, c.message, c.hint)
				}
				return
			}
			t.Errorf("no check %s in %s", c.check, fmt.Sprintf("%+v", found))
		})
	}
}

// TestNoWayWithoutInterface: while there is no interface with a peer, what its ports answer says nothing.
func TestNoWayWithoutInterface(t *testing.T) {
	p := healthy()
	down(p).Interface = ""
	p.sends, p.state.Knocks = syscall.ECONNREFUSED, []netip.Addr{netip.MustParseAddr("198.51.100.2")}
	for _, f := range p.examine(t) {
		if strings.HasPrefix(f.Check, "udp/") {
			t.Errorf("%+v", f)
		}
	}
}

// TestEverythingWrongAtOnce: a host on which nothing works gets an answer all the same.
func TestEverythingWrongAtOnce(t *testing.T) {
	p := &patient{status: wire.Status{State: wire.StateDown}, tun: errors.New("none")}
	for _, f := range p.examine(t) {
		if f.Result == "failed" && f.Hint == "" {
			t.Errorf("%s has failed, and nothing helps", f.Check)
		}
	}
}
