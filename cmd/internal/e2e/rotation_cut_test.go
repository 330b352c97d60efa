package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers"
)

// phases are those of a rotation in their order.
func phases() []peers.Phase {
	return []peers.Phase{peers.PhaseAnnounce, peers.PhaseProve, peers.PhaseSwitch, peers.PhaseRetire, peers.PhaseIdle}
}

// A partition is between two hosts, or a host and the controller, from one phase of a rotation to another.
type partition struct {
	a, b     string
	from, to peers.Phase
}

func (p partition) String() string {
	return fmt.Sprintf("%s and %s from %s to %s", p.a, p.b, p.from, p.to)
}

func partitions(whole bool) (cases []partition) {
	all := phases()
	ends := [][2]string{{"shop", "warehouse"}, {"shop", lab.DefaultController}}
	if !whole {
		return []partition{{ends[0][0], ends[0][1], peers.PhaseAnnounce, peers.PhaseIdle}}
	}
	for _, e := range ends {
		for i, from := range all[:4] {
			for _, to := range all[i+1:] {
				cases = append(cases, partition{e[0], e[1], from, to})
			}
		}
	}
	return cases
}

// cutFor is how long a partition lasts at most: the phase at which it shall end may not come before that.
const cutFor = 5 * time.Second

// TestRotationSurvivesPartitions cuts ways in the middle of rotations. What does not take them loses nothing, and after
// the end of the partition the rotation comes to its end by itself.
func TestRotationSurvivesPartitions(t *testing.T) {
	whole, which, of := share(t)
	m := startMesh(t, sites()...)
	m.allUp(2)
	for i, p := range partitions(whole) {
		if i%of != which {
			continue
		}
		t.Run(p.String(), func(t *testing.T) { m.in(t).parted(p) })
		if t.Failed() {
			return
		}
	}
}

func (m *mesh) parted(p partition) {
	m.t.Helper()
	g := m.rotation().Generation + 1
	m.calm()
	flows := m.everybody()
	if p.from == peers.PhaseAnnounce {
		m.cut(p, true)
	}
	m.rotate(g)
	m.reaches(g, p.from, patience)
	m.cut(p, true)
	m.reaches(g, p.to, cutFor)
	m.cut(p, false)
	began := time.Now()
	m.rotated(g, converges)
	m.onlyGeneration(g)
	m.t.Logf("converged %v after the partition", time.Since(began).Round(time.Millisecond))
	for name, f := range flows {
		concerned := strings.Contains(name, p.a) && strings.Contains(name, p.b)
		if sent, lost := f.end(); (lost > 0 || sent == 0) && !concerned {
			m.t.Errorf("%s: %d of %d packets lost", name, lost, sent)
		}
	}
}

// reaches waits until a rotation is in a phase or beyond it, or for a time.
func (m *mesh) reaches(g peers.Generation, phase peers.Phase, within time.Duration) {
	m.t.Helper()
	order := phases()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		v := m.rotation()
		if v.Generation == g && slices.Index(order, v.Phase) >= slices.Index(order, phase) {
			return
		}
	}
}

// cut begins or ends a partition, in both directions and both families.
func (m *mesh) cut(p partition, begin bool) {
	m.t.Helper()
	for _, way := range [][2]string{{p.a, p.b}, {p.b, p.a}} {
		from, to := m.lab.Host(way[0]), m.lab.Host(way[1])
		for _, addr := range []netip.Addr{to.IPv4(), to.IPv6()} {
			if !addr.IsValid() {
				continue
			}
			change := from.Block
			if !begin {
				change = from.Unblock
			}
			if err := change(netip.PrefixFrom(addr, addr.BitLen())); err != nil {
				m.t.Fatal(err)
			}
		}
	}
}

// TestRotationsMissed rotates once, twice and three times while a host is away. It is waited for no longer than the
// grace time, and comes back by itself.
func TestRotationsMissed(t *testing.T) {
	if whole, which, _ := share(t); !whole || which != 0 {
		t.Skip("part of the matrix: make test-rotation; TestRotationWithoutAHost is always run")
	}
	m := startMesh(t, sites()...)
	m.allUp(2)
	m.must(lab.DefaultController, "mesh", "set", "grace=10s")
	away := m.lab.Host("accounting")
	for _, n := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("%d rotations missed", n), func(t *testing.T) {
			m := m.in(t)
			m.calm()
			g := m.rotation().Generation
			tr := flow(t, m.lab.Host("shop"), m.lab.Host("warehouse"), m.status("warehouse").Address)
			if err := away.Cut(); err != nil {
				t.Fatal(err)
			}
			until(t, patience, "the controller misses it", func() bool { return !m.hosts()["accounting"].Online })
			for range n {
				g++
				m.rotate(g)
				m.rotated(g, patience)
			}
			if err := away.Restore(); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			until(t, converges, "all hosts are on the new generation", func() bool {
				s := m.status("accounting")
				return len(s.Interfaces) == 1 && s.Interfaces[0].Generation == g && m.up("accounting") == 2 && m.up("shop") == 2
			})
			t.Logf("back %v after its network", time.Since(began).Round(time.Millisecond))
			m.onlyGeneration(g)
			if sent, lost := tr.end(); lost > 0 || sent == 0 {
				t.Errorf("between the others: %d of %d packets lost", lost, sent)
			}
		})
	}
}

// TestRotationMends puts a wrong pre-shared key in the place of the right ones of a host, at rest and in the middle of a
// rotation, and takes the room for its new key away. The keys are put right, the rotation waits for the host and ends
// when there is room again, and nothing is lost.
func TestRotationMends(t *testing.T) {
	m := startMesh(t, sites()...)
	m.allUp(2)
	flows := m.everybody()
	m.corrupt("shop")
	m.mended("shop")
	free := fill(t, m.lab.Host("shop"))
	m.rotate(2)
	until(t, patience, "the host says that its disk is full", func() bool {
		v := m.rotation()
		return hasProblem(m.status("shop"), "disk-full") && len(v.Waiting) == 1 && v.Waiting[0].Host == "shop"
	})
	if v := m.rotation(); v.Phase != peers.PhaseAnnounce {
		t.Errorf("without a key of one host the rotation is in phase %s", v.Phase)
	}
	free()
	m.reaches(2, peers.PhaseProve, patience)
	m.corrupt("shop")
	m.rotated(2, converges)
	m.mended("shop")
	m.onlyGeneration(2)
	for name, f := range flows {
		if sent, lost := f.end(); lost > 0 || sent == 0 {
			t.Errorf("%s: %d of %d packets lost", name, lost, sent)
		}
	}
}

// wrong is a pre-shared key that nobody else has.
func wrong() wgtypes.Key { return wgtypes.Key{1, 2, 3} }

// corrupt gives every peer of a host a wrong pre-shared key.
func (m *mesh) corrupt(host string) {
	m.t.Helper()
	m.eachDevice(host, func(wg *wgctrl.Client, d *wgtypes.Device) error {
		key := wrong()
		c := wgtypes.Config{}
		for _, p := range d.Peers {
			c.Peers = append(c.Peers, wgtypes.PeerConfig{PublicKey: p.PublicKey, UpdateOnly: true, PresharedKey: &key})
		}
		return wg.ConfigureDevice(d.Name, c)
	})
}

// mended waits until no peer of a host has the wrong key any more.
func (m *mesh) mended(host string) {
	m.t.Helper()
	until(m.t, converges, "the pre-shared keys are right again", func() bool {
		good, bad := 0, 0
		m.eachDevice(host, func(_ *wgctrl.Client, d *wgtypes.Device) error {
			for _, p := range d.Peers {
				if p.PresharedKey == wrong() {
					bad++
				} else {
					good++
				}
			}
			return nil
		})
		return bad == 0 && good > 0
	})
}

// eachDevice visits the WireGuard devices of a host.
func (m *mesh) eachDevice(host string, visit func(*wgctrl.Client, *wgtypes.Device) error) {
	m.t.Helper()
	if err := m.lab.Host(host).Do(func() error {
		wg, err := wgctrl.New()
		if err != nil {
			return err
		}
		defer wg.Close()
		devices, err := wg.Devices()
		if err != nil {
			return err
		}
		for _, d := range devices {
			if err := visit(wg, d); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		m.t.Fatal(err)
	}
}
