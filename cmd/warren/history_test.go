package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// auditRoutes serve the history of a mesh of three in pages of four entries. One that waits for more than
// there is gets it once: the last entry comes later than all others.
func auditRoutes(ts *testscript.TestScript, mux *http.ServeMux, broken bool) {
	all := history(ts)
	mux.HandleFunc("GET "+wire.PathAudit, func(w http.ResponseWriter, r *http.Request) {
		after, err := strconv.Atoi(r.URL.Query().Get("after"))
		if err != nil || after > len(all) {
			refuse(w, wire.NewFault(http.StatusBadRequest, "bad-request", "no such revision", ""))
			return
		}
		end := len(all)
		if r.URL.Query().Get("wait") == "" || after < end-1 {
			end--
		}
		if after == len(all) { // nothing more will come
			<-r.Context().Done()
			return
		}
		since, _ := time.Parse(time.RFC3339Nano, r.URL.Query().Get("since"))
		page := wire.AuditPage{Entries: []wire.AuditEntry{}, Next: peers.Revision(min(after+4, end)), Head: peers.Revision(end)}
		for _, e := range all[after:page.Next] {
			if !e.At.Before(since) {
				page.Entries = append(page.Entries, wire.AuditEntry{Entry: e, What: e.Tell()})
			}
		}
		answer(w, page)
	})
	mux.HandleFunc("GET "+wire.PathAuditVerify, func(w http.ResponseWriter, _ *http.Request) {
		end := wire.AuditProgress{Revision: 14, Head: 14, Hash: all[13].Hash, Done: true}
		if broken {
			end = wire.AuditProgress{Revision: 7, Head: 14, Fault: wire.FaultOf(500, peers.Problems{{
				Code: "ledger-broken", At: "revision/8", Message: "its hash is another", Hint: "restore a backup",
			}})}
		}
		stream(w, wire.AuditProgress{Revision: 5, Head: 14}, end)
	})
}

// history is a mesh of three whose keys are rotated.
func history(ts *testscript.TestScript) (all []peers.Entry) {
	at, inv := time.Date(2026, 11, 22, 1, 58, 0, 0, time.UTC), &peers.Inventory{}
	add := func(by, why string, op peers.Op) {
		at = at.Add(1500 * time.Millisecond)
		next, e, err := inv.Record(peers.Change{At: at, By: by, Why: why, Op: op})
		ts.Check(err)
		inv, all = next, append(all, e)
	}
	add("controller", "first start", peers.CreateMesh{
		ID: "m", Name: "orders", Overlay: netip.MustParsePrefix("10.90.0.0/16"), Overlay6: netip.MustParsePrefix("fd5e::/64"),
	})
	add("unix:anna", "", peers.CreateToken{
		ID: "k4q2m7", Hash: peers.Hash{1}, Site: "shop", Uses: 3, Expires: at.Add(time.Hour).Truncate(time.Second),
	})
	names := []string{"warehouse", "shop", "accounting"}
	identity := func(name string) key.IdentityKey {
		k, err := key.NewIdentityKey(bytes.NewReader(bytes.Repeat([]byte(name), 40)))
		ts.Check(err)
		return k
	}
	signed := func(name string, g peers.Generation) []peers.HostKey {
		wg, err := key.NewPrivate(bytes.NewReader(bytes.Repeat(fmt.Append([]byte(name), g), 40)))
		ts.Check(err)
		return []peers.HostKey{peers.SignKey("m", identity(name), g, wg.Public())}
	}
	id := func(name string) peers.HostID { return peers.HostID(identity(name).Identity().Fingerprint()) }
	for _, name := range names {
		add("host:"+name, "", peers.EnrollHost{
			Token: "k4q2m7", Identity: identity(name).Identity(), Name: name, Port: 51820, Keys: signed(name, 1),
		})
	}
	at = time.Date(2026, 11, 22, 2, 4, 0, 0, time.UTC)
	add("admin:bert", "the till was stolen", peers.StartGeneration{Number: 2})
	for _, name := range names {
		add("host:"+name, "", peers.UpdateHost{ID: id(name), Keys: signed(name, 2)})
	}
	port := uint16(51900)
	add("host:shop", "", peers.UpdateHost{ID: id("shop"), Port: &port})
	add("controller", "", peers.RetireGeneration{Number: 1})
	add("admin:bert", "", peers.SetHostState{ID: id("shop"), State: peers.HostSuspended})
	add("admin:bert", "found \x1b[31mit", peers.SetHostState{ID: id("shop"), State: peers.HostActive})
	add("admin:bert", "", peers.RevokeToken{ID: "k4q2m7"})
	return all
}

// scheduleRoutes keep a schedule, of which a slot has been missed when it is looked at again.
func scheduleRoutes(mux *http.ServeMux) {
	next := time.Now().Add(60 * time.Hour).UTC()
	none := wire.ScheduleView{Generation: 3, KeyAge: 60 * 3600}
	now := none
	mux.HandleFunc("PUT "+wire.PathSchedule, func(w http.ResponseWriter, r *http.Request) {
		var order wire.ScheduleOrder
		if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
			refuse(w, wire.NewFault(http.StatusBadRequest, "bad-request", err.Error(), ""))
			return
		}
		now = wire.ScheduleView{Generation: 3, KeyAge: 60 * 3600, Schedule: &order, Next: &next}
		answer(w, now)
		now.KeyAge, now.Missed = 60*86400, true
		now.Problems = []peers.Problem{{Code: "key-age", Message: "the keys are 60d old", Hint: "to begin it now: warren rotate"}}
	})
	mux.HandleFunc("GET "+wire.PathSchedule, func(w http.ResponseWriter, _ *http.Request) { answer(w, now) })
	mux.HandleFunc("DELETE "+wire.PathSchedule, func(w http.ResponseWriter, _ *http.Request) {
		now = none
		answer(w, now)
	})
}
