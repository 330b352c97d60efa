package client

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/pin"
)

// TLS makes a client of the controller at HOST:PORT. The controller proves to hold the pinned key, the
// client to be the admin.
func TLS(address string, controller key.Identity, admin key.IdentityKey) (*Client, error) {
	cert, err := pin.Certificate(rand.Reader, admin.Signer())
	if err != nil {
		return nil, fmt.Errorf("identity of the admin: %v", err)
	}
	d := net.Dialer{Timeout: dialTimeout}
	return newClient("controller", address, "https://"+address, &http.Transport{
		DialContext:         d.DialContext,
		TLSClientConfig:     pin.Client(cert, controller[:]),
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   true,
	}), nil
}

func (c *Client) tls() bool { return strings.HasPrefix(c.base, "https:") }
