package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// startController [tls] [empty|stranger|rotating|broken] runs a controller in the script, on controller.sock or on $REMOTE.
func startController(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: controller [tls] [empty|stranger|rotating|broken|waiting]")
	}
	var l net.Listener
	if slices.Contains(args, "tls") {
		l = listenTLS(ts)
	} else {
		l = listenUnix(ts, "controller.sock")
	}
	mux := http.NewServeMux()
	hostRoutes(mux, slices.Contains(args, "empty"))
	tokenRoutes(mux, slices.Contains(args, "empty"))
	adminRoutes(mux, slices.Contains(args, "empty"))
	scheduleRoutes(mux)
	policyRoutes(mux, slices.Contains(args, "empty"))
	siteRoutes(mux, slices.Contains(args, "empty"))
	declaredRoutes(mux, slices.Contains(args, "empty"))
	auditRoutes(ts, mux, slices.Contains(args, "broken"))
	mux.HandleFunc("GET "+wire.PathMesh, func(w http.ResponseWriter, _ *http.Request) {
		v := meshView(1420)
		v.Pending = pendingOf(args)
		answer(w, v)
	})
	mux.HandleFunc("GET "+wire.PathPending, func(w http.ResponseWriter, _ *http.Request) { answer(w, pendingOf(args)) })
	mux.HandleFunc("PATCH "+wire.PathMesh, func(w http.ResponseWriter, r *http.Request) { setMesh(w, r) })
	rotationRoutes(mux, slices.Contains(args, "rotating"))
	if slices.Contains(args, "stranger") {
		mux = http.NewServeMux()
		mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, wire.NewFault(http.StatusForbidden, "stranger", "nobody here knows your identity key",
				"on the controller: warren admin add NAME KEY"))
		})
	}
	serve(ts, l, mux)
}

func hostRoutes(mux *http.ServeMux, empty bool) {
	all := hostViews()
	if empty {
		all = nil
	}
	find := func(w http.ResponseWriter, r *http.Request) (wire.HostView, bool) {
		i := slices.IndexFunc(all, func(h wire.HostView) bool { return h.Name == r.PathValue("name") })
		if i < 0 {
			refuse(w, wire.NewFault(http.StatusNotFound, "host-unknown", "there is no such host", "warren host ls"))
			return wire.HostView{}, false
		}
		return all[i], true
	}
	mux.HandleFunc("GET "+wire.PathHosts, func(w http.ResponseWriter, _ *http.Request) { answer(w, all) })
	mux.HandleFunc("GET "+wire.PathHosts+"/{name}", func(w http.ResponseWriter, r *http.Request) {
		if h, ok := find(w, r); ok {
			h.Peers = []wire.PeerReport{{ID: all[1].ID, Generation: 3, State: wire.PeerUp}}
			answer(w, h)
		}
	})
	mux.HandleFunc("POST "+wire.PathHosts+"/{name}/{action}", func(w http.ResponseWriter, r *http.Request) {
		if h, ok := find(w, r); ok {
			answer(w, h)
		}
	})
	mux.HandleFunc("DELETE "+wire.PathHosts+"/{name}", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := find(w, r); ok {
			w.WriteHeader(http.StatusNoContent)
		}
	})
}

func hostViews() []wire.HostView {
	now := time.Now().UTC()
	seen := now.Add(-150 * time.Minute)
	here, rotated := now, now.Add(-12*24*time.Hour)
	return []wire.HostView{
		{
			Name: "shop", ID: "bbbbbbbbbbbbbbbb", Site: "shop", Address: netip.MustParseAddr("10.90.0.1"),
			Address6: netip.MustParseAddr("fd5e::1"), State: peers.HostActive, Online: true, LastSeen: &here, Revision: 42,
			Generation: 3, Backend: "kernel", Version: "0.1.0 (commit 8a6f1c2)", Enrolled: now.Add(-60 * time.Hour),
			Endpoints: []peers.Endpoint{{Kind: peers.EndpointPinned, Address: netip.MustParseAddrPort("198.51.100.1:51820")}},
			Identity:  key.Identity{1}, KeySince: &rotated, Keys: []peers.HostKey{{Generation: 3, Public: key.Public{1}}},
		},
		{
			Name: "warehouse", ID: "aaaaaaaaaaaaaaaa", Site: "warehouse", Address: netip.MustParseAddr("10.90.0.2"),
			State: peers.HostSuspended, LastSeen: &seen, Revision: 41, Generation: 3, Backend: "userspace", Version: "0.1.0",
			Problems: []peers.Problem{{Code: "route-conflict", Message: "10.20.0.0/24 is not routed", Hint: "renumber"}},
		},
		{
			Name: "till", ID: "cccccccccccccccc", Site: "shop", Address: netip.MustParseAddr("10.90.0.4"),
			State: peers.HostPending,
		},
	}
}

func tokenRoutes(mux *http.ServeMux, empty bool) {
	now := time.Now().UTC()
	all := []wire.TokenView{
		{
			ID: "k4q2m7", Site: "shop", Created: now.Add(-150 * time.Second), Expires: now.Add(150 * time.Minute),
			Uses: 20, Used: 3, Approve: true, State: "valid",
		},
		{
			ID: "z9x1c3", Site: "warehouse", Name: "warehouse", Created: now.Add(-60 * time.Hour),
			Expires: now.Add(-150 * time.Minute), Uses: 1, Used: 1, State: "used-up",
		},
	}
	if empty {
		all = nil
	}
	mux.HandleFunc("GET "+wire.PathTokens, func(w http.ResponseWriter, _ *http.Request) { answer(w, all) })
	mux.HandleFunc("POST "+wire.PathTokens, func(w http.ResponseWriter, r *http.Request) { createToken(w, r) })
	mux.HandleFunc("DELETE "+wire.PathTokens+"/{id}", gone)
}

func gone(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

func createToken(w http.ResponseWriter, r *http.Request) {
	order := wire.TokenOrder{}
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
		refuse(w, wire.NewFault(http.StatusBadRequest, "bad-request", err.Error(), ""))
		return
	}
	if order.Site == "No Site" {
		refuse(w, wire.FaultOf(http.StatusUnprocessableEntity, peers.Problems{
			{Code: "name-invalid", Message: `"No Site" is no valid name`, Hint: "use up to 63 of a-z, 0-9 and -"},
			{Code: "token-uses", At: "token/x/uses", Message: "5000 uses: want 1 to 1000"},
		}))
		return
	}
	now := time.Now().UTC()
	w.WriteHeader(http.StatusCreated)
	answer(w, wire.TokenView{
		ID: "k4q2m7", Token: "warren1.AbCd", Site: order.Site, Name: order.Name, Created: now, Uses: order.Uses,
		Expires: now.Add(time.Duration(order.TTL)*time.Second + 30*time.Second), Approve: order.Approve, State: "valid",
	})
}

func adminRoutes(mux *http.ServeMux, empty bool) {
	all := []wire.AdminView{{Name: "anna", Identity: key.Identity{2}, Added: time.Now().Add(-60 * time.Hour).UTC()}}
	if empty {
		all = nil
	}
	mux.HandleFunc("GET "+wire.PathAdmins, func(w http.ResponseWriter, _ *http.Request) { answer(w, all) })
	mux.HandleFunc("POST "+wire.PathAdmins, func(w http.ResponseWriter, r *http.Request) {
		added := wire.AdminView{}
		if err := json.NewDecoder(r.Body).Decode(&added); err != nil {
			refuse(w, wire.NewFault(http.StatusBadRequest, "bad-request", err.Error(), ""))
			return
		}
		added.Added = time.Now().UTC()
		answer(w, added)
	})
	mux.HandleFunc("DELETE "+wire.PathAdmins+"/{name}", gone)
}

// rotationRoutes answers as a controller does while no rotation runs, or one does that waits for a host.
func rotationRoutes(mux *http.ServeMux, rotating bool) {
	now := time.Now().UTC()
	v := wire.RotationView{Generation: 3, Phase: peers.PhaseIdle, Started: now.Add(-60 * time.Hour)}
	begun := wire.RotationView{Generation: 4, Phase: peers.PhaseAnnounce, Started: now.Add(-30 * time.Second)}
	previous, ends := peers.Generation(3), now.Add(7*24*time.Hour+time.Minute)
	begun.Previous, begun.GraceEnds = &previous, &ends
	begun.Pairs = wire.RotationPairs{Total: 3, Proven: 1, Switched: 1}
	begun.Waiting = []wire.RotationWait{{
		Host: "accounting", Code: peers.WaitOffline, Reason: "it is not connected to the controller",
		Since: now.Add(-3*time.Hour - time.Second),
	}}
	if rotating {
		v = begun
	}
	mux.HandleFunc("GET "+wire.PathRotation, func(w http.ResponseWriter, _ *http.Request) { answer(w, v) })
	mux.HandleFunc("POST "+wire.PathRotation, func(w http.ResponseWriter, _ *http.Request) {
		if rotating {
			refuse(w, wire.NewFault(http.StatusUnprocessableEntity, "rotation-running", "a rotation to generation 4 is running",
				"warren rotate status"))
			return
		}
		answer(w, begun)
	})
}

func meshView(mtu int) wire.MeshView {
	now := time.Now().UTC()
	return wire.MeshView{
		ID: "m", Name: "orders", Overlay: netip.MustParsePrefix("10.90.0.0/16"), Overlay6: netip.MustParsePrefix("fd5e::/64"),
		MTU: mtu, Keepalive: 25, Created: time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC), Revision: 42,
		Generations: []peers.GenerationMark{{Number: 3, Started: now.Add(-60 * time.Hour)}}, Pin: key.Identity{3},
		Controllers: []string{"203.0.113.5:7443"}, Version: "0.1.0", Hosts: 3, Online: 1,
	}
}

// pendingOf is the change that waits to be confirmed, in the scripts that want one.
func pendingOf(args []string) *wire.Pending {
	if slices.Contains(args, "waiting") {
		return pendingFor(3601)
	}
	return nil
}

func setMesh(w http.ResponseWriter, r *http.Request) {
	var s wire.MeshSettings
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil || s.MTU == nil && s.Grace == nil {
		refuse(w, wire.NewFault(http.StatusUnprocessableEntity, "mtu-invalid", "want an MTU", ""))
		return
	}
	v := meshView(1420)
	if s.MTU != nil {
		v.MTU = *s.MTU
	}
	if s.Grace != nil {
		v.Grace = *s.Grace
	}
	v.Pending = pendingFor(s.Within)
	answer(w, v)
}
