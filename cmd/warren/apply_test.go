package main

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// declaredMesh is what holds in the scripts.
func declaredMesh() peers.Declared {
	mtu, keepalive, grace := 1420, 25, 604800
	return peers.Declared{
		Settings: &peers.SetMesh{MTU: &mtu, Keepalive: &keepalive, Grace: &grace}, Schedule: &peers.Rotations{},
		Sites: []peers.SetSite{{Name: "shop"}, {Name: "warehouse", Gateways: []string{"warehouse"}}},
		Hosts: []peers.DeclaredHost{{Name: "shop", Labels: map[string]string{"role": "shop", "floor": "1"}}, {Name: "warehouse"}},
	}
}

func pendingFor(within int) *wire.Pending {
	if within == 0 {
		return nil
	}
	now := time.Now().UTC()
	return &wire.Pending{
		Revision: 43, By: "unix:anna", Since: now, Until: now.Add(time.Duration(within) * time.Second), Left: float64(within) - 0.5,
		Objects: []string{"mesh", "site/shop"},
	}
}

// declaredRoutes takes whatever is declared, and says that it comes to a wider shop and a policy.
func declaredRoutes(mux *http.ServeMux, empty bool) {
	mux.HandleFunc("GET "+wire.PathDeclared, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, wire.DeclaredView{Revision: 42, Declared: declaredMesh()})
	})
	mux.HandleFunc("PUT "+wire.PathDeclared, func(w http.ResponseWriter, r *http.Request) {
		var order wire.DeclaredOrder
		if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
			refuse(w, wire.NewFault(http.StatusBadRequest, "bad-request", err.Error(), ""))
			return
		}
		if len(order.Declared.Sites) > 0 && order.Declared.Sites[0].Name == "attic" {
			refuse(w, wire.FaultOf(http.StatusUnprocessableEntity, peers.Problems{
				{Code: "site-used", At: "site/shop", Message: `host "shop" belongs to it`},
				{Code: "prefix-invalid", At: "site/attic/prefixes/0", Message: "10.0.0.1/24 is no network"},
			}))
			return
		}
		result := wire.DeclaredResult{Applied: !order.DryRun, Digest: "d1"}
		result.Revision = 42
		if !empty {
			result.Consequences = consequences()
			result.Pending = pendingFor(order.Within)
			result.Changes = []peers.DeclaredChange{
				{Object: "settings", What: "changed", Fields: []peers.FieldChange{{Name: "mtu", Before: "1420", After: "1380"}}},
				{Object: "site/attic", What: "removed", Fields: []peers.FieldChange{}},
				{Object: "policy", What: "made", Fields: []peers.FieldChange{{Name: "flow * → * icmp", After: "there"}}},
			}
		}
		answer(w, result)
	})
	mux.HandleFunc("GET "+wire.PathGraph, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, wire.Graph{Mesh: "orders", Between: "hosts", Sites: []wire.GraphSite{
			{Name: "shop", Hosts: []wire.GraphHost{{Name: "shop", State: peers.HostActive}}},
			{Name: "warehouse", Hosts: []wire.GraphHost{{Name: "warehouse", State: peers.HostActive}}},
		}, Links: []wire.GraphLink{{A: "shop", B: "warehouse", State: wire.LinkPartial, Pairs: 1}}})
	})
	mux.HandleFunc("POST "+wire.PathPending+"/{action}", func(w http.ResponseWriter, _ *http.Request) {
		if empty {
			refuse(w, wire.NewFault(http.StatusConflict, "pending-none", "no change waits to be confirmed", "warren audit log"))
			return
		}
		answer(w, wire.MeshView{Revision: 44})
	})
}
