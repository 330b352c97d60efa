package main

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

func siteViews() []wire.SiteView {
	return []wire.SiteView{
		{
			Name: "shop", Gateways: []string{"shop"}, Hosts: []string{"shop", "till"},
			Prefixes: []wire.SiteNetwork{{
				Prefix: netip.MustParsePrefix("192.168.1.0/24"), As: netip.MustParsePrefix("10.61.1.0/24"), SNAT: true,
			}},
			LANCheck: []netip.Addr{netip.MustParseAddr("192.168.1.8"), netip.MustParseAddr("192.168.1.9")},
		},
		{Name: "warehouse", Hosts: []string{"warehouse"}},
	}
}

// siteRoutes answers as a controller does that takes each order.
func siteRoutes(mux *http.ServeMux, empty bool) {
	all := siteViews()
	if empty {
		all = nil
	}
	mux.HandleFunc("GET "+wire.PathSites, func(w http.ResponseWriter, _ *http.Request) { answer(w, all) })
	take := func(w http.ResponseWriter, r *http.Request) {
		var order wire.SiteOrder
		if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
			refuse(w, wire.NewFault(http.StatusBadRequest, "bad-request", err.Error(), ""))
			return
		}
		if name := r.PathValue("name"); name != "" {
			order.Name = name
		}
		if len(order.Prefixes) > 0 && order.Prefixes[0].Prefix.Bits() == 0 {
			refuse(w, wire.FaultOf(http.StatusUnprocessableEntity, peers.Problems{{
				Code: "prefix-default", At: "site/" + order.Name + "/prefixes/0", Message: "a site cannot have the default route",
			}}))
			return
		}
		answer(w, wire.SiteResult{
			Applied: !order.DryRun, Revision: 43,
			Site: wire.SiteView{
				Name: order.Name, Prefixes: order.Prefixes, Gateways: order.Gateways, Hosts: []string{"warehouse"},
				LANCheck: order.LANCheck, Virtual: order.Virtual, Virtual6: order.Virtual6,
			},
			Flows: []peers.FlowChange{{From: []string{"shop"}, To: []string{"10.20.0.0/24"}, Opens: []peers.Service{{Protocol: peers.AnyProtocol}}}},
			Hosts: []string{"shop"}, Pending: pendingFor(order.Within),
		})
	}
	mux.HandleFunc("POST "+wire.PathSites, take)
	mux.HandleFunc("PATCH "+wire.PathSites+"/{name}", take)
	mux.HandleFunc("DELETE "+wire.PathSites+"/{name}", func(w http.ResponseWriter, r *http.Request) {
		within, _ := strconv.Atoi(r.FormValue("within"))
		v := wire.SiteRemoval{Removed: r.PathValue("name"), Applied: r.FormValue("dry_run") == ""}
		v.Pending = pendingFor(within)
		answer(w, v)
	})
}
