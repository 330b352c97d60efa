package main

import (
	"fmt"
	"strings"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

func viewHosts(p *cli.Page, hosts []wire.HostView) {
	var rows [][]any
	for i := range hosts {
		h := &hosts[i]
		rows = append(rows, []any{
			cli.Cell{Text: h.Name, Tone: cli.Bold},
			h.Site, shown(h.Address), hostState(h.State), online(p, h),
			number(h.Revision), number(h.Generation), keyAge(p, h), h.Backend, firstWord(h.Version), problemCodes(h.Problems),
		})
	}
	p.Grid([]string{
		"NAME", "SITE", "ADDRESS", "STATE", "ONLINE", "REVISION", "GENERATION", "KEYS", "BACKEND", "VERSION", "PROBLEMS",
	}, rows)
}

func viewHost(p *cli.Page, h *wire.HostView, names map[peers.HostID]string) {
	p.Fields(
		cli.Field{Name: "host", Value: cli.Cell{Text: h.Name, Tone: cli.Bold}},
		cli.Field{Name: "state", Value: hostState(h.State)},
		cli.Field{Name: "online", Value: online(p, h)},
		cli.F("site", "%s", h.Site),
		cli.F("labels", "%s", labels(h.Labels)),
		cli.F("addresses", "%s", addresses(h.Address, h.Address6)),
		cli.F("endpoints", "%s", endpoints(h.Endpoints)),
		cli.F("plan", "%s", applied(h)),
		cli.F("keys", "%s", keyAge(p, h)),
		cli.F("version", "%s", h.Version),
		cli.F("enrolled", "%s", cli.Ago(p.Now, h.Enrolled)),
		cli.F("id", "%s", h.ID),
		cli.F("identity", "%s", identity(p, h)),
	)
	if len(h.Keys) > 0 {
		p.Title("WireGuard keys", "")
		var rows [][]any
		for _, k := range h.Keys {
			rows = append(rows, []any{number(k.Generation), k.Public})
		}
		p.Grid([]string{"GENERATION", "PUBLIC KEY"}, rows)
	}
	if len(h.Peers) > 0 {
		p.Title("Peers, as this host sees them", "")
		var rows [][]any
		for _, peer := range h.Peers {
			name := names[peer.ID]
			if name == "" {
				name = string(peer.ID)
			}
			rows = append(rows, []any{name, peerState(peer.State), number(peer.Generation)})
		}
		p.Grid([]string{"HOST", "STATE", "GENERATION"}, rows)
	}
	if len(h.Problems) > 0 {
		p.Title("Problems", "")
		p.Problems(h.Problems)
	}
}

// keyAge is how old the newest keys of a host are.
func keyAge(p *cli.Page, h *wire.HostView) string {
	if h.KeySince == nil {
		return ""
	}
	return cli.Span(max(0, p.Now.Sub(*h.KeySince))) + " old"
}

// identity is who the host is, and whether that is about to change.
func identity(p *cli.Page, h *wire.HostView) string {
	s := h.Identity.String()
	if n := len(h.Former); n > 0 {
		s += fmt.Sprintf(", its %d. one", n+1)
	}
	if h.Rekey != nil {
		s += ", asked for a new one " + cli.Ago(p.Now, *h.Rekey)
	}
	return s
}

// firstWord is the version without the commit and the date that some builds tell with it.
func firstWord(version string) string {
	word, _, _ := strings.Cut(version, " ")
	return word
}

func hostState(s peers.HostState) cli.Cell {
	tone := cli.Bad
	switch s {
	case peers.HostActive:
		tone = cli.Good
	case peers.HostPending, peers.HostSuspended:
		tone = cli.Warn
	}
	return cli.Cell{Text: string(s), Tone: tone}
}

// online says whether a host is there, and since when it is not.
func online(p *cli.Page, h *wire.HostView) cli.Cell {
	switch {
	case h.Online:
		return cli.Cell{Text: "yes", Tone: cli.Good}
	case h.LastSeen == nil:
		return cli.Cell{Text: "never seen", Tone: cli.Warn}
	}
	return cli.Cell{Text: "no, " + cli.AgoOf(p.Now, h.LastSeen), Tone: cli.Warn}
}

// applied is how far the host has come.
func applied(h *wire.HostView) string {
	if h.Revision == 0 {
		return "none reported yet"
	}
	s := fmt.Sprintf("revision %d, generation %d", h.Revision, h.Generation)
	if h.Backend != "" {
		s += ", " + h.Backend + " WireGuard"
	}
	return s
}

func endpoints(list []peers.Endpoint) string {
	var out []string
	for _, e := range list {
		out = append(out, fmt.Sprintf("%v (%s)", e.Address, e.Kind))
	}
	return strings.Join(out, ", ")
}

func problemCodes(problems []peers.Problem) cli.Cell {
	var codes []string
	for _, p := range problems {
		codes = append(codes, p.Code)
	}
	return cli.Cell{Text: strings.Join(codes, ", "), Tone: cli.Bad}
}

// number is n, or nothing for 0, which stands for none in revisions and generations.
func number[T ~uint64](n T) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(uint64(n))
}
