package fleet

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/pin"
	"github.com/warren-mesh/warren/peers/wire"
)

// An agent is one simulated host.
type agent struct {
	fleet    *Fleet
	index    int
	name     string
	identity key.IdentityKey
	id       peers.HostID
	keys     []peers.HostKey
	private  map[peers.Generation]key.Private
	client   *http.Client

	mu         sync.Mutex
	known      map[string]bool // ids of peers
	revision   peers.Revision
	head       string
	inSync     bool             // since the stream was opened last
	generation peers.Generation // the only one, since the last rotation
	turning    turning
	asked      time.Time
}

func (f *Fleet) newAgent(index int) (*agent, error) {
	identity, err := key.NewIdentityKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	cert, err := pin.Certificate(rand.Reader, identity.Signer())
	if err != nil {
		return nil, err
	}
	a := &agent{
		fleet: f, index: index, name: fmt.Sprintf("sim-%05d", index), identity: identity,
		id: peers.HostID(identity.Identity().Fingerprint()), known: map[string]bool{},
		private: map[peers.Generation]key.Private{},
	}
	config := pin.Client(cert, f.Token.Pin[:])
	// Each from an address of its own, as real hosts: the controller limits attempts by source.
	source := net.IPv4(127, 1, byte(index>>8), byte(index))
	dialer := &net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: source}}
	a.client = &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var raw net.Conn
			err := f.On(func() (err error) {
				raw, err = dialer.DialContext(ctx, network, f.Token.Controllers[0])
				return err
			})
			if err != nil {
				return nil, err
			}
			conn := tls.Client(&countedConn{Conn: raw, received: &f.received}, config)
			if err := conn.HandshakeContext(ctx); err != nil {
				return nil, errors.Join(err, raw.Close())
			}
			return conn, nil
		},
		HTTP2: &http.HTTP2Config{MaxReadFrameSize: 16 << 10},
	}}
	return a, nil
}

// countedConn counts what arrives: bytes on the wire, TLS and all.
type countedConn struct {
	net.Conn
	received *atomic.Int64
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	return n, err
}

func (a *agent) enroll(ctx context.Context) error {
	var offer wire.EnrollOffer
	check := wire.EnrollCheck{Protocol: wire.Protocol, TokenID: a.fleet.Token.ID, Secret: a.fleet.Token.Secret[:], Name: a.name}
	if err := a.post(ctx, wire.PathEnrollCheck, check, &offer); err != nil {
		return err
	}
	for _, g := range offer.Generations {
		private, err := key.NewPrivate(rand.Reader)
		if err != nil {
			return err
		}
		a.private[g] = private
		a.keys = append(a.keys, peers.SignKey(offer.MeshID, a.identity, g, private.Public()))
	}
	a.asked = time.Now()
	return a.post(ctx, wire.PathEnroll, wire.EnrollRequest{
		Protocol: wire.Protocol, TokenID: a.fleet.Token.ID, Secret: a.fleet.Token.Secret[:], Name: a.name,
		Port: peers.DefaultPort, Endpoints: a.endpoints(), Keys: a.keys,
	}, &wire.Enrolled{})
}

func (a *agent) endpoints() []peers.Endpoint {
	return []peers.Endpoint{{Kind: peers.EndpointPinned, Address: a.fleet.Endpoint(a.index)}}
}

func (a *agent) post(ctx context.Context, path string, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://warren"+path, bytes.NewReader(raw))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := a.client.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		switch {
		case err != nil:
			return err
		case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable:
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		case resp.StatusCode >= 300:
			return fmt.Errorf("%s: %s: %.300s", path, resp.Status, body)
		default:
			return json.Unmarshal(body, out)
		}
	}
}

// pause waits, as a client does that was told to come back.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// follow keeps a stream open until ctx ends, with the back-off of the real agent.
func (a *agent) follow(ctx context.Context) {
	wait := firstBackOff
	for ctx.Err() == nil {
		started := time.Now()
		err := a.stream(ctx)
		if ctx.Err() != nil {
			return
		}
		a.fleet.lastError.Store(&err)
		if time.Since(started) > 10*time.Second {
			wait = firstBackOff
		}
		if pause(ctx, jitter(wait)) != nil {
			return
		}
		wait = min(2*wait, 30*time.Second)
	}
}

func (a *agent) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, up := io.Pipe()
	// A write waits for the transport to read, which a dead connection never does.
	defer context.AfterFunc(ctx, func() { _ = body.CloseWithError(ctx.Err()) })()
	defer up.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://warren"+wire.PathStream, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", wire.MediaStream)
	hello, err := a.hello()
	if err != nil {
		return err
	}
	go func() { _, _ = up.Write(hello) }()
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("stream: %s: %s", resp.Status, text)
	}
	lines := bufio.NewReaderSize(resp.Body, 16<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return err
		}
		if err := a.take(line, up); err != nil {
			return err
		}
	}
}

func (a *agent) hello() ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inSync = false
	h := &wire.Hello{
		Protocol: wire.Protocol, Revision: a.revision, Session: a.name, Version: "simulated", Backend: "simulated",
		Port: peers.DefaultPort, Endpoints: a.endpoints(), Keys: a.keys, Retires: true,
	}
	if err := h.Head.UnmarshalText([]byte(a.head)); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(wire.Up{Kind: wire.UpHello, Hello: h})
	return append(raw, '\n'), err
}
