// Package pin makes TLS configurations in which both ends are known by their Ed25519 identity keys.
//
// There is no certificate authority and nothing expires: a certificate only carries the key, is signed
// by that key, and is valid for all time, so that neither a wrong clock nor a forgotten renewal can cut
// a host off. Whoever connects pins the key of the other end; whoever listens learns the key of the
// client from the handshake and looks it up afterwards. The key exchange is the hybrid X25519MLKEM768
// and no other, so that what travels over it stays secret from those who record now and decrypt later.
package pin

import (
	"crypto"
	"crypto/ed25519"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"
)

// Protocols are the ALPN names that both ends speak, in order of preference.
func Protocols() []string { return []string{"h2", "http/1.1"} }

// ErrPin is what a client gets when the other end has another key than the pinned one.
var ErrPin = errors.New("the other end has another identity key than the pinned one")

// Certificate makes the self-signed certificate that carries the public half of signer, which must be
// an Ed25519 key. It holds for all time; random is used for nothing secret.
func Certificate(random io.Reader, signer crypto.Signer) (tls.Certificate, error) {
	if _, ok := signer.Public().(ed25519.PublicKey); !ok {
		return tls.Certificate{}, fmt.Errorf("identity key is a %T, want Ed25519", signer.Public())
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "warren"},
		DNSNames:     []string{"warren"},
		NotBefore:    time.Unix(0, 0).UTC(),
		// RFC 5280 §4.1.2.5: the date that says "no well-defined expiration".
		NotAfter:    time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(random, template, template, signer.Public(), signer)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %v", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: signer}, nil
}

// Server is the configuration of an end that listens. Every client must show a certificate with an
// Ed25519 key, any key: who it is decides PeerKey and the inventory.
func Server(cert tls.Certificate) *tls.Config {
	cfg := base(cert)
	cfg.ClientAuth = tls.RequireAnyClientCert
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		_, err := PeerKey(state)
		return err
	}
	return cfg
}

// Client is the configuration of an end that connects and accepts the given server keys only: one, or two
// while the server hands over to the next. The handshake fails with ErrPin on any other.
func Client(cert tls.Certificate, servers ...ed25519.PublicKey) *tls.Config {
	cfg := base(cert)
	// The name and the chain say nothing here; VerifyConnection holds the key against the pin, and
	// TLS itself has proven that the other end has the private half.
	cfg.InsecureSkipVerify = true
	cfg.ServerName = "warren"
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		got, err := PeerKey(state)
		if err != nil {
			return err
		}
		for _, server := range servers {
			if subtle.ConstantTimeCompare(got, server) == 1 {
				return nil
			}
		}
		return ErrPin
	}
	return cfg
}

// PeerKey returns the Ed25519 key that the other end of a finished handshake has proven to hold.
func PeerKey(state tls.ConnectionState) (ed25519.PublicKey, error) {
	if len(state.PeerCertificates) != 1 {
		return nil, fmt.Errorf("%d certificates from the other end, want 1", len(state.PeerCertificates))
	}
	k, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the other end has a %T, want Ed25519", state.PeerCertificates[0].PublicKey)
	}
	return k, nil
}

func base(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates:     []tls.Certificate{cert},
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768},
		NextProtos:       Protocols(),
		// A resumed session would skip nothing of the above, but a revoked identity should never
		// profit from an old one.
		SessionTicketsDisabled: true,
	}
}
