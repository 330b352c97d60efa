package controltest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/pin"
	"github.com/warren-mesh/warren/peers/wire"
)

// caller is the identity that the connection has proven.
func caller(r *http.Request) key.Identity {
	k, err := pin.PeerKey(*r.TLS)
	if err != nil {
		return key.Identity{}
	}
	return key.Identity(k)
}

func refuse(w http.ResponseWriter, f *wire.Fault) {
	w.Header().Set("Content-Type", wire.MediaProblem)
	w.WriteHeader(f.Status)
	_ = json.NewEncoder(w).Encode(f)
}

// respond sends an answer unless it is to be lost. The caller holds the lock.
func (c *Controller) respond(w http.ResponseWriter, path string, v any) {
	if c.lose[path] > 0 {
		c.lose[path]--
		panic(http.ErrAbortHandler)
	}
	_ = json.NewEncoder(w).Encode(v)
}

func (c *Controller) check(w http.ResponseWriter, r *http.Request) {
	var ask wire.EnrollCheck
	_ = json.NewDecoder(r.Body).Decode(&ask)
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.faults[wire.PathEnrollCheck]; f != nil {
		refuse(w, f)
		return
	}
	t, f := c.token(ask.TokenID, ask.Secret, ask.Name)
	if f != nil {
		refuse(w, f)
		return
	}
	m := c.inv.Mesh
	offer := wire.EnrollOffer{
		Protocol: wire.Protocol, Time: time.Now().Add(c.clock), MeshID: m.ID, Mesh: m.Name, Overlay: m.Overlay,
		Overlay6: m.Overlay6, Site: t.Site, Name: t.Name,
	}
	for _, g := range m.Generations {
		offer.Generations = append(offer.Generations, g.Number)
	}
	c.respond(w, wire.PathEnrollCheck, offer)
}

func (c *Controller) token(id string, secret []byte, name string) (*peers.Token, *wire.Fault) {
	t := c.inv.Tokens[id]
	if t == nil || !wire.MatchSecret(secret, t.Hash) {
		return nil, wire.NewFault(http.StatusForbidden, "token-unknown", "there is no such token", "ask an admin")
	}
	if ps, invalid := errors.AsType[peers.Problems](t.Valid(name, time.Now())); invalid {
		return nil, wire.FaultOf(http.StatusForbidden, ps)
	}
	return t, nil
}

func (c *Controller) enroll(w http.ResponseWriter, r *http.Request) {
	var ask wire.EnrollRequest
	_ = json.NewDecoder(r.Body).Decode(&ask)
	who := caller(r)
	id := peers.HostID(who.Fingerprint())
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.faults[wire.PathEnroll]; f != nil {
		refuse(w, f)
		return
	}
	if h := c.inv.Hosts[id]; h == nil || h.Token != ask.TokenID {
		err := c.apply(peers.EnrollHost{
			Token: ask.TokenID, Identity: who, Name: ask.Name, Port: ask.Port, Endpoints: ask.Endpoints, Keys: ask.Keys,
		})
		if ps, invalid := errors.AsType[peers.Problems](err); invalid {
			refuse(w, wire.FaultOf(http.StatusConflict, ps))
			return
		}
	}
	h := c.inv.Hosts[id]
	c.respond(w, wire.PathEnroll, wire.Enrolled{
		ID: h.ID, Name: h.Name, Site: h.Site, Address: h.Address, Address6: h.Address6, State: h.State,
	})
}

// leave forgets a host, by the rules of the real controller.
func (c *Controller) leave(w http.ResponseWriter, r *http.Request) {
	id := peers.HostID(caller(r).Fingerprint())
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.inv.Hosts[id]
	switch {
	case h == nil:
		refuse(w, wire.NewFault(http.StatusForbidden, "not-enrolled", "the controller does not know this host", "ask an admin"))
	case h.State == peers.HostRevoked || h.State == peers.HostSuspended:
		refuse(w, wire.NewFault(http.StatusForbidden, string(h.State), "host is "+string(h.State), "ask an admin"))
	default:
		if err := c.apply(peers.RemoveHost{ID: id}); err != nil {
			refuse(w, wire.NewFault(http.StatusConflict, "refused", err.Error(), "ask an admin"))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// stream serves an agent until either end is tired of it.
func (c *Controller) stream(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	fault := c.faults[wire.PathStream]
	c.mu.Unlock()
	if fault != nil {
		refuse(w, fault)
		return
	}
	in := json.NewDecoder(r.Body)
	var up wire.Up
	if err := in.Decode(&up); err != nil || up.Hello == nil {
		refuse(w, wire.NewFault(http.StatusBadRequest, "hello-missing", "no hello", ""))
		return
	}
	c.hear(up)
	go func() {
		for {
			var up wire.Up
			if in.Decode(&up) != nil {
				return
			}
			c.hear(up)
		}
	}()
	w.Header().Set("Content-Type", wire.MediaStream)
	w.WriteHeader(http.StatusOK)
	s := &sender{c: c, w: w, flush: http.NewResponseController(w), id: peers.HostID(caller(r).Fingerprint())}
	s.run(r, up.Hello)
}

func (c *Controller) hear(up wire.Up) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = append(c.heard, up)
	if up.Report != nil && up.Report.Heir != nil {
		c.succeed(up.Report.Heir)
	}
	if up.Report != nil && len(up.Report.Keys) > 0 {
		for id, h := range c.inv.Hosts {
			if peers.VerifyKey(c.inv.Mesh.ID, h.Identity, up.Report.Keys[0]) {
				if err := c.apply(peers.UpdateHost{ID: id, Keys: up.Report.Keys}); err != nil {
					c.tb.Errorf("reported keys: %v", err)
				}
			}
		}
	}
}

// succeed gives a host its new identity, unless heirs are not taken for now.
func (c *Controller) succeed(heir *wire.Heir) {
	for id, h := range c.inv.Hosts {
		hand := peers.Handover{From: h.Identity, Signature: heir.Signature}
		if h.Rekey == nil || c.deaf || !hand.Verify(c.inv.Mesh.ID, heir.Identity) {
			continue
		}
		err := c.apply(peers.SucceedHost{ID: id, Identity: heir.Identity, Signature: heir.Signature, Keys: heir.Keys})
		if err != nil {
			c.tb.Errorf("heir: %v", err)
		}
		return
	}
}

// A sender tells one agent what changes.
type sender struct {
	c     *Controller
	w     http.ResponseWriter
	flush *http.ResponseController
	id    peers.HostID
	known map[peers.HostID][]byte
	own   []byte
}

func (s *sender) run(r *http.Request, hello *wire.Hello) {
	var told *peers.Inventory
	for {
		s.c.mu.Lock()
		inv, next := s.c.inv, s.c.next
		s.c.mu.Unlock()
		if inv != told && !s.tell(inv, told == nil, hello) {
			return
		}
		told = inv
		select {
		case <-r.Context().Done():
			return
		case d := <-s.c.orders:
			if !s.send(d) || d.Kind == wire.DownGoodbye {
				return
			}
		case <-next:
		}
	}
}

// tell sends what the agent does not know yet.
func (s *sender) tell(inv *peers.Inventory, first bool, hello *wire.Hello) bool {
	plan, err := inv.Plan(s.id)
	if h := inv.Hosts[s.id]; h != nil && h.State == peers.HostPending {
		return !first || s.send(wire.Down{Kind: wire.DownPending})
	}
	if err != nil {
		f := wire.NewFault(http.StatusForbidden, "host-revoked", "this host was revoked", "ask an admin")
		if b := inv.Buried[s.id]; b != nil && b.Heir != "" {
			f.Code = wire.CodeRekeyed
		}
		s.send(wire.Down{Kind: wire.DownGoodbye, Fault: f})
		return false
	}
	d := wire.Down{Revision: inv.Revision, Head: inv.Head}
	whole := s.known == nil
	if whole {
		s.known = map[peers.HostID][]byte{}
	}
	s.addPeers(&d, plan)
	alone, _ := inv.PlanAlone(s.id)
	alone.Revision = 0
	own, _ := json.Marshal(alone)
	if !bytes.Equal(own, s.own) {
		s.own, d.Plan = own, &alone
	}
	switch {
	case whole && first && hello.Revision == inv.Revision && hello.Head == inv.Head:
		d = wire.Down{Kind: wire.DownCurrent, Revision: inv.Revision, Head: inv.Head}
	case whole:
		d.Kind = wire.DownSnapshot
	default:
		d.Kind = wire.DownDelta
	}
	return s.send(d)
}

func (s *sender) addPeers(d *wire.Down, plan peers.Plan) {
	for i := range plan.Peers {
		p := &plan.Peers[i]
		raw, _ := json.Marshal(p)
		if bytes.Equal(raw, s.known[p.ID]) {
			continue
		}
		s.known[p.ID] = raw
		d.Peers = append(d.Peers, *p)
		s.c.mu.Lock()
		for g, psk := range peers.DerivePSKs(s.c.secrets, s.c.inv.Hosts[s.id].Origin(), p) {
			d.PutPSK(g, p.ID, psk)
		}
		s.c.mu.Unlock()
	}
	for id := range s.known {
		if !slices.ContainsFunc(plan.Peers, func(p peers.Peer) bool { return p.ID == id }) {
			delete(s.known, id)
			d.Remove = append(d.Remove, id)
		}
	}
}

func (s *sender) send(d wire.Down) bool {
	line, err := d.AppendLine(nil, nil)
	if err != nil {
		return false
	}
	_, err = s.w.Write(line)
	return err == nil && s.flush.Flush() == nil
}
