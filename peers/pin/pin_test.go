package pin_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers/pin"
)

// An end is one side of a connection in tests.
type end struct {
	key  ed25519.PublicKey
	cert tls.Certificate
}

func newEnd(t *testing.T) end {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := pin.Certificate(rand.Reader, private)
	if err != nil {
		t.Fatal(err)
	}
	return end{public, cert}
}

// outcome is how a handshake, and a byte in each direction after it, ended on both sides.
type outcome struct {
	client, server           error
	clientState, serverState tls.ConnectionState
}

// pipe is a connection within this machine. It is none of net.Pipe, which keeps nothing on the way: two
// ends that refuse each other at the same time would wait for each other.
func pipe(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// meet shakes hands over a pipe.
func meet(t *testing.T, client, server *tls.Config) (o outcome) {
	t.Helper()
	a, b := pipe(t)
	deadline := time.Now().Add(10 * time.Second)
	if err := errors.Join(a.SetDeadline(deadline), b.SetDeadline(deadline)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer b.Close()
		c := tls.Server(b, server)
		o.server = serve(c)
		o.serverState = c.ConnectionState()
	}()
	c := tls.Client(a, client)
	o.client = ask(c)
	o.clientState = c.ConnectionState()
	_ = a.Close()
	<-done
	return o
}

func ask(c *tls.Conn) error {
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func serve(c *tls.Conn) error {
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return err
	}
	_, err := c.Write([]byte{2})
	return err
}

func TestHandshake(t *testing.T) {
	host, controller := newEnd(t), newEnd(t)
	o := meet(t, pin.Client(host.cert, controller.key), pin.Server(controller.cert))
	if err := errors.Join(o.client, o.server); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		state tls.ConnectionState
		other ed25519.PublicKey
	}{"client": {o.clientState, controller.key}, "server": {o.serverState, host.key}} {
		if c.state.Version != tls.VersionTLS13 {
			t.Errorf("%s: version %s", name, tls.VersionName(c.state.Version))
		}
		if c.state.CurveID != tls.X25519MLKEM768 {
			t.Errorf("%s: key exchange %v", name, c.state.CurveID)
		}
		if c.state.NegotiatedProtocol != "h2" || c.state.DidResume {
			t.Errorf("%s: protocol %q, resumed %v", name, c.state.NegotiatedProtocol, c.state.DidResume)
		}
		if got, err := pin.PeerKey(c.state); err != nil || !bytes.Equal(got, c.other) {
			t.Errorf("%s: the other end is %x, %v; want %x", name, got, err, c.other)
		}
	}
}

// TestNoResumption: each connection proves its keys anew.
func TestNoResumption(t *testing.T) {
	host, controller := newEnd(t), newEnd(t)
	client, server := pin.Client(host.cert, controller.key), pin.Server(controller.cert)
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 2 {
		if o := meet(t, client, server); o.client != nil || o.clientState.DidResume {
			t.Errorf("resumed %v, %v", o.clientState.DidResume, o.client)
		}
	}
}

// TestAnyClock: clocks that are wrong by centuries do not matter.
func TestAnyClock(t *testing.T) {
	host, controller := newEnd(t), newEnd(t)
	for _, year := range []int{1, 1900, 10_500} {
		at := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		clock := func() time.Time { return at }
		client, server := pin.Client(host.cert, controller.key), pin.Server(controller.cert)
		client.Time = clock
		if o := meet(t, client, server); o.client != nil || o.server != nil {
			t.Errorf("client's clock at %v: %v, %v", at, o.client, o.server)
		}
		client.Time, server.Time = nil, clock
		if o := meet(t, client, server); o.client != nil || o.server != nil {
			t.Errorf("server's clock at %v: %v, %v", at, o.client, o.server)
		}
	}
	x, err := x509.ParseCertificate(host.cert.Certificate[0])
	if err != nil || x.NotBefore.Year() > 1970 || x.NotAfter.Year() < 9999 {
		t.Errorf("the certificate holds from %v to %v, %v", x.NotBefore, x.NotAfter, err)
	}
}

func TestWrongPin(t *testing.T) {
	host, controller, eve := newEnd(t), newEnd(t), newEnd(t)
	for name, key := range map[string]ed25519.PublicKey{"another": controller.key, "none": nil, "short": eve.key[:31]} {
		o := meet(t, pin.Client(host.cert, key), pin.Server(eve.cert))
		if !errors.Is(o.client, pin.ErrPin) {
			t.Errorf("%s: client: %v", name, o.client)
		}
		if o.server == nil {
			t.Errorf("%s: the server heard something", name)
		}
	}
}

// certificates of other kinds than pin makes.
func foreign(t *testing.T, key crypto.Signer) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "warren"}, NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestRefused: what is no pinned Ed25519 over TLS 1.3 with the hybrid key exchange gets nowhere.
func TestRefused(t *testing.T) {
	host, controller := newEnd(t), newEnd(t)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	chain := host.cert
	chain.Certificate = append(chain.Certificate[:1:1], controller.cert.Certificate[0])
	client := func(edit func(*tls.Config)) *tls.Config {
		c := pin.Client(host.cert, controller.key)
		edit(c)
		return c
	}
	server := func(edit func(*tls.Config)) *tls.Config {
		c := pin.Server(controller.cert)
		edit(c)
		return c
	}
	with := func(certs ...tls.Certificate) func(*tls.Config) {
		return func(c *tls.Config) { c.Certificates = certs }
	}
	older := func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }
	classic := func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256} }
	as := func(*tls.Config) {}
	for name, c := range map[string]struct{ client, server func(*tls.Config) }{
		"client without a certificate": {with(), as},
		"client with ECDSA":            {with(foreign(t, p256)), as},
		"client with RSA":              {with(foreign(t, rsaKey)), as},
		"client with a chain":          {with(chain), as},
		"server with ECDSA":            {as, with(foreign(t, p256))},
		"server with RSA":              {as, with(foreign(t, rsaKey))},
		"client of TLS 1.2":            {older, as},
		"server of TLS 1.2":            {as, older},
		"client without the hybrid":    {classic, as},
		"server without the hybrid":    {as, classic},
		"no protocol in common":        {func(c *tls.Config) { c.NextProtos = []string{"h3"} }, as},
	} {
		o := meet(t, client(c.client), server(c.server))
		if o.client == nil || o.server == nil {
			t.Errorf("%s: client %v, server %v", name, o.client, o.server)
		}
	}
}

// TestStolenCertificate: a certificate is public; without its private key it proves nothing.
func TestStolenCertificate(t *testing.T) {
	host, controller, eve := newEnd(t), newEnd(t), newEnd(t)
	stolen := tls.Certificate{Certificate: controller.cert.Certificate, PrivateKey: eve.cert.PrivateKey}
	if o := meet(t, pin.Client(host.cert, controller.key), pin.Server(stolen)); o.client == nil {
		t.Error("the client believes a stolen certificate")
	}
	stolen = tls.Certificate{Certificate: host.cert.Certificate, PrivateKey: eve.cert.PrivateKey}
	if o := meet(t, pin.Client(stolen, controller.key), pin.Server(controller.cert)); o.server == nil {
		t.Error("the server believes a stolen certificate")
	}
}

func TestCertificateRefuses(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pin.Certificate(rand.Reader, p256); err == nil || !strings.Contains(err.Error(), "want Ed25519") {
		t.Errorf("ECDSA: %v", err)
	}
	if _, err := pin.Certificate(rand.Reader, brokenSigner{}); err == nil {
		t.Error("a signer that fails makes a certificate")
	}
	if _, err := pin.PeerKey(tls.ConnectionState{}); err == nil {
		t.Error("no connection has a key")
	}
}

// brokenSigner has an Ed25519 key and cannot use it.
type brokenSigner struct{}

func (brokenSigner) Public() crypto.PublicKey { return make(ed25519.PublicKey, ed25519.PublicKeySize) }

func (brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the smart card is gone")
}
