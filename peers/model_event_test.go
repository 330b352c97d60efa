package peers_test

import (
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"pgregory.net/rapid"
)

func secretsOf(m *peers.Mesh) map[peers.Generation]key.Secret {
	out := map[peers.Generation]key.Secret{}
	for _, mark := range m.Generations {
		out[mark.Number] = secretOf(mark.Number)
	}
	return out
}

// event lets one thing happen. What makes a rotation go on is drawn more often than what goes wrong.
func (m *model) event() {
	h := m.some("host")
	m.now = m.now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(m.t, "ms")) * time.Millisecond)
	switch rapid.SampledFrom([]string{
		"live", "live", "live", "tell", "turn", "turn", "save", "report", "hear", "hear", "shake", "shakes", "shakes",
		"confirm", "retire", "retire", "controller", "controller", "fault", "hold", "hold", "alone",
	}).Draw(m.t, "event") {
	case "live": // what mostly happens to a host, without anything in between
		m.live(h)
	case "alone":
		m.alone(h)
	case "tell":
		m.tell(h)
	case "turn":
		m.turn(h, -1)
	case "save":
		m.save(h)
	case "report":
		m.report(h)
	case "hear":
		arrive(m.t, &m.said, m.listen)
	case "shake":
		m.shakeSome(h)
	case "shakes": // with everybody, on the newest link
		for _, to := range m.machines {
			if to != h {
				m.shakeIfDead(h, to, m.inv.Mesh.Current().Link())
			}
		}
	case "confirm":
		arrive(m.t, &m.confirms, func(confirm func()) { confirm() })
	case "retire":
		arrive(m.t, &m.told, func(t telling) { t.to.retire(t.g, t.retired...) })
	case "controller":
		if m.rotation == nil {
			m.record(peers.StartGeneration{Number: m.inv.Mesh.NextGeneration()})
		}
		m.settle()
	case "hold":
		// Half of them come when some host, of which nobody may have heard, has moved traffic already.
		late := rapid.Bool().Draw(m.t, "late")
		if m.rotation != nil && m.inv.Mesh.Generations[1].Held == 0 && (!late || slices.ContainsFunc(m.machines, (*machine).hasMoved)) {
			m.record(peers.HoldGeneration{Number: m.inv.Mesh.Current()})
		}
	case "fault":
		m.fault(h)
	}
}

// live lets a host take a turn, and report. Mostly its plan is on disk before that.
func (m *model) live(h *machine) {
	m.tell(h)
	m.turn(h, -1)
	if rapid.IntRange(0, 3).Draw(m.t, "disk is slow") > 0 {
		m.save(h)
	}
	m.report(h)
}

// alone lets a host do all that it can with the controller, while the others do nothing.
func (m *model) alone(h *machine) {
	m.live(h)
	m.said = slices.DeleteFunc(m.said, func(s saying) bool {
		if s.from == h {
			m.listen(s)
		}
		return s.from == h
	})
	m.now = m.now.Add(4 * time.Second)
	m.settle()
	m.told = slices.DeleteFunc(m.told, func(t telling) bool {
		if t.to == h {
			h.retire(t.g, t.retired...)
		}
		return t.to == h
	})
	m.turn(h, -1)
}

func (m *model) some(what string) *machine {
	return m.machines[rapid.SampledFrom(m.turns).Draw(m.t, what)]
}

func (m *model) save(h *machine) {
	if h.runs {
		h.save()
	}
}

// fault lets one thing go wrong.
func (m *model) fault(h *machine) {
	switch rapid.SampledFrom([]string{
		"agent", "agent", "agent in a turn", "agent in a turn", "controller", "reboot", "link", "cut", "stream", "disk",
	}).Draw(m.t, "fault") {
	case "agent":
		h.start()
	case "agent in a turn":
		m.turn(h, rapid.IntRange(0, 12).Draw(m.t, "steps"))
		h.start()
	case "controller":
		m.rotation = peers.NewRotation(&m.inv.Mesh)
		for _, h := range m.machines {
			m.begin(h)
		}
	case "reboot":
		h.reboot()
		m.disturbed(h)
		h.start()
	case "link":
		link := rapid.SampledFrom([]string{"wrn0", "wrn1"}).Draw(m.t, "link")
		if m.kernelHas(h, link) {
			m.disturbed(h)
		}
	case "cut":
		i := rapid.IntRange(1, len(m.machines)-1).Draw(m.t, "one end")
		pair := [2]int{i, rapid.IntRange(0, i-1).Draw(m.t, "other end")}
		m.cut[pair] = !m.cut[pair]
	case "stream":
		m.retell(h) // it is told all over again
	case "disk":
		h.full = !h.full
	}
}

// kernelHas lets somebody delete a link, if it is there.
func (m *model) kernelHas(h *machine, link string) bool { return h.kernel.delLink(link) == nil }

// arrive draws what becomes of messages that are under way: most arrive, in any order, some are lost, some come
// later, some come again.
func arrive[T any](t *rapid.T, list *[]T, hear func(T)) {
	all := *list
	*list = nil
	for len(all) > 0 {
		i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
		switch rapid.IntRange(0, 9).Draw(t, "becomes") {
		case 0:
			*list = append(*list, all[i])
		case 1:
			hear(all[i])
			*list = append(*list, all[i])
		case 2:
		default:
			hear(all[i])
		}
		all = append(all[:i:i], all[i+1:]...)
	}
}

func (m *model) shakeSome(h *machine) {
	to := m.some("with")
	if to == h {
		return
	}
	link := rapid.SampledFrom([]string{"wrn0", "wrn1"}).Draw(m.t, "link")
	if rapid.Bool().Draw(m.t, "newest") {
		link = m.inv.Mesh.Current().Link()
	}
	m.shake(h, to, link, rapid.IntRange(0, 5).Draw(m.t, "answered") > 0, rapid.Bool().Draw(m.t, "confirmed"))
}
