package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// startAgent SCENARIO… runs an agent in the script: ok, degraded, down, unenrolled, empty, pending, first, alone, refused,
// cut, garbled, forbidden, guarded, leaky or unguarded.
func startAgent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: agent SCENARIO")
	}
	status := agentStatus(args[0])
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.PathStatus, func(w http.ResponseWriter, _ *http.Request) {
		switch args[0] {
		case "garbled":
			answer(w, []string{"not", "a", "status"})
		case "forbidden":
			refuse(w, wire.NewFault(http.StatusForbidden, "forbidden", "you may not read the status",
				"be root or in the group warren: sudo usermod -aG warren USER"))
		case "bare":
			http.Error(w, "not found", http.StatusNotFound)
		default:
			answer(w, status)
		}
	})
	mux.HandleFunc("POST "+wire.PathLocalEnroll, func(w http.ResponseWriter, _ *http.Request) {
		stream(w, enrolment(args[0], &status)...)
	})
	mux.HandleFunc("POST "+wire.PathLocalLeave, func(w http.ResponseWriter, r *http.Request) {
		stream(w, leaving(args[0], r)...)
	})
	mux.HandleFunc("GET "+wire.PathLocalMetrics, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "# HELP warren_agent_info Always 1; who this is, in labels.\nwarren_agent_info 1\n")
	})
	mux.HandleFunc("GET "+wire.PathPing, func(w http.ResponseWriter, r *http.Request) {
		ping(w, r.FormValue("host"), args[0] == "down")
	})
	mux.HandleFunc("GET "+wire.PathDoctor, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, findings(args[0]))
	})
	mux.HandleFunc("GET "+wire.PathFlows, func(w http.ResponseWriter, _ *http.Request) {
		if status.Guard == nil {
			refuse(w, wire.NewFault(http.StatusConflict, "unenrolled", "this host is not enrolled", "warren enroll TOKEN"))
			return
		}
		answer(w, flowReport(status.Guard))
	})
	serve(ts, listenUnix(ts, "agent.sock"), mux)
}

// flowReport is what a host with such a guard lets in and drops.
func flowReport(g *wire.GuardStatus) wire.FlowReport {
	r := wire.FlowReport{Host: "warehouse", Guard: *g}
	all := peers.Selector{Kind: peers.SelectAll}
	switch g.Policy {
	case wire.PolicyEnforced:
		r.Allowed = []wire.FlowCount{{
			Flow: 1, From: []peers.Selector{{Kind: peers.SelectSite, Name: "shop"}, {Kind: peers.SelectLabel, Name: "role", Value: "till"}},
			To:      []netip.Prefix{netip.MustParsePrefix("10.20.0.0/24"), netip.MustParsePrefix("10.90.0.2/32")},
			Allow:   []peers.Service{{Protocol: peers.TCP, Ports: peers.Ports{First: 5432, Last: 5432}}, {Protocol: peers.ICMP}},
			Counter: peers.Counter{Packets: 1207, Bytes: 1_400_000},
		}, {
			Flow: 4, From: []peers.Selector{all}, To: []netip.Prefix{netip.MustParsePrefix("10.90.0.2/32")},
			Allow: []peers.Service{{Protocol: peers.UDP, Ports: peers.Ports{First: 8000, Last: 8100}}},
		}}
		r.Dropped = []wire.DropCount{{
			Rule: peers.CounterRefused, Message: "from the mesh, and no flow allows it", Counter: peers.Counter{Packets: 7, Bytes: 420},
		}, {Rule: peers.CounterSpoofed, Message: "claims to come from the mesh, and came outside of a tunnel"}}
	case wire.PolicyAllowAll:
		r.Allowed = []wire.FlowCount{{From: []peers.Selector{all}, Allow: []peers.Service{{Protocol: peers.AnyProtocol}}}}
	}
	return r
}

// agentStatus is a host with two peers. Times are far enough from the next unit to read the same for
// the length of a test.
func agentStatus(scenario string) wire.Status {
	if scenario == "unenrolled" {
		return wire.Status{State: wire.StateUnenrolled, Version: "0.1.0", Backend: "userspace"}
	}
	now := time.Now().UTC()
	contact, handshake := now.Add(-150*time.Second), now.Add(-210*time.Second)
	s := wire.Status{
		Host: "warehouse", ID: "aaaaaaaaaaaaaaaa", Mesh: "orders", Site: "warehouse", State: wire.StateOK,
		Address: netip.MustParseAddr("10.90.0.2"), Address6: netip.MustParseAddr("fd5e::2"),
		Backend: "userspace", Version: "0.1.0", Revision: 42, Generation: 3,
		Controller: wire.ControllerStatus{Address: "203.0.113.5:7443", Connected: true, LastContact: &contact},
		Interfaces: []wire.InterfaceStatus{{
			Name: "wrn1", Generation: 3, Port: 51821, MTU: 1420, PublicKey: key.Public{1},
		}},
		Peers: []wire.PeerStatus{
			peer("accounting", "10.90.0.3", wire.PeerUp, &handshake),
			peer("shop", "10.90.0.1", wire.PeerUp, &handshake),
		},
	}
	trouble := peers.Problem{
		Code: "route-conflict", At: "prefix/10.20.0.0/24",
		Message: "10.20.0.0/24 of shop is not routed: this host has 10.20.0.0/16 on eth1",
		Hint:    "renumber one of them, or look at: ip route show dev eth1",
	}
	switch scenario {
	case "degraded":
		s.State, s.Peers[1].State, s.Peers[1].LastHandshake = wire.StateDegraded, wire.PeerConnecting, nil
		s.Controller.Connected, s.Controller.Error = false, "connection refused"
		s.Problems = []peers.Problem{trouble}
		s.Restored = []wire.Restoration{
			{Kind: "link", Count: 1, Last: now.Add(-3 * time.Hour), What: "link add wrn1 mtu 1420 type wireguard"},
			{Kind: "route", Count: 12, Last: handshake, What: "route replace 10.90.0.1/32 dev wrn1 proto 119"},
		}
	case "guarded":
		s.Guard = &wire.GuardStatus{Firewall: wire.GuardOn, LeakGuard: wire.GuardOn, Policy: wire.PolicyEnforced, Flows: 2}
	case "leaky":
		s.Guard = &wire.GuardStatus{Firewall: wire.GuardOn, LeakGuard: wire.GuardOff, Policy: wire.PolicyAllowAll}
	case "unguarded":
		s.Guard = &wire.GuardStatus{Firewall: wire.GuardOff, LeakGuard: wire.GuardOff, Policy: wire.PolicyUnenforced}
	case "alone":
		s.State, s.Controller.Connected, s.Controller.Error = wire.StateDegraded, false, "connection refused"
	case "down":
		s.State, s.Peers[0].State, s.Peers[1].State = wire.StateDown, wire.PeerDown, wire.PeerDown
	case "escape":
		s.Problems = []peers.Problem{{Code: "x\x1b[2J", Message: "clear\x1b]0;title\a the\u202e screen"}}
	case "first":
		s.Peers = nil
	case "pending":
		s.Peers, s.Interfaces, s.State, s.Revision, s.Generation, s.Mesh = nil, nil, wire.StateDown, 0, 0, ""
		s.Problems = []peers.Problem{{
			Code: "approval", Message: "an admin must let this host in",
			Hint: "on the controller: warren host approve warehouse",
		}}
	}
	return s
}

func peer(name, address, state string, handshake *time.Time) wire.PeerStatus {
	a := netip.MustParseAddr(address)
	return wire.PeerStatus{
		Host: name, ID: peers.HostID(strings.Repeat("b", 16)), Site: name, Address: a, State: state, Generation: 3,
		Interface: "wrn1", Endpoint: "198.51.100.1:51821", LastHandshake: handshake, RxBytes: 1_400_000, TxBytes: 512,
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(a, 32), netip.MustParsePrefix("10.20.0.0/24")},
	}
}

func enrolment(scenario string, s *wire.Status) []wire.Progress {
	steps := []wire.Progress{
		{Step: "token", Message: "for controller 203.0.113.5:7443"},
		{Step: "keys", Message: "made for generation 3"},
	}
	switch scenario {
	case "refused":
		return append(steps[:1], wire.Progress{Fault: wire.NewFault(http.StatusForbidden, "token-expired",
			"the token expired at 2026-11-23T18:00:00Z", "ask an admin for a new one: warren token create --site shop")})
	case "cut":
		return steps
	}
	return append(steps, wire.Progress{Step: "peers", Message: "1 of 2 up"},
		wire.Progress{Step: "peers", Message: "2 of 2 up", Done: true, Status: s})
}

func leaving(scenario string, r *http.Request) []wire.Progress {
	var order wire.LocalLeave
	_ = json.NewDecoder(r.Body).Decode(&order)
	switch {
	case scenario == "unenrolled":
		return []wire.Progress{{Fault: wire.NewFault(http.StatusConflict, "unenrolled", "this host is not enrolled",
			"get a token from an admin, then: warren enroll TOKEN")}}
	case scenario == "degraded" && !order.Force:
		return []wire.Progress{{Fault: wire.NewFault(http.StatusBadGateway, "controller-unreachable",
			"nothing was changed, because the controller could not be told: no controller answers",
			"restore this host all the same: warren leave --force")}}
	}
	status := agentStatus("unenrolled")
	return []wire.Progress{
		{Step: "controller", Message: "the controller has taken this host out of the mesh"},
		{Step: "network", Message: "removed"},
		{Step: "files", Message: "wiped"},
		{Done: true, Status: &status},
	}
}

func ping(w http.ResponseWriter, host string, dead bool) {
	if host == "unenrolled" {
		refuse(w, wire.NewFault(http.StatusConflict, "unenrolled", "this host is not enrolled", "warren enroll TOKEN"))
		return
	}
	if host != "shop" {
		refuse(w, wire.NewFault(http.StatusNotFound, "host-unknown", "this host has no peer \""+host+"\"", "warren status"))
		return
	}
	replies := []wire.PingReply{{Seq: 1, RTT: 0.0123}, {Seq: 2, Lost: true}, {Seq: 3, RTT: 0.0101}}
	summary := wire.PingSummary{
		Host: host, Address: netip.MustParseAddr("10.90.0.1"), Sent: 3, Received: 2, Loss: 1.0 / 3, Min: 0.0101,
		Mean: 0.0112, Max: 0.0123, PathMTU: 1420, Generation: 3, Interface: "wrn1",
	}
	if dead {
		replies = []wire.PingReply{{Seq: 1, Lost: true}}
		summary = wire.PingSummary{Host: host, Address: summary.Address, Sent: 1, Loss: 1}
	}
	stream(w, append(replies, wire.PingReply{Summary: &summary})...)
}

func findings(scenario string) []wire.Finding {
	out := []wire.Finding{
		{Check: "controller", Result: checkOK, Message: "203.0.113.5:7443 answers in 12 ms"},
		{Check: "ipv6", Result: checkSkipped, Message: "the kernel does no IPv6"},
	}
	switch scenario {
	case "degraded":
		out = append(out, wire.Finding{
			Check: "clock", Result: checkWarning, Message: "41 s behind the controller", Hint: "timedatectl set-ntp true",
		})
	case "down":
		out = append(out, wire.Finding{Check: "port", Result: checkFailed, Message: "UDP port 51821 is taken by nginx"})
	}
	return out
}
