package drawing

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/warren-mesh/warren/peers/wire"
)

// Measures of a picture, in pixels.
const (
	rowHeight = 20
	letter    = 7 // the width of one, about
	padding   = 12
	distance  = 120 // between boxes
	margin    = 24
	legend    = 110
)

// A box is a site on the picture.
type box struct {
	site       *wire.GraphSite
	rows       []string
	x, y, w, h int // the middle, and the size
}

// SVG draws sites on a circle, hosts within them, and links as lines.
func SVG(g *wire.Graph) string {
	boxes := layout(g)
	left, top, right, bottom := bounds(boxes)
	d := &picture{g: g, ends: map[string]anchor{}}
	for i := range boxes {
		d.anchor(&boxes[i])
	}
	for i := range g.Links {
		d.link(&g.Links[i])
	}
	for i := range boxes {
		d.box(&boxes[i])
	}
	d.legend(left, bottom+margin)
	width, height := max(right-left, 420)+2*margin, bottom-top+legend+2*margin
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="%d %d %d %d" width="%d" height="%d" `+
		`font-family="sans-serif" font-size="12">
<title>%s, revision %d</title>
<style>
.site{fill:#f6f8fa;stroke:#57606a}.name{font-weight:bold}.text{fill:#1f2328}
.sign{paint-order:stroke;stroke:#ffffff;stroke-width:4}
.up{stroke:#1a7f37;stroke-width:2}.partial{stroke:#bc4c00;stroke-width:2;stroke-dasharray:9 4}
.down{stroke:#cf222e;stroke-width:2;stroke-dasharray:2 4}.unknown{stroke:#8c959f;stroke-width:1;stroke-dasharray:9 3 2 3}
path,line{fill:none}
</style>
<rect x="%d" y="%d" width="%d" height="%d" fill="#ffffff"/>
%s</svg>
`, left-margin, top-margin, width, height, width, height, entities(g.Mesh), g.Revision,
		left-margin, top-margin, width, height, d.b.String())
}

// layout places the sites on a circle that is large enough for them, the first one at the top.
func layout(g *wire.Graph) []box {
	boxes := make([]box, len(g.Sites))
	around := 0
	for i := range g.Sites {
		b := &boxes[i]
		b.site = &g.Sites[i]
		if g.Between == "sites" {
			b.rows = []string{fmt.Sprintf("%d hosts", len(b.site.Hosts))}
		} else {
			for j := range b.site.Hosts {
				b.rows = append(b.rows, title(&b.site.Hosts[j]))
			}
		}
		longest := utf8.RuneCountInString(heading(b.site))
		for _, r := range b.rows {
			longest = max(longest, utf8.RuneCountInString(r))
		}
		b.w, b.h = longest*letter+2*padding, (len(b.rows)+1)*rowHeight+padding
		around += max(b.w, b.h) + distance
	}
	radius := max(float64(around)/(2*math.Pi), 160)
	wide := 0
	for _, b := range boxes {
		wide = max(wide, b.w)
	}
	across := radius + float64(wide)/2 // boxes are wider than high
	if len(boxes) == 1 {
		radius, across = 0, 0
	}
	for i := range boxes {
		angle := 2*math.Pi*float64(i)/float64(len(boxes)) - math.Pi/2
		boxes[i].x = int(math.Round(across * math.Cos(angle)))
		boxes[i].y = int(math.Round(radius * math.Sin(angle)))
	}
	return boxes
}

func bounds(boxes []box) (left, top, right, bottom int) {
	for i, b := range boxes {
		if i == 0 {
			left, top, right, bottom = b.x, b.y, b.x, b.y
		}
		left, right = min(left, b.x-b.w/2), max(right, b.x+b.w/2+distance/2)
		top, bottom = min(top, b.y-b.h/2), max(bottom, b.y+b.h/2)
	}
	return left, top, right, bottom
}

// An anchor is where links of a host, or of a site, begin.
type anchor struct {
	x, y, half int // the middle of its row, and half the width of its box
	site       string
}

type picture struct {
	g    *wire.Graph
	b    strings.Builder
	ends map[string]anchor
}

func (d *picture) anchor(b *box) {
	row := func(i int) int { return b.y - b.h/2 + (i+1)*rowHeight + rowHeight/2 + padding/2 }
	if d.g.Between == "sites" {
		d.ends[b.site.Name] = anchor{b.x, row(0), b.w / 2, b.site.Name}
		return
	}
	for i := range b.site.Hosts {
		d.ends[b.site.Hosts[i].Name] = anchor{b.x, row(i), b.w / 2, b.site.Name}
	}
}

// link draws a line from side to side, or an arc beside the box where both ends are in one.
func (d *picture) link(l *wire.GraphLink) {
	a, b := d.ends[l.A], d.ends[l.B]
	tip := fmt.Sprintf("%s – %s: %s", l.A, l.B, l.State)
	if n := count(d.g, l); n != "" {
		tip += ", " + n
	}
	var midX, midY int
	if a.site == b.site {
		x := a.x + a.half
		out := x + distance/4 + max(a.y-b.y, b.y-a.y)/4
		y1, y2 := a.y, b.y
		if l.A == l.B {
			y1, y2 = a.y-6, a.y+6
		}
		midX, midY = (x+3*out)/4, (y1+y2)/2
		fmt.Fprintf(&d.b, `<path class="%s" d="M%d %d C%d %d %d %d %d %d"><title>%s</title></path>`+"\n",
			l.State, x, y1, out, y1, out, y2, x, y2, entities(tip))
	} else {
		if a.x <= b.x {
			a.x, b.x = a.x+a.half, b.x-b.half
		} else {
			a.x, b.x = a.x-a.half, b.x+b.half
		}
		midX, midY = (a.x+b.x)/2, (a.y+b.y)/2
		fmt.Fprintf(&d.b, `<line class="%s" x1="%d" y1="%d" x2="%d" y2="%d"><title>%s</title></line>`+"\n",
			l.State, a.x, a.y, b.x, b.y, entities(tip))
	}
	if s := strings.TrimSpace(signs(l.State) + " " + count(d.g, l)); s != "" {
		d.text(midX, midY+4, "text sign", "middle", s)
	}
}

// signs are beside the lines of links that want a look, for who does not see colours.
func signs(state string) string {
	return map[string]string{wire.LinkPartial: "½", wire.LinkDown: "✕", wire.LinkUnknown: "?"}[state]
}

func (d *picture) box(b *box) {
	x, y := b.x-b.w/2, b.y-b.h/2
	fmt.Fprintf(&d.b, `<rect class="site" x="%d" y="%d" width="%d" height="%d" rx="6"/>`+"\n", x, y, b.w, b.h)
	d.text(x+padding, y+rowHeight, "text name", "start", heading(b.site))
	for i, r := range b.rows {
		d.text(x+padding, y+(i+1)*rowHeight+rowHeight, "text", "start", r)
	}
}

func (d *picture) legend(x, y int) {
	words := []struct{ state, text string }{
		{wire.LinkUp, "up at both ends"},
		{wire.LinkPartial, "½ up at one end, or for some hosts"},
		{wire.LinkDown, "✕ down"},
		{wire.LinkUnknown, "? nobody is there to say so"},
	}
	for i, w := range words {
		at := y + i*rowHeight
		fmt.Fprintf(&d.b, `<line class="%s" x1="%d" y1="%d" x2="%d" y2="%d"/>`+"\n", w.state, x, at, x+50, at)
		d.text(x+60, at+4, "text", "start", w.text)
	}
	d.text(x, y+len(words)*rowHeight+4, "text", "start", "● connected  ! with problems  ○ not connected  – takes no part")
}

func (d *picture) text(x, y int, class, anchor, s string) {
	fmt.Fprintf(&d.b, `<text class="%s" x="%d" y="%d" text-anchor="%s">%s</text>`+"\n", class, x, y, anchor, entities(s))
}
