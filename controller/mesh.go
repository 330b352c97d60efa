package controller

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// Mesh is what holds for all hosts.
func (c *Controller) Mesh() wire.MeshView { return c.meshView(c.Inventory()) }

func (c *Controller) meshView(inv *peers.Inventory) wire.MeshView {
	m := &inv.Mesh
	return wire.MeshView{
		ID: m.ID, Name: m.Name, Overlay: m.Overlay, Overlay6: m.Overlay6, MTU: m.MTU, Keepalive: m.Keepalive,
		Grace:   int(m.GraceTime() / time.Second),
		Created: m.Created, Revision: inv.Revision, Head: inv.Head, Generations: m.Generations,
		Pin: c.Identity().Identity(), NextPin: c.nextPin(inv), Controllers: append([]string{}, c.settings.Advertise...),
		Version: c.settings.Version, Hosts: len(inv.Hosts), Online: len(c.sessions.ids()),
		Pending: c.pendingView(inv),
	}
}

// SetMesh changes settings of the mesh.
func (c *Controller) SetMesh(ctx context.Context, by string, s wire.MeshSettings) (wire.MeshView, error) {
	inv, err := c.change(ctx, by, s.Why, func(*peers.Inventory) (peers.Op, error) {
		return within(peers.SetMesh{MTU: s.MTU, Keepalive: s.Keepalive, Grace: s.Grace}, s.Within), nil
	})
	if err != nil {
		return wire.MeshView{}, err
	}
	return c.meshView(inv), nil
}

// Admins are those who administer the mesh from elsewhere.
func (c *Controller) Admins() []wire.AdminView {
	admins := slices.SortedFunc(maps.Values(c.Inventory().Admins), func(a, b *peers.Admin) int {
		return strings.Compare(a.Name, b.Name)
	})
	views := make([]wire.AdminView, 0, len(admins))
	for _, a := range admins {
		views = append(views, wire.AdminView{Name: a.Name, Identity: a.Identity, Added: a.Added})
	}
	return views
}

// AddAdmin lets somebody administer the mesh from elsewhere.
func (c *Controller) AddAdmin(ctx context.Context, by string, a wire.AdminView) (wire.AdminView, error) {
	inv, err := c.change(ctx, by, "", func(*peers.Inventory) (peers.Op, error) {
		return peers.AddAdmin{Name: a.Name, Identity: a.Identity}, nil
	})
	if err != nil {
		return wire.AdminView{}, err
	}
	a.Added = inv.Admins[a.Name].Added
	return a, nil
}

// RemoveAdmin takes that back.
func (c *Controller) RemoveAdmin(ctx context.Context, by, name string) error {
	_, err := c.change(ctx, by, "", func(*peers.Inventory) (peers.Op, error) {
		return peers.RemoveAdmin{Name: name}, nil
	})
	return err
}

// AdminWith finds the admin with an identity.
func (c *Controller) AdminWith(id key.Identity) (string, bool) {
	if a, ok := c.Inventory().AdminWith(id); ok {
		return a.Name, true
	}
	return "", false
}
