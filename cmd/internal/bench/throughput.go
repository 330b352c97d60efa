package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

const (
	plainName = "wg0"
	plainPort = 51999
	plainMTU  = 1420

	// Of the plain tunnel's rate.
	minimumUserspace = 0.95
	minimumKernel    = 0.98
)

// tunnelRows compares TCP through Warren's tunnel with TCP through a plain one between the same hosts, which was
// configured once: a WireGuard interface of the kernel where the hosts have them, otherwise wireguard-go as its authors
// build it.
func tunnelRows(ctx context.Context, o settings) ([]Row, error) {
	l, m, err := meshOf(ctx, o, "shop", "warehouse")
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	from, to := l.Host("shop"), l.Host("warehouse")
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s, err := statusOf(ctx, m, to.Name())
	if err != nil {
		return nil, err
	}
	what, target, least, start := "kernel WireGuard", "≥ 0.98", minimumKernel, kernelLink
	if s.Backend != "kernel" {
		program, err := wireguardGo(ctx)
		if err != nil {
			return nil, err
		}
		defer removeAll(filepath.Dir(program))
		what, target, least = "wireguard-go", "≥ 0.95", minimumUserspace
		start = func(ctx context.Context, h *lab.Host) error { return startPlain(ctx, h, program) }
	}
	plain, err := plainTunnel(ctx, from, to, start)
	if err != nil {
		return nil, err
	}
	none := func() error { return nil }
	rates, err := takeTurns(from, to, o.turns, lane{plain, none}, lane{s.Address, none}, lane{plain, none})
	if err != nil {
		return nil, err
	}
	ratio, noise := compare(rates)
	return []Row{{
		What: fmt.Sprintf("TCP through a Warren tunnel (%s) against plain %s, same hosts, %d rounds (plain against itself)",
			s.Backend, what, o.turns.rounds),
		Target: target, OK: ratio.mean >= least,
		Measured: fmt.Sprintf("%v (%v), %.0f Mbit/s", ratio, noise, median(rates[1])),
	}}, nil
}

// turns are how often each lane is measured, and how long each time. Many short ones tell more on a machine that others
// use too than few long ones.
type turns struct {
	rounds int
	each   time.Duration
}

// A lane is one way to send, which may have to be prepared each time.
type lane struct {
	to      netip.Addr
	prepare func() error
}

// takeTurns measures the rate of each lane in every round. Who goes first changes from round to round: whoever follows
// may find a warmer machine, or a busier one.
func takeTurns(from, to *lab.Host, t turns, lanes ...lane) ([][]float64, error) {
	rates := make([][]float64, len(lanes))
	for round := range t.rounds {
		for turn := range lanes {
			i := (round + turn) % len(lanes)
			if err := lanes[i].prepare(); err != nil {
				return nil, err
			}
			rate, err := stream(from, to, lanes[i].to, t.each)
			if err != nil {
				return nil, fmt.Errorf("TCP to %v: %w", lanes[i].to, err)
			}
			rates[i] = append(rates[i], rate)
		}
		fmt.Fprintf(os.Stderr, "round %d: %.1f Mbit/s\n", round+1, column(rates, round))
	}
	return rates, nil
}

// compare holds the lane in the middle against the mean of the two beside it, which are alike, and these against each
// other: within each round, as what else the machine does changes from round to round.
func compare(rates [][]float64) (ratio, noise spread) {
	var ratios, noises []float64
	for round := range rates[0] {
		c := column(rates, round)
		ratios = append(ratios, 2*c[1]/(c[0]+c[2]))
		noises = append(noises, c[0]/c[2])
	}
	return spreadOf(ratios), spreadOf(noises)
}

// A spread is the median of ratios, the half of them nearest to it, and their geometric mean with
// what it may be wrong by: two standard errors, as a factor. Rates of TCP come in two kinds, by how it has found its beat,
// so that the median of a few rounds says which kind was more frequent.
type spread struct{ low, middle, high, mean, wrong float64 }

func spreadOf(v []float64) spread {
	v = slices.Sorted(slices.Values(v))
	n := float64(len(v))
	var sum, squares float64
	for _, x := range v {
		sum += math.Log(x)
	}
	for _, x := range v {
		squares += (math.Log(x) - sum/n) * (math.Log(x) - sum/n)
	}
	return spread{
		low: v[len(v)/4], middle: v[len(v)/2], high: v[(3*len(v)-1)/4],
		mean: math.Exp(sum / n), wrong: 2 * math.Sqrt(squares/max(n-1, 1)/n),
	}
}

func (s spread) String() string {
	return fmt.Sprintf("%.3f ± %.3f [%.2f–%.2f]", s.mean, s.mean*s.wrong, s.low, s.high)
}

// column is one round of all lanes.
func column(rates [][]float64, round int) (out []float64) {
	for _, r := range rates {
		out = append(out, r[round])
	}
	return out
}

// wireguardGo builds wireguard-go in a folder of its own.
func wireguardGo(ctx context.Context) (program string, err error) {
	dir, err := os.MkdirTemp("", "warren-bench-")
	if err != nil {
		return "", err
	}
	program = filepath.Join(dir, "wireguard-go")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "golang.zx2c4.com/wireguard")
	if out, err := build.CombinedOutput(); err != nil {
		removeAll(dir)
		return "", fmt.Errorf("build wireguard-go: %v: %s", err, out)
	}
	return program, nil
}

// startPlain runs wireguard-go on a host until ctx ends.
func startPlain(ctx context.Context, h *lab.Host, program string) error {
	plain := h.Command(ctx, program, "--foreground", plainName)
	// A session of its own, as every service has: the scheduler shares processors out among sessions.
	plain.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return plain.Start()
}

// kernelLink makes the interface that ip link add makes.
func kernelLink(_ context.Context, h *lab.Host) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = plainName
	return h.Do(func() error { return netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs}) })
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// plainTunnel joins two hosts until ctx ends, and gives the address of the second one in the tunnel.
func plainTunnel(
	ctx context.Context, from, to *lab.Host, start func(context.Context, *lab.Host) error,
) (netip.Addr, error) {
	var keys [2]wgtypes.Key
	for i := range keys {
		var err error
		if keys[i], err = wgtypes.GeneratePrivateKey(); err != nil {
			return netip.Addr{}, err
		}
	}
	hosts := [2]*lab.Host{from, to}
	for i, h := range hosts {
		if err := start(ctx, h); err != nil {
			return netip.Addr{}, fmt.Errorf("plain tunnel on %s: %v", h.Name(), err)
		}
		other := hosts[1-i]
		address := net.IPNet{IP: net.IPv4(10, 99, 0, byte(i+1)), Mask: net.CIDRMask(24, 32)}
		err := retry(5*time.Second, func() error {
			return h.Do(func() error { return plainSide(keys[i], keys[1-i].PublicKey(), other.IPv4(), address) })
		})
		if err != nil {
			return netip.Addr{}, fmt.Errorf("plain tunnel on %s: %v", h.Name(), err)
		}
	}
	return netip.AddrFrom4([4]byte{10, 99, 0, 2}), nil
}

// plainSide does what wg set and ip would do.
func plainSide(private, other wgtypes.Key, at netip.Addr, address net.IPNet) error {
	wg, err := wgctrl.New()
	if err != nil {
		return err
	}
	defer wg.Close()
	port := plainPort
	if err := wg.ConfigureDevice(plainName, wgtypes.Config{
		PrivateKey: &private, ListenPort: &port,
		Peers: []wgtypes.PeerConfig{{
			PublicKey: other, Endpoint: net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, plainPort)), ReplaceAllowedIPs: true,
			AllowedIPs: []net.IPNet{{IP: net.IPv4(10, 99, 0, 0), Mask: net.CIDRMask(24, 32)}},
		}},
	}); err != nil {
		return err
	}
	link, err := netlink.LinkByName(plainName)
	if err != nil {
		return err
	}
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: &address}); err != nil {
		return err
	}
	if err := netlink.LinkSetMTU(link, plainMTU); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// retry tries again, at short intervals, what needs something else to be ready.
func retry(within time.Duration, f func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := f()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-time.After(20 * time.Millisecond)
	}
}

// stream sends for a while and gives the rate at which the other host received, in Mbit/s.
func stream(from, to *lab.Host, addr netip.Addr, during time.Duration) (float64, error) {
	var l net.Listener
	if err := to.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
		return err
	}); err != nil {
		return 0, err
	}
	defer l.Close()
	received := make(chan float64, 1)
	go func() {
		defer close(received)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		start := time.Now()
		n, err := io.Copy(io.Discard, conn)
		if err == nil {
			received <- float64(n) * 8 / 1e6 / time.Since(start).Seconds()
		}
	}()
	var conn net.Conn
	if err := from.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", l.Addr().String(), 10*time.Second)
		return err
	}); err != nil {
		return 0, err
	}
	chunk := make([]byte, 256<<10)
	for end := time.Now().Add(during); time.Now().Before(end); {
		if _, err := conn.Write(chunk); err != nil {
			return 0, err
		}
	}
	if err := conn.Close(); err != nil {
		return 0, err
	}
	rate, ok := <-received
	if !ok {
		return 0, fmt.Errorf("the stream broke")
	}
	return rate, nil
}
