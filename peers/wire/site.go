package wire

import (
	"net/netip"

	"github.com/warren-mesh/warren/peers"
)

// PathSites is where the sites of the mesh are.
const PathSites = "/v1/sites"

// A SiteView is a site as admins see it (GET /v1/sites).
type SiteView struct {
	Name     string        `json:"name"`
	Prefixes []SiteNetwork `json:"prefixes"`
	Gateways []string      `json:"gateways" doc:"hosts, in order of priority"`
	Hosts    []string      `json:"hosts"    doc:"that belong to it"`
	Virtual  netip.Addr    `json:"virtual_ip,omitzero" doc:"on the LAN, of the gateway that acts" required:"false"`
	Virtual6 netip.Addr    `json:"virtual_ip6,omitzero" doc:"the same, of IPv6" required:"false"`
	LANCheck []netip.Addr  `json:"lan_check" doc:"of the LAN, which each gateway asks whether they are there"`
}

// A SiteNetwork is a network behind the gateways of a site.
type SiteNetwork struct {
	Prefix netip.Prefix `json:"prefix"            doc:"as the site itself has it"`
	As     netip.Prefix `json:"as,omitzero"       doc:"by which the rest of the mesh knows it" required:"false"`
	SNAT   bool         `json:"snat,omitempty"    doc:"to the site, packets of the mesh come from its gateway"`
}

// A SiteOrder makes a site (POST /v1/sites) or changes one (PATCH /v1/sites/{name}); what is left out stays.
type SiteOrder struct {
	Name     string         `json:"name,omitempty"     maxLength:"63" doc:"of the site; in the path where it is changed"`
	Prefixes []SiteNetwork  `json:"prefixes,omitzero"  required:"false" maxItems:"256" doc:"to add, or to reach in another way"`
	Remove   []netip.Prefix `json:"remove,omitzero"    required:"false" maxItems:"256" doc:"prefixes to take away"`
	Gateways []string       `json:"gateways,omitzero"  required:"false" maxItems:"64" doc:"all of them, in order of priority"`
	Virtual  netip.Addr     `json:"virtual_ip,omitzero" required:"false" doc:"on the LAN, of the gateway that acts"`
	Virtual6 netip.Addr     `json:"virtual_ip6,omitzero" required:"false" doc:"the same, of IPv6"`
	NoVirt   bool           `json:"no_virtual_ip,omitempty" doc:"there is to be no such address any more, of either family"`
	LANCheck []netip.Addr   `json:"lan_check,omitzero"  required:"false" maxItems:"16" doc:"all that gateways ask; [] for none"`
	DryRun   bool           `json:"dry_run,omitempty"  doc:"only tell what would come of it"`
	Why      string         `json:"why,omitempty"      maxLength:"500" doc:"for the audit log"`
	Within   int            `json:"within,omitempty"   minimum:"0" doc:"seconds until it is taken back unless confirmed"`
}

// A SiteResult is what comes of a SiteOrder.
type SiteResult struct {
	Applied  bool               `json:"applied"`
	Revision peers.Revision     `json:"revision" doc:"of the inventory, after it where it was applied"`
	Site     SiteView           `json:"site"`
	Flows    []peers.FlowChange `json:"flows"    doc:"what opens and what closes"`
	Hosts    []string           `json:"hosts"    doc:"hosts that are at an end of these"`
	CutOff   []string           `json:"cut_off"  doc:"hosts that are left without any peer"`
	Warnings []peers.Problem    `json:"warnings"`
	Pending  *Pending           `json:"pending"  doc:"where it is to be confirmed"`
}

// A SiteRemoval is what comes of removing a site (DELETE /v1/sites/{name}).
type SiteRemoval struct {
	Removed string `json:"removed" doc:"the site"`
	Applied bool   `json:"applied"`
	Consequences
}

// A SiteRemovalOrder says how a site is to be removed.
type SiteRemovalOrder struct {
	Name   string
	DryRun bool   // only tell what would come of it
	Within int    // seconds until it is taken back unless confirmed; 0 for never
	Why    string // for the audit log
}
