package drawing

import (
	"fmt"
	"strings"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// mark tells hosts apart by more than a colour.
func mark(h *wire.GraphHost) string {
	switch {
	case h.State != peers.HostActive:
		return "–" // takes no part
	case !h.Online:
		return "○"
	case h.Problems > 0:
		return "!"
	}
	return "●"
}

// title is what is written for a host.
func title(h *wire.GraphHost) string {
	s := mark(h) + " " + h.Name
	if h.Gateway > 0 {
		s += fmt.Sprintf(" (gateway %d)", h.Gateway)
	}
	if h.State != peers.HostActive {
		s += " (" + string(h.State) + ")"
	}
	return s
}

// heading is what is written for a site.
func heading(s *wire.GraphSite) string {
	if len(s.Prefixes) == 0 {
		return s.Name
	}
	return s.Name + " " + strings.Join(s.Prefixes, ", ")
}

// count is what is written at a link between sites.
func count(g *wire.Graph, l *wire.GraphLink) string {
	if g.Between == "hosts" {
		return ""
	}
	return fmt.Sprintf("%d of %d", l.Up, l.Pairs)
}

// DOT draws for Graphviz.
func DOT(g *wire.Graph) string {
	var b strings.Builder
	fmt.Fprintf(&b, "graph %s {\n\tnode [shape=box style=rounded]\n", quoted(g.Mesh))
	for i := range g.Sites {
		s := &g.Sites[i]
		fmt.Fprintf(&b, "\tsubgraph %s {\n\t\tlabel=%s\n", quoted("cluster_"+s.Name), quoted(heading(s)))
		if g.Between == "sites" || len(s.Hosts) == 0 {
			fmt.Fprintf(&b, "\t\t%s [label=%s]\n", quoted("site/"+s.Name), quoted(fmt.Sprintf("%d hosts", len(s.Hosts))))
		} else {
			for j := range s.Hosts {
				fmt.Fprintf(&b, "\t\t%s [label=%s]\n", quoted("host/"+s.Hosts[j].Name), quoted(title(&s.Hosts[j])))
			}
		}
		b.WriteString("\t}\n")
	}
	styles := map[string]string{
		wire.LinkUp: "color=darkgreen", wire.LinkPartial: "color=darkorange style=dashed",
		wire.LinkDown: "color=red style=dotted", wire.LinkUnknown: "color=gray style=dashed penwidth=0.5",
	}
	kind := strings.TrimSuffix(g.Between, "s") + "/"
	for i := range g.Links {
		l := &g.Links[i]
		label := l.State
		if n := count(g, l); n != "" {
			label += ", " + n
		}
		fmt.Fprintf(&b, "\t%s -- %s [label=%s %s]\n", quoted(kind+l.A), quoted(kind+l.B), quoted(label), styles[l.State])
	}
	b.WriteString("}\n")
	return b.String()
}

// quoted is a string of DOT.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(s) + `"`
}

// Mermaid draws for Mermaid, which many wikis know.
func Mermaid(g *wire.Graph) string {
	var b strings.Builder
	b.WriteString("graph LR\n")
	ids := map[string]string{}
	node := func(key, text string) {
		ids[key] = fmt.Sprintf("n%d", len(ids)+1)
		fmt.Fprintf(&b, "\t\t%s[\"%s\"]\n", ids[key], entities(text))
	}
	for i := range g.Sites {
		s := &g.Sites[i]
		fmt.Fprintf(&b, "\tsubgraph s%d[\"%s\"]\n", i+1, entities(heading(s)))
		if g.Between == "sites" || len(s.Hosts) == 0 {
			node("site/"+s.Name, fmt.Sprintf("%d hosts", len(s.Hosts)))
		} else {
			for j := range s.Hosts {
				node("host/"+s.Hosts[j].Name, title(&s.Hosts[j]))
			}
		}
		b.WriteString("\tend\n")
	}
	kind := strings.TrimSuffix(g.Between, "s") + "/"
	arrows := map[string]string{
		wire.LinkUp: "===", wire.LinkPartial: "-. partial .-", wire.LinkDown: "-. down .-", wire.LinkUnknown: "---",
	}
	colours := map[string]string{
		wire.LinkUp: "#1a7f37", wire.LinkPartial: "#bc4c00", wire.LinkDown: "#cf222e", wire.LinkUnknown: "#8c959f",
	}
	for i := range g.Links {
		l := &g.Links[i]
		label := ""
		if n := count(g, l); n != "" {
			label = "|\"" + n + "\"|"
		}
		arrow := arrows[l.State]
		if label != "" && strings.Contains(arrow, " ") {
			arrow = "-.-"
		}
		fmt.Fprintf(&b, "\t%s %s%s %s\n", ids[kind+l.A], arrow, label, ids[kind+l.B])
	}
	for i := range g.Links {
		fmt.Fprintf(&b, "\tlinkStyle %d stroke:%s\n", i, colours[g.Links[i].State])
	}
	return b.String()
}

// entities escapes text for HTML, which Mermaid makes of labels.
func entities(s string) string {
	return strings.NewReplacer("&", "&amp;", `"`, "&quot;", "<", "&lt;", ">", "&gt;", "\n", " ").Replace(s)
}
