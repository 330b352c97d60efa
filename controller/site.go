package controller

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// Sites are all sites, by name.
func (c *Controller) Sites() []wire.SiteView {
	inv := c.Inventory()
	out := make([]wire.SiteView, 0, len(inv.Sites))
	for _, name := range slices.Sorted(maps.Keys(inv.Sites)) {
		out = append(out, siteView(inv, name))
	}
	return out
}

func siteUnknown(name string) *wire.Fault {
	return wire.NewFault(404, "site-unknown", fmt.Sprintf("there is no site %.80q", name), "warren site ls")
}

// siteView is a site that is there.
func siteView(inv *peers.Inventory, name string) wire.SiteView {
	s := inv.Sites[name]
	v := wire.SiteView{
		Name: name, Prefixes: []wire.SiteNetwork{}, Gateways: append([]string{}, s.Gateways...), Hosts: []string{}, Virtual: s.Virtual,
		Virtual6: s.Virtual6, LANCheck: append([]netip.Addr{}, s.LANCheck...),
	}
	for _, p := range s.Prefixes {
		v.Prefixes = append(v.Prefixes, wire.SiteNetwork{Prefix: p.Prefix, As: p.As, SNAT: p.SNAT})
	}
	for _, h := range inv.SortedHosts() {
		if h.Site == name {
			v.Hosts = append(v.Hosts, h.Name)
		}
	}
	return v
}

// AddSite gives a site its networks and gateways for the first time. That there is one already, made with a
// token, is fine as long as it has neither.
func (c *Controller) AddSite(ctx context.Context, by string, order wire.SiteOrder) (wire.SiteResult, error) {
	return c.orderSite(ctx, by, order, func(inv *peers.Inventory) (peers.SetSite, error) {
		if s := inv.Sites[order.Name]; s != nil && len(s.Prefixes)+len(s.Gateways) > 0 {
			return peers.SetSite{}, wire.NewFault(409, "site-exists", fmt.Sprintf("there is a site %q already", order.Name),
				"change it: warren site set "+order.Name)
		}
		return peers.SetSite{Name: order.Name}, nil
	})
}

// SetSite changes a site.
func (c *Controller) SetSite(ctx context.Context, by string, order wire.SiteOrder) (wire.SiteResult, error) {
	return c.orderSite(ctx, by, order, func(inv *peers.Inventory) (peers.SetSite, error) {
		s := inv.Sites[order.Name]
		if s == nil {
			return peers.SetSite{}, siteUnknown(order.Name)
		}
		op := peers.SetSite(*s)
		op.Prefixes = slices.Clone(s.Prefixes)
		return op, nil
	})
}

// RemoveSite removes a site that nobody uses, or only tells what would come of it.
func (c *Controller) RemoveSite(ctx context.Context, by string, order wire.SiteRemovalOrder) (wire.SiteRemoval, error) {
	_, p, err := c.changeOrTry(ctx, by, order.Why, order.DryRun, func(inv *peers.Inventory) (peers.Op, error) {
		if inv.Sites[order.Name] == nil {
			return nil, siteUnknown(order.Name)
		}
		return within(peers.RemoveSite{Name: order.Name}, order.Within), nil
	})
	if err != nil {
		return wire.SiteRemoval{}, err
	}
	return wire.SiteRemoval{Removed: order.Name, Applied: !order.DryRun, Consequences: p}, nil
}

// orderSite changes what a site was, or only tells what would come of it.
func (c *Controller) orderSite(
	ctx context.Context, by string, order wire.SiteOrder, was func(*peers.Inventory) (peers.SetSite, error),
) (wire.SiteResult, error) {
	var warnings []peers.Problem
	after, p, err := c.changeOrTry(ctx, by, order.Why, order.DryRun, func(inv *peers.Inventory) (peers.Op, error) {
		op, err := was(inv)
		if err == nil {
			op, err = amend(op, order)
		}
		if err == nil {
			warnings, err = c.checkReach(op)
		}
		return within(op, order.Within), err
	})
	if err != nil {
		return wire.SiteResult{}, err
	}
	if s := after.Sites[order.Name]; len(s.Prefixes) > 0 && len(s.Gateways) == 0 {
		warnings = append(warnings, peers.Problem{
			Code: "site-no-gateway", At: "site/" + s.Name, Message: "nobody forwards for the networks of the site, so nobody reaches them",
			Hint: "warren site set " + s.Name + " --gateway HOST",
		})
	}
	return wire.SiteResult{
		Applied: !order.DryRun, Revision: p.Revision, Site: siteView(after, order.Name), Flows: p.Flows, Hosts: p.Hosts,
		CutOff: p.CutOff, Warnings: append([]peers.Problem{}, warnings...), Pending: p.Pending,
	}, nil
}

// amend changes a site as it is ordered.
func amend(op peers.SetSite, order wire.SiteOrder) (peers.SetSite, error) {
	for i, p := range order.Remove {
		at := slices.IndexFunc(op.Prefixes, func(have peers.SitePrefix) bool { return have.Prefix == p || have.As == p })
		if at < 0 {
			return op, peers.Problems{{
				Code: "prefix-unknown", At: fmt.Sprintf("site/%s/remove/%d", op.Name, i),
				Message: fmt.Sprintf("site %q has no prefix %v", op.Name, p), Hint: "warren site show " + op.Name,
			}}
		}
		op.Prefixes = slices.Delete(op.Prefixes, at, at+1)
	}
	for _, n := range order.Prefixes {
		p := peers.SitePrefix{Prefix: n.Prefix, As: n.As, SNAT: n.SNAT}
		at := slices.IndexFunc(op.Prefixes, func(have peers.SitePrefix) bool { return have.Prefix == p.Prefix })
		if at < 0 {
			op.Prefixes = append(op.Prefixes, p)
		} else {
			op.Prefixes[at] = p
		}
	}
	if order.Gateways != nil {
		op.Gateways = order.Gateways
	}
	if order.LANCheck != nil {
		op.LANCheck = order.LANCheck
	}
	if order.NoVirt {
		op.Virtual, op.Virtual6 = netip.Addr{}, netip.Addr{}
	}
	if order.Virtual.IsValid() {
		op.Virtual = order.Virtual
	}
	if order.Virtual6.IsValid() {
		op.Virtual6 = order.Virtual6
	}
	return op, nil
}

// checkReach refuses a site that covers each address at which hosts find the controller: hosts elsewhere would ask
// for it in the tunnel alone, which they may need it for. That it covers some of them is worth a word.
func (c *Controller) checkReach(op peers.SetSite) (warnings []peers.Problem, err error) {
	var inside []netip.Addr
	outside := 0
	for _, at := range c.settings.Advertise {
		addr, errParse := netip.ParseAddrPort(at)
		covered := errParse == nil && slices.ContainsFunc(op.Prefixes, func(p peers.SitePrefix) bool {
			return p.Known().Contains(addr.Addr().Unmap())
		})
		if !covered {
			outside++
			continue
		}
		inside = append(inside, addr.Addr())
	}
	if len(inside) == 0 {
		return nil, nil
	}
	p := peers.Problem{
		Code: "controller-inside", At: "site/" + op.Name,
		Message: fmt.Sprintf("the controller is at %v, which the prefixes of site %q cover", inside, op.Name),
		Hint: "give the network an alias (--as), or the controller an address that hosts reach without a tunnel: " +
			"warren-controller run --advertise HOST:PORT",
	}
	if outside == 0 {
		return nil, peers.Problems{p}
	}
	p.Message += "; hosts elsewhere reach it there through the tunnel only, or at its other addresses"
	return []peers.Problem{p}, nil
}
