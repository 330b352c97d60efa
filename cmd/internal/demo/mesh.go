package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/warren-mesh/warren/peers/wire"
)

// patience is how long hosts that have enrolled may take to reach each other: several times what WireGuard takes to
// repeat a handshake.
const patience = 20 * time.Second

// awaitTunnels waits until every host says that it reaches every other one.
func (d *demo) awaitTunnels(ctx context.Context) error {
	d.options.Progress("waiting for a tunnel between every two gateways")
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		mesh, err := d.look(ctx)
		if err != nil {
			return err
		}
		d.report.Mesh = mesh
		up, all := tunnels(d.report.Mesh)
		if up == all {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d tunnel ends are up after %v: %w", up, all, patience, ctx.Err())
		}
	}
}

// tunnels counts the ends of tunnels between these hosts that are up, and those that there should be.
func tunnels(mesh []wire.Status) (up, all int) {
	here := map[string]bool{}
	for _, host := range mesh {
		here[host.Host] = true
	}
	for _, host := range mesh {
		for _, peer := range host.Peers {
			if peer.State == wire.PeerUp && here[peer.Host] {
				up++
			}
		}
	}
	return up, len(mesh) * (len(mesh) - 1)
}

// look asks every host that lives for its status, through the CLI.
func (d *demo) look(ctx context.Context) ([]wire.Status, error) {
	mesh := make([]wire.Status, 0, len(d.mesh.Members()))
	for _, host := range d.mesh.Members() {
		if host.Name() == d.dead {
			continue
		}
		status, err := d.statusOf(ctx, host.Name())
		if err != nil {
			return nil, fmt.Errorf("`warren status -o json` on %s: %v", host.Name(), err)
		}
		mesh = append(mesh, status)
		d.status[host.Name()] = status
	}
	return mesh, nil
}

// statusOf returns what `warren status` prints. Its exit code tells how the host is, which is in the JSON as well.
func (d *demo) statusOf(ctx context.Context, host string) (status wire.Status, err error) {
	command := d.mesh.Warren(ctx, host, "status", "-o", "json")
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	ran := command.Run()
	if err := json.Unmarshal(stdout.Bytes(), &status); err != nil {
		return status, errors.Join(ran, fmt.Errorf("%v: %s%s", err, stdout.Bytes(), stderr.Bytes()))
	}
	if !status.Address.IsValid() {
		return status, fmt.Errorf("the host has no address: %s", stdout.Bytes())
	}
	return status, nil
}
