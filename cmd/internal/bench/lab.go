package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/peers/wire"
)

// newcomers is how many hosts enrol, one after the other, to measure how long that takes.
const newcomers = 15

// labRows measures real agents with real tunnels on the hosts of a lab.
func labRows(ctx context.Context, s settings) ([]Row, error) {
	names := []string{"shop", "warehouse"}
	for i := range newcomers {
		names = append(names, fmt.Sprintf("new%d", i))
	}
	l, err := labOf(s, names...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	m, err := join(ctx, l, "shop", "warehouse")
	if err != nil {
		return nil, err
	}
	enrol, err := enrolRow(ctx, l, m)
	if err != nil {
		return nil, err
	}
	return []Row{enrol, memoryRow(m)}, nil
}

// labOf is a lab with a host for the controller and hosts of these names.
func labOf(s settings, names ...string) (*lab.Lab, error) {
	bin, err := filepath.Abs(s.bin)
	if err != nil {
		return nil, err
	}
	topology := lab.Topology{Bin: bin, Hosts: []lab.HostSpec{{Name: lab.DefaultController}}}
	for _, name := range names {
		topology.Hosts = append(topology.Hosts, lab.HostSpec{Name: name})
	}
	return lab.New(topology)
}

// join starts a controller, and agents on some hosts of a lab, which it enrols.
func join(ctx context.Context, l *lab.Lab, names ...string) (*lab.Mesh, error) {
	m, err := lab.NewMesh(l, lab.MeshOptions{Progress: func(line string) { fmt.Fprintln(os.Stderr, line) }})
	if err != nil {
		return nil, err
	}
	if _, err := m.StartController(ctx); err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, err := m.StartAgent(ctx, name); err != nil {
			return nil, err
		}
		if err := m.Enrol(ctx, name, name); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// meshOf is a lab whose hosts are all in a mesh.
func meshOf(ctx context.Context, s settings, names ...string) (*lab.Lab, *lab.Mesh, error) {
	l, err := labOf(s, names...)
	if err != nil {
		return nil, nil, err
	}
	m, err := join(ctx, l, names...)
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return l, m, nil
}

// enrolRow enrols hosts and sends each one's first datagram through the tunnel to the shop.
func enrolRow(ctx context.Context, l *lab.Lab, m *lab.Mesh) (Row, error) {
	shop, err := meshAddress(ctx, m, "shop")
	if err != nil {
		return Row{}, err
	}
	echo, err := listenEcho(l.Host("shop"), shop)
	if err != nil {
		return Row{}, err
	}
	defer echo.Close()
	var took []time.Duration
	for i := range newcomers {
		name := fmt.Sprintf("new%d", i)
		if _, err := m.StartAgent(ctx, name); err != nil {
			return Row{}, err
		}
		token, err := m.Token(ctx, "--site", "new", "--name", name)
		if err != nil {
			return Row{}, err
		}
		start := time.Now()
		if out, err := m.Warren(ctx, name, "enroll", token).CombinedOutput(); err != nil {
			return Row{}, fmt.Errorf("enrol %s: %v: %s", name, err, out)
		}
		if err := firstEcho(l.Host(name), echo.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
			return Row{}, err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	half := took[len(took)/2]
	return Row{
		What:   fmt.Sprintf("warren enroll start → first ping through the tunnel, p50 (slowest) of %d", newcomers),
		Target: "≤ 1 s", Measured: fmt.Sprintf("%.2f (%.2f) s", half.Seconds(), took[len(took)-1].Seconds()), OK: half <= time.Second,
	}, nil
}

// statusOf is what a host says of itself. The exit code, which says how healthy it is, does not matter here.
func statusOf(ctx context.Context, m *lab.Mesh, host string) (s wire.Status, err error) {
	out, _ := m.Warren(ctx, host, "status", "-o", "json").Output()
	if err := json.Unmarshal(out, &s); err != nil {
		return s, fmt.Errorf("status of %s: %v", host, err)
	}
	return s, nil
}

func meshAddress(ctx context.Context, m *lab.Mesh, host string) (netip.Addr, error) {
	s, err := statusOf(ctx, m, host)
	return s.Address, err
}

func listenEcho(h *lab.Host, addr netip.Addr) (*net.UDPConn, error) {
	var conn *net.UDPConn
	err := h.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	})
	if err != nil {
		return nil, err
	}
	go func() {
		buf := make([]byte, 64)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(buf[:n], from) // the sender tries again
		}
	}()
	return conn, nil
}

// firstEcho sends until an answer comes.
func firstEcho(h *lab.Host, to netip.AddrPort) error {
	var conn *net.UDPConn
	if err := h.Do(func() (err error) {
		conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		return err
	}); err != nil {
		return err
	}
	defer conn.Close()
	for range 500 {
		if _, err := conn.Write([]byte("ping")); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			return err
		}
		if _, err := conn.Read(make([]byte, 8)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("no answer from %v within 10 s", to)
}

func memoryRow(m *lab.Mesh) Row {
	rss := float64(processRSS(m.Agent("shop").PID())) / (1 << 20)
	return Row{
		What: fmt.Sprintf("RSS of an agent with %d peers, without the tunnel's process", newcomers+1), Target: "≤ 30 MB",
		Measured: fmt.Sprintf("%.1f MiB", rss), OK: rss > 0 && rss <= 30e6/(1<<20),
	}
}

// removeAll removes a folder and says nothing: it is a temporary one.
func removeAll(dir string) { _ = os.RemoveAll(dir) }
