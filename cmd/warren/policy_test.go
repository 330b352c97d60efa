package main

import (
	"encoding/json"
	"net/http"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// consequences are those of letting the shop write orders and nothing else.
func consequences() wire.Consequences {
	tcp := []peers.Service{{Protocol: peers.TCP, Ports: peers.Ports{First: 5432, Last: 5432}}}
	return wire.Consequences{
		Revision: 43, Hosts: []string{"shop", "warehouse"}, CutOff: []string{"accounting"},
		Flows: []peers.FlowChange{
			{From: []string{"shop"}, To: []string{"warehouse"}, Closes: []peers.Service{{Protocol: peers.AnyProtocol}}, Keeps: tcp},
			{From: []string{"till"}, To: []string{"shop"}, Opens: tcp},
		},
		Warnings: []peers.Problem{{Code: "policy-shadowed", At: "policy/flows/0", Message: "flow 1 says nothing new"}},
	}
}

// policyRoutes takes any policy and answers what comes of one that lets the shop write orders.
func policyRoutes(mux *http.ServeMux, empty bool) {
	tcp := []peers.Service{{Protocol: peers.TCP, Ports: peers.Ports{First: 5432, Last: 5432}}}
	shop := peers.Selector{Kind: peers.SelectSite, Name: "shop"}
	view := wire.PolicyView{Mode: wire.PolicyEnforced, Unenforced: []string{"till"}, Policy: &peers.Policy{
		Flows: []peers.Flow{{From: []peers.Selector{shop}, To: []peers.Selector{{Kind: peers.SelectAll}}, Allow: tcp}},
		Tests: []peers.FlowTest{{From: shop, To: shop, Proto: tcp[0], Expect: peers.ExpectAllow}},
	}}
	if empty {
		view = wire.PolicyView{Mode: wire.PolicyAllowAll}
	}
	mux.HandleFunc("GET "+wire.PathPolicy, func(w http.ResponseWriter, _ *http.Request) { answer(w, view) })
	mux.HandleFunc("PUT "+wire.PathPolicy, func(w http.ResponseWriter, r *http.Request) {
		var order wire.PolicyOrder
		if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
			refuse(w, wire.NewFault(http.StatusBadRequest, "bad-request", err.Error(), ""))
			return
		}
		if order.Policy.Flows[0].From[0].Name == "attic" {
			refuse(w, wire.FaultOf(http.StatusUnprocessableEntity, peers.Problems{
				{Code: "site-unknown", At: "policy/flows/0/from/0", Message: `there is no site "attic"`, Hint: "warren site ls"},
				{Code: "test-failed", At: "policy/tests/0", Message: "it is not so"},
			}))
			return
		}
		result := wire.PolicyResult{Applied: !order.DryRun, Consequences: consequences()}
		result.Pending = pendingFor(order.Within)
		answer(w, result)
	})
	mux.HandleFunc("PATCH "+wire.PathHosts+"/{name}", func(w http.ResponseWriter, r *http.Request) {
		var change wire.HostChange
		if err := json.NewDecoder(r.Body).Decode(&change); err != nil {
			refuse(w, wire.NewFault(http.StatusBadRequest, "bad-request", err.Error(), ""))
			return
		}
		result := wire.HostResult{
			Applied: !change.DryRun, Host: wire.HostView{Name: r.PathValue("name"), Labels: change.Labels}, Consequences: consequences(),
		}
		result.Pending = pendingFor(change.Within)
		answer(w, result)
	})
}
