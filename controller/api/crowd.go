package api

import (
	"net"
	"net/netip"
	"sync"
)

// Connections that are open at once. A mesh has one for each host.
const (
	maxConnections = 20_000
	maxFromOne     = 2_500 // hosts of a site may share an address
)

// A crowd counts connections, all and by source, so that nobody can take all the memory or all the file
// descriptors. The zero value is ready for use.
type crowd struct {
	mu   sync.Mutex
	all  int
	from map[netip.Addr]int
}

// admit gives the connection back as one that is counted until it is closed; false where there is no
// room.
func (c *crowd) admit(conn net.Conn) (net.Conn, bool) {
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return nil, false
	}
	source := at.Addr().Unmap()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= maxConnections || c.from[source] >= maxFromOne {
		return nil, false
	}
	if c.from == nil {
		c.from = map[netip.Addr]int{}
	}
	c.all++
	c.from[source]++
	return &counted{Conn: conn, leave: sync.OnceFunc(func() { c.leave(source) })}, true
}

func (c *crowd) leave(source netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.from[source]--; c.from[source] == 0 {
		delete(c.from, source)
	}
}

// counted is a connection in a crowd.
type counted struct {
	net.Conn
	leave func()
}

// Close closes the connection and leaves the crowd.
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}
