package wire

import "github.com/warren-mesh/warren/peers"

// PathGraph is where the mesh is as a graph: GET.
const PathGraph = "/v1/graph"

// States of a link.
const (
	LinkUp      = "up"      // both ends reach each other, as far as they are there to say so
	LinkPartial = "partial" // one end does and the other does not, or some hosts of a site do
	LinkDown    = "down"    // neither does
	LinkUnknown = "unknown" // nobody is there to say so
)

// A Graph is the mesh as sites, hosts and links between those that have a flow.
type Graph struct {
	Mesh     string         `json:"mesh"`
	Revision peers.Revision `json:"revision"`
	Sites    []GraphSite    `json:"sites"    doc:"by name"`
	// Links of a large mesh are between sites.
	Between string      `json:"between" enum:"hosts,sites" doc:"what the ends of links are; sites in a mesh of many hosts"`
	Links   []GraphLink `json:"links"   doc:"by their ends"`
}

// A GraphSite is a site with its hosts.
type GraphSite struct {
	Name     string      `json:"name"`
	Prefixes []string    `json:"prefixes"`
	Hosts    []GraphHost `json:"hosts"    doc:"by name"`
}

// A GraphHost is a host.
type GraphHost struct {
	Name     string          `json:"name"`
	State    peers.HostState `json:"state"`
	Online   bool            `json:"online"`
	Gateway  int             `json:"gateway,omitempty" doc:"its place among the gateways of its site, from 1"`
	Problems int             `json:"problems"          doc:"how many it has"`
}

// A GraphLink is a link between two hosts or two sites, or all within one site.
type GraphLink struct {
	A     string `json:"a"`
	B     string `json:"b"`
	State string `json:"state" enum:"up,partial,down,unknown"`
	Up    int    `json:"up"    doc:"pairs of hosts that reach each other"`
	Pairs int    `json:"pairs"`
}
