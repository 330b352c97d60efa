package linux

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/tuntest"

	"github.com/warren-mesh/warren/agent/linux/nettest"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
)

// A catcher takes what a WireGuard device sends, and has nothing to receive.
type catcher struct {
	conn.Bind
	mu     sync.Mutex
	sent   [][]byte
	closed chan struct{}
}

func (c *catcher) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	closed := make(chan struct{})
	c.closed = closed
	return []conn.ReceiveFunc{func([][]byte, []int, []conn.Endpoint) (int, error) {
		<-closed
		return 0, net.ErrClosed
	}}, port, nil
}

func (c *catcher) Close() error {
	if c.closed != nil {
		close(c.closed)
		c.closed = nil
	}
	return nil
}

func (c *catcher) SetMark(uint32) error { return nil }
func (c *catcher) BatchSize() int       { return 1 }

func (c *catcher) Send(packets [][]byte, _ conn.Endpoint) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range packets {
		c.sent = append(c.sent, slices.Clone(p))
	}
	return nil
}

// oldInitiations are first messages of handshakes by wireguard-go, whose clock is in the year 2000.
func oldInitiations(t *testing.T, own key.Private, to key.Public, n int) [][]byte {
	t.Helper()
	catch := &catcher{Bind: conn.NewStdNetBind()}
	synctest.Test(t, func(t *testing.T) {
		d := device.NewDevice(tuntest.NewChannelTUN().TUN(), catch, device.NewLogger(device.LogLevelSilent, ""))
		defer d.Close()
		secret := own.ExposeBytes()
		config := fmt.Sprintf("private_key=%s\npublic_key=%s\nendpoint=192.0.2.2:51821\n",
			hex.EncodeToString(secret[:]), hex.EncodeToString(to[:]))
		if err := d.IpcSet(config); err != nil {
			t.Fatal(err)
		}
		if err := d.Up(); err != nil {
			t.Fatal(err)
		}
		for range n {
			if err := d.LookupPeer(device.NoisePublicKey(to)).SendHandshakeInitiation(false); err != nil {
				t.Fatal(err)
			}
			time.Sleep(6 * time.Second)
		}
	})
	return catch.sent
}

// TestClockBack: a peer whose clock went back is refused, which the guard sees, and gets in after a cure; also where its
// first handshake had only begun.
func TestClockBack(t *testing.T) {
	for name, met := range map[string]bool{"after a session": true, "after a first message": false} {
		t.Run(name, func(t *testing.T) { clockBack(t, met) })
	}
}

func clockBack(t *testing.T, met bool) {
	a, b := newPair(t)
	for _, step := range b.steps(2, 1, "192.0.2.1:51820", 51821) {
		if set, ok := step.(peers.SetPeer); ok {
			set.Endpoint = netip.AddrPort{} // so that the other side begins
			step = set
		}
		b.apply(t, step)
	}
	b.apply(t, peers.SetGuard{Guard: peers.Guard{Knocks: [2]uint16{51820, 51821}}})
	if met {
		a.apply(t, a.steps(1, 2, "192.0.2.2:51821", 51820)...)
		nettest.Eventually(t, "a handshake of today", func() bool {
			l := b.observe(t)
			return len(l.Peers) == 1 && !l.Peers[0].LastHandshake.IsZero() && l.Peers[0].Rx > 0
		})
		a.apply(t, peers.DelLink{Name: a.link})
	}
	messages := oldInitiations(t, private("B"), public("C"), 3)
	var socket *net.UDPConn
	a.Do(func() {
		var err error
		if socket, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 51820}); err != nil {
			t.Fatal(err)
		}
	})
	defer socket.Close()
	// answered sends a first message and says whether a second one comes back.
	answered := func(message []byte, within time.Duration) bool {
		t.Helper()
		if _, err := socket.WriteToUDP(message, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 51821}); err != nil {
			t.Fatal(err)
		}
		if err := socket.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 2048)
		for {
			n, err := socket.Read(buffer)
			if err != nil {
				return false
			}
			if n == device.MessageResponseSize && buffer[0] == device.MessageResponseType {
				return true
			}
		}
	}
	if !met && !answered(messages[2], 5*time.Second) {
		t.Fatal("the first message is not answered")
	}
	if answered(messages[0], 2*time.Second) {
		t.Fatal("a message from before was accepted")
	}
	var state peers.State
	look := func() {
		b.Do(func() {
			var err error
			if state, err = b.kernel.Observe(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
	look()
	if !slices.Contains(state.Knocks, netip.MustParseAddr("192.0.2.1")) {
		t.Fatalf("the guard has seen %v", state.Knocks)
	}
	plan, now := peers.Plan{Mesh: peers.PlanMesh{Keepalive: 25}}, time.Now()
	_, doubts := peers.Cure(state, plan, nil, now)
	_, doubts = peers.Cure(state, plan, doubts, now.Add(20*time.Second))
	steps, _ := peers.Cure(state, plan, doubts, now.Add(40*time.Second))
	if len(steps) != 2 {
		t.Fatalf("steps %v", steps)
	}
	b.apply(t, steps...)
	if !answered(messages[1], 5*time.Second) {
		t.Error("a cured peer is refused")
	}
	look()
	if l := state.Links[0]; len(l.Peers) != 1 || l.Peers[0].Rx < device.MessageInitiationSize || len(l.Peers[0].Allowed) != 2 {
		t.Errorf("after the cure: %+v", l.Peers)
	}
	nettest.Eventually(t, "the guard forgets", func() bool { look(); return len(state.Knocks) == 0 })
}
