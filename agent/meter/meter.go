// Package meter writes how an agent is, in the text format of Prometheus. It keeps nothing: all figures come
// with each call and are of one moment.
package meter

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Figures are what there is to write.
type Figures struct {
	Status   wire.Status
	Wanted   peers.Revision   // of the plan that the controller sent last
	Newest   peers.Generation // the newest in it
	Turns    uint64           // of the loop: observe, compare, change
	Took     time.Duration    // all of them together
	Messages uint64           // that set something in the kernel
}

// A Family is one metric, with all its labels' values.
type Family struct {
	Name string
	Type string // counter or gauge
	Help string
}

// Families lists what Write writes, in the order in which it does.
func Families() []Family {
	const counter, gauge = "counter", "gauge"
	return []Family{
		{"warren_agent_info", gauge, "Always 1; who this is, in labels."},
		{"warren_agent_state", gauge, "1 for the state that the host is in: ok, degraded, down or unenrolled; 0 for the others."},
		{"warren_agent_problems", gauge, "Problems that warren status shows, by code."},
		{"warren_agent_controller_connected", gauge, "1 while there is a stream from the controller."},
		{
			"warren_agent_controller_last_contact_timestamp_seconds", gauge,
			"When something was last heard of the controller; absent for never.",
		},
		{"warren_agent_revision_wanted", gauge, "Revision of the plan that came last."},
		{"warren_agent_revision_applied", gauge, "Revision of the plan that the host has; 0 for none."},
		{"warren_agent_generation_wanted", gauge, "Newest generation of keys in the plan."},
		{"warren_agent_generation_applied", gauge, "Newest generation that an interface of this host has; 0 for none."},
		{"warren_agent_key_age_seconds", gauge, "Time since the newest generation in the plan began; absent for unknown."},
		{"warren_agent_reconciles_total", counter, "Times that the host was compared with its plan."},
		{"warren_agent_reconcile_seconds_total", counter, "Time that this took, all in all."},
		{"warren_agent_set_messages_total", counter, "Messages that set something in the kernel; none where nothing differs."},
		{"warren_agent_restorations_total", counter, "Things of Warren's that others changed and the agent put back, by kind."},
		{"warren_agent_site_moves_total", counter, "Times that a site with several gateways came to be reached by another one."},
		{"warren_agent_site_gateway", gauge, "1 for the gateway by which a site is reached, 0 for its others."},
		{"warren_agent_peer_state", gauge, "1 for the state that a peer is in: up, connecting or down; 0 for the others."},
		{"warren_agent_peer_handshake_age_seconds", gauge, "Time since the last handshake with a peer; absent for never."},
		{"warren_agent_peer_receive_bytes_total", counter, "Bytes received from a peer, on the interface that its traffic takes."},
		{"warren_agent_peer_transmit_bytes_total", counter, "Bytes sent to a peer, on the interface that its traffic takes."},
	}
}

// Write writes the figures, and after them those of the process, as the library has them.
func Write(w io.Writer, f *Figures, now time.Time) error {
	s := &sheet{of: map[string]*metrics.Set{}}
	s.host(f)
	s.controller(f)
	s.loop(f)
	for i := range f.Status.Sites {
		s.site(&f.Status.Sites[i])
	}
	for i := range f.Status.Peers {
		s.peer(&f.Status.Peers[i], now)
	}
	var out bytes.Buffer
	for _, family := range Families() {
		if set := s.of[family.Name]; set != nil {
			fmt.Fprintf(&out, "# HELP %s %s\n# TYPE %s %s\n", family.Name, family.Help, family.Name, family.Type)
			set.WritePrometheus(&out)
		}
	}
	metrics.WriteProcessMetrics(&out)
	_, err := w.Write(out.Bytes())
	return err
}

// A sheet has a set for each family, so that each gets its help.
type sheet struct{ of map[string]*metrics.Set }

// put writes down a figure. Labels are names and values in turn.
func (s *sheet) put(name string, value float64, labels ...string) {
	set := s.of[name]
	if set == nil {
		set = metrics.NewSet()
		s.of[name] = set
	}
	var pairs []string
	for i := 0; i+1 < len(labels); i += 2 {
		pairs = append(pairs, fmt.Sprintf("%s=%q", labels[i], labels[i+1]))
	}
	if len(pairs) > 0 {
		name += "{" + strings.Join(pairs, ",") + "}"
	}
	set.GetOrCreateFloatCounter(name).Set(value) // counter or gauge: the help says it, the figure is the same
}

// one writes 1 for what is the case, and 0 for what could be.
func (s *sheet) one(name, is string, all []string, labels ...string) {
	for _, state := range all {
		s.put(name, flag(state == is), append(labels, "state", state)...)
	}
}

func flag(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func (s *sheet) host(f *Figures) {
	st := &f.Status
	s.put("warren_agent_info", 1, "backend", st.Backend, "host", st.Host, "mesh", st.Mesh, "site", st.Site, "version", st.Version)
	s.one("warren_agent_state", st.State, []string{wire.StateOK, wire.StateDegraded, wire.StateDown, wire.StateUnenrolled})
	count := map[string]int{}
	for _, p := range st.Problems {
		count[p.Code]++
	}
	for code, n := range count {
		s.put("warren_agent_problems", float64(n), "code", code)
	}
	restored := map[string]int{}
	for _, kind := range peers.UndoneKinds() {
		restored[kind] = 0
	}
	for _, r := range st.Restored {
		restored[r.Kind] = r.Count
	}
	for kind, n := range restored {
		s.put("warren_agent_restorations_total", float64(n), "kind", kind)
	}
}

func (s *sheet) controller(f *Figures) {
	c := &f.Status.Controller
	s.put("warren_agent_controller_connected", flag(c.Connected))
	if c.LastContact != nil {
		s.put("warren_agent_controller_last_contact_timestamp_seconds", float64(c.LastContact.UnixMilli())/1000)
	}
}

func (s *sheet) loop(f *Figures) {
	applied := peers.Generation(0)
	for _, in := range f.Status.Interfaces {
		applied = max(applied, in.Generation)
	}
	s.put("warren_agent_revision_wanted", float64(f.Wanted))
	s.put("warren_agent_revision_applied", float64(f.Status.Revision))
	s.put("warren_agent_generation_wanted", float64(f.Newest))
	s.put("warren_agent_generation_applied", float64(applied))
	if age := f.Status.KeyAge; age > 0 {
		s.put("warren_agent_key_age_seconds", age)
	}
	s.put("warren_agent_reconciles_total", float64(f.Turns))
	s.put("warren_agent_reconcile_seconds_total", f.Took.Seconds())
	s.put("warren_agent_set_messages_total", float64(f.Messages))
}

func (s *sheet) site(site *wire.SiteStatus) {
	s.put("warren_agent_site_moves_total", float64(site.Moves), "site", site.Site)
	for _, g := range site.Gateways {
		s.put("warren_agent_site_gateway", flag(g.Host == site.Acting), "gateway", g.Host, "site", site.Site)
	}
}

func (s *sheet) peer(p *wire.PeerStatus, now time.Time) {
	s.one("warren_agent_peer_state", p.State, []string{wire.PeerUp, wire.PeerConnecting, wire.PeerDown}, "peer", p.Host)
	if p.LastHandshake != nil {
		s.put("warren_agent_peer_handshake_age_seconds", max(0, now.Sub(*p.LastHandshake).Seconds()), "peer", p.Host)
	}
	if p.Interface != "" {
		s.put("warren_agent_peer_receive_bytes_total", float64(p.RxBytes), "interface", p.Interface, "peer", p.Host)
		s.put("warren_agent_peer_transmit_bytes_total", float64(p.TxBytes), "interface", p.Interface, "peer", p.Host)
	}
}
