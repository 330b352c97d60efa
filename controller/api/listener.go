package api

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/warren-mesh/warren/peers/pin"
)

// Handshakes that are under way at once. When most of the places are taken, those who take their time
// are sent away sooner, so that connections which never say anything cannot keep others out for long.
const (
	maxHandshakes    = 1024
	handshakePatient = 10 * time.Second
	handshakeHurried = 2 * time.Second
)

// nextProtocols tells net/http that connections may speak HTTP/2; the handshake was with another
// configuration.
func nextProtocols() *tls.Config {
	return &tls.Config{NextProtos: pin.Protocols(), MinVersion: tls.VersionTLS13}
}

// A Listener hands out TLS connections whose handshake is over, and limits those that are under way.
type Listener struct {
	raw    net.Listener
	config *tls.Config
	cert   atomic.Pointer[tls.Certificate]
	log    *slog.Logger
	ready  chan net.Conn
	crowd  crowd
	places chan struct{}

	once   sync.Once
	closed chan struct{}
	over   chan struct{} // closed when nothing comes any more
}

// NewListener takes a listener over. Its connections must prove an identity (see pin.Server).
func NewListener(raw net.Listener, cert tls.Certificate, log *slog.Logger) *Listener {
	l := &Listener{
		raw: raw, config: pin.Server(cert), log: log, ready: make(chan net.Conn),
		places: make(chan struct{}, maxHandshakes), closed: make(chan struct{}), over: make(chan struct{}),
	}
	l.Present(cert)
	l.config.Certificates = nil
	l.config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return l.cert.Load(), nil }
	go l.accept()
	return l
}

// Present shows another certificate to whoever connects from now on.
func (l *Listener) Present(cert tls.Certificate) { l.cert.Store(&cert) }

// accept takes connections in until the raw listener is closed. It never waits for a client: handshakes
// run beside each other.
func (l *Listener) accept() {
	complain := rate.Sometimes{Interval: time.Minute} // or an attack would fill the log
	for {
		conn, err := l.raw.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				close(l.over)
				return
			}
			complain.Do(func() { l.log.Error("cannot take connections in", "error", err) })
			l.rest()
			continue
		}
		in, ok := l.crowd.admit(conn)
		if !ok {
			complain.Do(func() { l.log.Warn("too many connections", "from", conn.RemoteAddr().String()) })
			_ = conn.Close() // there is no telling why before TLS, and TLS is what there is no room for
			continue
		}
		select {
		case l.places <- struct{}{}:
			go l.handshake(in)
		case <-l.closed:
			_ = in.Close()
		}
	}
}

// rest waits for an error that goes by, such as too many open files.
func (l *Listener) rest() {
	timer := time.NewTimer(50 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.closed:
	}
}

// handshake finishes the TLS handshake of one connection here and not in net/http, where there is no
// limit to how many are under way, and where it would grow the stack of a goroutine that stays.
func (l *Listener) handshake(conn net.Conn) {
	defer func() { <-l.places }()
	patience := handshakePatient
	if len(l.places) > maxHandshakes/2 {
		patience = handshakeHurried
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	secure := tls.Server(conn, l.config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // who cannot speak to us is told by TLS, and nobody else can do anything about it
		return
	}
	select {
	case l.ready <- secure:
	case <-l.closed:
		_ = conn.Close()
	}
}

// Accept waits for the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.ready:
		return conn, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

// Close stops listening.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.raw.Close()
}

// Addr is where the listener listens.
func (l *Listener) Addr() net.Addr { return l.raw.Addr() }
