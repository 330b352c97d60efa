package demo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

const (
	pulsePort  = 4000
	pulseEvery = 20 * time.Millisecond
	// steady is how many pulses in a row have to come back before traffic counts as flowing again.
	steady = 25
)

// A pulse is numbered datagrams from one machine to another, which sends each back. From those that do not come back
// follows how long nothing got through. All hold a text of which the watch knows that it must not be seen.
type pulse struct {
	client, server *net.UDPConn
	text           []byte
	stop           chan struct{}
	running        sync.WaitGroup

	mu   sync.Mutex // guards what follows
	sent []time.Time
	back []bool
}

// beat starts a pulse. It returns at once; nothing may come back yet.
func beat(from, to *lab.Host, at netip.Addr, text string) (*pulse, error) {
	p := &pulse{text: []byte(text), stop: make(chan struct{})}
	address := net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, pulsePort))
	if err := to.Do(func() (err error) {
		p.server, err = net.ListenUDP("udp", address)
		return err
	}); err != nil {
		return nil, err
	}
	if err := from.Do(func() (err error) {
		p.client, err = net.DialUDP("udp", nil, address)
		return err
	}); err != nil {
		return nil, errors.Join(err, p.server.Close())
	}
	p.running.Go(p.echo)
	p.running.Go(p.collect)
	p.running.Go(p.send)
	return p, nil
}

func (p *pulse) echo() {
	buffer := make([]byte, 256)
	for {
		n, from, err := p.server.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		_, _ = p.server.WriteToUDPAddrPort(buffer[:n], from) // one that is lost is counted as such
	}
}

func (p *pulse) send() {
	ticker := time.NewTicker(pulseEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
		}
		p.mu.Lock()
		number := uint64(len(p.sent))
		p.sent, p.back = append(p.sent, time.Now()), append(p.back, false)
		p.mu.Unlock()
		_, _ = p.client.Write(binary.BigEndian.AppendUint64(bytes.Clone(p.text), number)) // as above
	}
}

func (p *pulse) collect() {
	buffer := make([]byte, 256)
	for {
		n, err := p.client.Read(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n != len(p.text)+8 {
			continue // the network says that there is no way now
		}
		p.mu.Lock()
		if number := binary.BigEndian.Uint64(buffer[len(p.text):n]); number < uint64(len(p.back)) {
			p.back[number] = true
		}
		p.mu.Unlock()
	}
}

// end stops the pulse and gives how many came back.
func (p *pulse) end() (came int) {
	close(p.stop)
	_, _ = p.client.Close(), p.server.Close()
	p.running.Wait()
	for _, back := range p.back {
		if back {
			came++
		}
	}
	return came
}

// flows waits until a number of pulses in a row, all sent after a moment, have come back.
func (p *pulse) flows(ctx context.Context, since time.Time) error {
	ticker := time.NewTicker(pulseEvery)
	defer ticker.Stop()
	for !p.steadySince(since) {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("nothing gets through from LAN to LAN: %w", ctx.Err())
		}
	}
	return nil
}

// steadySince reports whether there was a row of pulses, sent after that moment, of which all came back.
func (p *pulse) steadySince(since time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	row := 0
	for i := range p.sent {
		switch {
		case !p.sent[i].After(since):
		case p.back[i]:
			if row++; row >= steady {
				return true
			}
		default:
			row = 0
		}
	}
	return false
}

// outage is for how long nothing came back of what was sent after that moment, and how many pulses that were. It is 0
// where each came back. A pulse still under way counts as lost, so ask when traffic flows.
func (p *pulse) outage(since time.Time) (longest time.Duration, lost int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var began time.Time
	for i := range p.sent {
		switch {
		case !p.sent[i].After(since):
		case p.back[i]:
			if !began.IsZero() {
				longest = max(longest, p.sent[i].Sub(began))
			}
			began = time.Time{}
		default:
			lost++
			if began.IsZero() {
				began = p.sent[i]
			}
		}
	}
	return longest, lost
}
