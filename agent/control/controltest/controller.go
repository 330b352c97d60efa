// Package controltest has a small controller for tests of the agent: real TLS, real messages and the real
// rules of peers, over connections in memory, so that it also works where time is simulated.
package controltest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/pin"
	"github.com/warren-mesh/warren/peers/wire"
)

// A Controller is one mesh and the agents that follow it.
type Controller struct {
	tb       testing.TB
	server   *http.Server
	listener *listener

	mu      sync.Mutex
	inv     *peers.Inventory
	cert    *tls.Certificate
	secrets map[peers.Generation]key.Secret
	next    chan struct{} // closed with the next change
	faults  map[string]*wire.Fault
	lose    map[string]int
	heard   []wire.Up
	orders  chan wire.Down
	clock   time.Duration
	deaf    bool                             // to heirs
	alone   map[peers.HostID]key.IdentityKey // of hosts that have no agent

	identity key.IdentityKey
}

// Start makes a mesh named "orders" and serves it until the test ends.
func Start(tb testing.TB) *Controller {
	tb.Helper()
	id, err := key.NewIdentityKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	c := &Controller{
		tb: tb, identity: id, listener: newListener(), inv: &peers.Inventory{}, next: make(chan struct{}),
		secrets: map[peers.Generation]key.Secret{}, faults: map[string]*wire.Fault{}, lose: map[string]int{},
		orders: make(chan wire.Down, 16), alone: map[peers.HostID]key.IdentityKey{},
	}
	c.Apply(peers.CreateMesh{
		ID: "meshid", Name: "orders", Overlay: netip.MustParsePrefix("10.90.0.0/16"),
		Overlay6: netip.MustParsePrefix("fd42:1:2::/64"),
	})
	c.Succeed(id)
	config := pin.Server(*c.cert)
	config.Certificates = nil
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.cert, nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.PathEnrollCheck, c.check)
	mux.HandleFunc("POST "+wire.PathEnroll, c.enroll)
	mux.HandleFunc("POST "+wire.PathLeave, c.leave)
	mux.HandleFunc("POST "+wire.PathStream, c.stream)
	c.server = &http.Server{
		Handler: mux, TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := c.server.ServeTLS(c.listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			tb.Errorf("serve: %v", err)
		}
	}()
	tb.Cleanup(func() {
		_ = c.server.Close()
		<-served
	})
	return c
}

// Pin is the controller's identity.
func (c *Controller) Pin() key.Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.identity.Identity()
}

// Identity is who the controller is.
func (c *Controller) Identity() key.IdentityKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.identity
}

// Rekey lets hosts learn the next identity of the controller.
func (c *Controller) Rekey(next key.IdentityKey) {
	c.tb.Helper()
	c.Apply(peers.RekeyMesh{
		From: c.Pin(), To: next.Identity(), Until: time.Now().Add(time.Hour),
		Signature: peers.SignHandover("meshid", c.identity, next.Identity()).Signature,
	})
}

// Succeed makes an identity the controller's, whether or not it was the next one.
func (c *Controller) Succeed(next key.IdentityKey) {
	c.tb.Helper()
	if h := c.Inventory().Mesh.Heir; h != nil && h.To == next.Identity() {
		c.Apply(peers.SucceedMesh{To: next.Identity()})
	}
	cert, err := pin.Certificate(rand.Reader, next.Signer())
	if err != nil {
		c.tb.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.identity, c.cert = next, &cert
}

// Dial connects to the controller, whatever the address, unless it is down.
func (c *Controller) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return c.listener.dial(ctx)
}

// Down ends all connections and refuses new ones, or takes that back.
func (c *Controller) Down(down bool) { c.listener.setDown(down) }

// Blackhole lets every byte vanish, in both directions, without anybody being told.
func (c *Controller) Blackhole(on bool) { c.listener.setBlackhole(on) }

// Dials counts the connections that were tried.
func (c *Controller) Dials() int { return c.listener.count() }

// Refuse answers calls of a path with a fault; nil takes that back.
func (c *Controller) Refuse(path string, f *wire.Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[path] = f
}

// LoseReplies does what the next n calls of a path ask for and sends no answer.
func (c *Controller) LoseReplies(path string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lose[path] = n
}

// Deaf lets the controller take no notice of heirs, or takes that back.
func (c *Controller) Deaf(deaf bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaf = deaf
}

// Ahead sets the controller's clock so much before that of the host.
func (c *Controller) Ahead(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock = d
}

// Say puts a message as it is on the stream of an agent.
func (c *Controller) Say(d wire.Down) { c.orders <- d }

// Heard is what agents have said so far.
func (c *Controller) Heard() []wire.Up {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]wire.Up(nil), c.heard...)
}

// Inventory is the state of the mesh.
func (c *Controller) Inventory() *peers.Inventory {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inv
}

// Apply makes a change that must be valid.
func (c *Controller) Apply(op peers.Op) {
	c.tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.apply(op); err != nil {
		c.tb.Fatalf("%s: %v", op.Kind(), err)
	}
}

// apply makes a change. The caller holds the lock.
func (c *Controller) apply(op peers.Op) error {
	inv, err := c.inv.Apply(peers.Change{At: time.Now(), By: "test", Op: op})
	if err != nil {
		return err
	}
	c.inv = inv
	for _, g := range inv.Mesh.Generations {
		if _, ok := c.secrets[g.Number]; !ok {
			if c.secrets[g.Number], err = key.NewSecret(rand.Reader); err != nil {
				return err
			}
		}
	}
	close(c.next)
	c.next = make(chan struct{})
	return nil
}

// AddHostAt is AddHost for a site that there is.
func (c *Controller) AddHostAt(site, name, endpoint string) peers.HostID {
	c.tb.Helper()
	return c.addHost(name, endpoint, func(t *peers.CreateToken) { t.Site = site })
}

// Token makes an enrolment token for the site "shop".
func (c *Controller) Token(edit ...func(*peers.CreateToken)) *wire.Token {
	c.tb.Helper()
	t := &wire.Token{Controllers: []string{"controller.test:7443"}, Pin: c.Pin(), ID: rand.Text()}
	copy(t.Secret[:], rand.Text()+rand.Text())
	op := peers.CreateToken{ID: t.ID, Hash: t.Hash(), Site: "shop", Expires: time.Now().Add(time.Hour), Uses: 1}
	for _, f := range edit {
		f(&op)
	}
	if _, ok := c.Inventory().Sites[op.Site]; !ok {
		c.Apply(peers.SetSite{Name: op.Site})
	}
	c.Apply(op)
	return t
}

// AddHost enrols a host that has no agent, with keys of all generations.
func (c *Controller) AddHost(name string, endpoint string, edit ...func(*peers.CreateToken)) peers.HostID {
	c.tb.Helper()
	return c.addHost(name, endpoint, edit...)
}

func (c *Controller) addHost(name, endpoint string, edit ...func(*peers.CreateToken)) peers.HostID {
	c.tb.Helper()
	id, err := key.NewIdentityKey(rand.Reader)
	if err != nil {
		c.tb.Fatal(err)
	}
	op := peers.EnrollHost{Token: c.Token(edit...).ID, Identity: id.Identity(), Name: name, Port: 51820}
	op.Endpoints = []peers.Endpoint{{
		Kind: peers.EndpointPinned, Address: netip.MustParseAddrPort(endpoint),
	}}
	for _, g := range c.Inventory().Mesh.Generations {
		private, err := key.NewPrivate(rand.Reader)
		if err != nil {
			c.tb.Fatal(err)
		}
		op.Keys = append(op.Keys, peers.SignKey("meshid", id, g.Number, private.Public()))
	}
	c.Apply(op)
	host := peers.HostID(id.Identity().Fingerprint())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alone[host] = id
	return host
}

// Announce has a host that has no agent announce a key of a generation.
func (c *Controller) Announce(host peers.HostID, g peers.Generation) {
	c.tb.Helper()
	c.mu.Lock()
	id := c.alone[host]
	c.mu.Unlock()
	private, err := key.NewPrivate(rand.Reader)
	if err != nil {
		c.tb.Fatal(err)
	}
	c.Apply(peers.UpdateHost{ID: host, Keys: []peers.HostKey{peers.SignKey("meshid", id, g, private.Public())}})
}

// Refused is the error of dialing a controller that is down.
func Refused() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}
