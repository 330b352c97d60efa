package control

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/pin"
	"github.com/warren-mesh/warren/peers/wire"
)

// Times of one connection. A path that is dead without saying so is noticed after pingAfter + pingPatience.
const (
	dialPatience   = 5 * time.Second
	answerPatience = 10 * time.Second
	pingAfter      = 20 * time.Second
	pingPatience   = 10 * time.Second
	maxFault       = 64 << 10
	maxAnswer      = 1 << 20
)

// A Dialer opens connections; net.Dialer.DialContext is one.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// A Client calls one controller, wherever it answers.
type Client struct {
	controllers []string // HOST:PORT
	cert        tls.Certificate
	dial        Dialer

	mu     sync.Mutex
	pins   []ed25519.PublicKey
	remote netip.Addr
}

// NewClient makes a client that shows the identity and accepts only the controller with the pin.
func NewClient(identity key.IdentityKey, controller key.Identity, addresses []string, dial Dialer) (*Client, error) {
	cert, err := pin.Certificate(rand.Reader, identity.Signer())
	if err != nil {
		return nil, err
	}
	if len(addresses) == 0 {
		return nil, errors.New("no address of a controller is known")
	}
	c := &Client{controllers: addresses, cert: cert, dial: dial}
	c.Trust(controller)
	return c, nil
}

// Trust makes the client accept the controller with any of the pins from the next connection on; zero ones
// are none.
func (c *Client) Trust(controllers ...key.Identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pins = nil
	for _, id := range controllers {
		if !id.IsZero() {
			c.pins = append(c.pins, ed25519.PublicKey(id[:]))
		}
	}
}

// config is the TLS configuration of the next connection.
func (c *Client) config() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return pin.Client(c.cert, c.pins...)
}

// An Answer says where an answer came from, and how far the host's clock was ahead of the controller's.
type Answer struct {
	Address string
	Ahead   time.Duration // as exact as the Date of HTTP: a second
}

// Check asks what a token would lead to.
func (c *Client) Check(ctx context.Context, ask wire.EnrollCheck) (wire.EnrollOffer, Answer, error) {
	return call[wire.EnrollOffer](ctx, c, wire.PathEnrollCheck, ask)
}

// Enroll enrols. It may be repeated when the reply was lost.
func (c *Client) Enroll(ctx context.Context, ask wire.EnrollRequest) (wire.Enrolled, Answer, error) {
	return call[wire.Enrolled](ctx, c, wire.PathEnroll, ask)
}

// Leave asks the controller to take this host out of the mesh. It may be repeated: then the controller does not
// know the host any more.
func (c *Client) Leave(ctx context.Context) (Answer, error) {
	_, a, err := call[struct{}](ctx, c, wire.PathLeave, struct{}{})
	return a, err
}

// call tries the addresses in turn until a controller answers, whatever its answer is. The error is a
// *wire.Fault, of the controller's making or with one of the codes of this package.
func call[V any](ctx context.Context, c *Client, path string, ask any) (v V, a Answer, err error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return v, a, fmt.Errorf("encode request: %v", err)
	}
	var failures []error
	for _, address := range c.controllers {
		v, a, err = callAt[V](ctx, c, address, path, body)
		if err == nil || isVerdict(err) {
			return v, a, err
		}
		failures = append(failures, err)
	}
	return v, a, worst(failures)
}

func callAt[V any](ctx context.Context, c *Client, address, path string, body []byte) (v V, a Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialPatience+answerPatience)
	defer cancel()
	t := c.connect(address)
	defer t.close()
	resp, err := t.post(ctx, path, bytes.NewReader(body), "application/json")
	if err != nil {
		return v, a, t.failed(err)
	}
	defer resp.Body.Close()
	a = Answer{Address: address, Ahead: ahead(resp)}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return v, a, t.failed(err)
	}
	if resp.StatusCode/100 != 2 {
		return v, a, faultOf(resp.StatusCode, address, raw)
	}
	if resp.StatusCode == http.StatusNoContent {
		return v, a, nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, a, wire.NewFault(http.StatusBadGateway, "controller-answer",
			fmt.Sprintf("%s does not answer like a controller: %v", address, err), "warren doctor")
	}
	return v, a, nil
}

// A transport is one address and the connections that were made to it. They are closed with it: nothing
// waits in a pool.
type transport struct {
	http.Transport
	address string
	mu      sync.Mutex
	conns   []net.Conn
}

func (c *Client) connect(address string) *transport {
	t := &transport{address: address}
	dial := c.dial
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialPatience)
		defer cancel()
		conn, err := dial(ctx, network, address)
		if err == nil {
			c.noteRemote(conn)
			t.mu.Lock()
			t.conns = append(t.conns, conn)
			t.mu.Unlock()
		}
		return conn, err
	}
	t.TLSClientConfig = c.config()
	t.TLSHandshakeTimeout = dialPatience
	t.DisableCompression = true
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP2(true)
	t.HTTP2 = &http.HTTP2Config{
		SendPingTimeout: pingAfter, PingTimeout: pingPatience, WriteByteTimeout: pingAfter + pingPatience,
	}
	return t
}

func (t *transport) post(ctx context.Context, path string, body io.Reader, media string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+t.address+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", media)
	return t.RoundTrip(req)
}

func (t *transport) close() {
	t.CloseIdleConnections()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, conn := range t.conns {
		_ = conn.Close()
	}
}

// ahead compares clocks by the Date that every answer carries.
func ahead(resp *http.Response) time.Duration {
	theirs, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0
	}
	return time.Since(theirs).Truncate(time.Second)
}
