package linux

import (
	"context"
	"errors"
	"fmt"

	"github.com/warren-mesh/warren/peers"
)

// Apply carries out steps in their order. What fails is reported, with the step, and the rest goes on,
// without what needed it. To remove what is not there is no failure, and, as WireGuard has it, neither is
// a change to a peer that has gone.
func (k *Kernel) Apply(ctx context.Context, steps []peers.Step) error {
	clear(k.known)
	k.routing.forget() // what follows need not have come in as an event when somebody looks
	return apply(ctx, steps, k.do)
}

// do carries out one step, or several that go together.
func (k *Kernel) do(ctx context.Context, group []peers.Step) error {
	switch s := group[0].(type) {
	case peers.AddLink:
		return k.addLink(ctx, s)
	case peers.SetDevice:
		return k.setDevice(s)
	case peers.SetLink:
		return k.setLink(s)
	case peers.SetRPFilter:
		return k.setRPFilter(s)
	case peers.AddAddress:
		return k.addAddress(s)
	case peers.SetPeer, peers.DelPeer:
		return k.setPeers(linkOf(s), group)
	case peers.SetRoute:
		if len(group) > 1 {
			return k.setRoutes(s.Route.Link, group)
		}
		return k.setRoute(s)
	case peers.DelRoute:
		return k.delRoute(s)
	case peers.DelAddress:
		return k.delAddress(s)
	case peers.DelLink:
		return k.delLink(ctx, s)
	}
	return k.doBeside(group[0])
}

// doBeside carries out a step about what is not on our links: rules, and what gateways have on others' links.
func (k *Kernel) doBeside(step peers.Step) error {
	switch s := step.(type) {
	case peers.SetForwarding:
		return k.setForwarding(s)
	case peers.RestoreRedirects:
		return k.restoreRedirects()
	case peers.SetGuard:
		return k.setGuard(s.Guard)
	case peers.DelGuard:
		return k.delGuard()
	case peers.SetDoubling:
		return k.setDoubling(s)
	case peers.SetVirtual:
		return k.setVirtual(s)
	case peers.DelVirtual:
		return k.delVirtual(s)
	}
	return fmt.Errorf("unknown step %T", step)
}

// apply carries out steps with do, which gets one step, or several in a row that go together.
func apply(ctx context.Context, steps []peers.Step, do func(context.Context, []peers.Step) error) error {
	var failed []error
	dead := map[string]bool{}
	try := func(group []peers.Step) bool {
		link := linkOf(group[0])
		if link != "" && dead[link] {
			return true // the reason is given already
		}
		err := do(ctx, group)
		broken := errors.As(err, new(*linkError))
		dead[link] = dead[link] || broken
		if err != nil && (len(group) == 1 || broken) {
			failed = append(failed, fmt.Errorf("%v: %w", group[0], err))
		}
		return err == nil || len(group) == 1 || broken
	}
	for len(steps) > 0 {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(failed, fmt.Errorf("%d steps not taken: %w", len(steps), err))...)
		}
		n := together(steps)
		if !try(steps[:n]) {
			// One of several failed: which one, and the others again, which does no harm.
			for i := range n {
				try(steps[i : i+1])
			}
		}
		steps = steps[n:]
	}
	return errors.Join(failed...)
}

// together counts the steps at the beginning that go into one call: those about peers of one link, or those that
// set routes over one.
func together(steps []peers.Step) int {
	n := 1
	for kindOf(steps[0]) != alone && n < len(steps) && kindOf(steps[n]) == kindOf(steps[0]) && linkOf(steps[n]) == linkOf(steps[0]) {
		n++
	}
	return n
}

// A kind says which steps may go together.
type kind int

const (
	alone kind = iota
	aboutPeer
	aboutRoute
)

func kindOf(s peers.Step) kind {
	switch s.(type) {
	case peers.SetPeer, peers.DelPeer:
		return aboutPeer
	case peers.SetRoute:
		return aboutRoute
	}
	return alone
}

// linkOf is the link that a step needs, empty for none.
func linkOf(s peers.Step) string {
	switch s := s.(type) {
	case peers.AddLink:
		return s.Name
	case peers.SetDevice:
		return s.Link
	case peers.SetLink:
		return s.Name
	case peers.SetRPFilter:
		return s.Link
	case peers.AddAddress:
		return s.Link
	case peers.SetPeer:
		return s.Link
	case peers.DelPeer:
		return s.Link
	case peers.SetRoute:
		return s.Route.Link
	case peers.DelRoute:
		return s.Route.Link
	case peers.DelAddress:
		return s.Link
	case peers.DelLink:
		return s.Name
	}
	return ""
}
