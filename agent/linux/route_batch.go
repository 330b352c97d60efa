package linux

import (
	"errors"
	"fmt"

	nl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// batchRoutes is how many routes go to the kernel in one system call.
const batchRoutes = 128

// setRoutes sets routes over one link, many with each system call: a mesh of thousands of prefixes is most of all
// thousands of routes.
func (k *Kernel) setRoutes(link string, steps []peers.Step) error {
	index := 0
	if link != "" {
		there, _, err := k.ours(link)
		if err != nil {
			return err
		}
		index = there.Attrs().Index
	}
	for len(steps) > 0 {
		n := min(len(steps), batchRoutes)
		messages := make([]nl.Message, 0, n+1)
		for _, s := range steps[:n] {
			set, ok := s.(peers.SetRoute)
			if !ok {
				return fmt.Errorf("%T among routes", s)
			}
			m, err := routeMessage(set.Route, index)
			if err != nil {
				return err
			}
			messages = append(messages, m)
		}
		k.writes.Add(uint64(n))
		if err := k.exchange(messages); err != nil {
			return explain(err)
		}
		steps = steps[n:]
	}
	return nil
}

// routeMessage asks the kernel to add a route of ours, or to put it in the place of ours to the same prefix.
func routeMessage(r peers.Route, index int) (nl.Message, error) {
	route := routeTo(r)
	family, bits := uint8(unix.AF_INET), uint8(r.Prefix.Bits())
	if r.Prefix.Addr().Is6() {
		family = unix.AF_INET6
	}
	attributes := nl.NewAttributeEncoder()
	attributes.Bytes(unix.RTA_DST, r.Prefix.Addr().AsSlice())
	if r.Source.IsValid() {
		attributes.Bytes(unix.RTA_PREFSRC, r.Source.AsSlice())
	}
	if index != 0 {
		attributes.Uint32(unix.RTA_OIF, uint32(index))
	}
	attributes.Uint32(unix.RTA_PRIORITY, uint32(route.Priority))
	if route.MTU != 0 {
		attributes.Nested(unix.RTA_METRICS, func(metrics *nl.AttributeEncoder) error {
			metrics.Uint32(unix.RTAX_MTU, uint32(route.MTU))
			if route.MTULock {
				metrics.Uint32(unix.RTAX_LOCK, 1<<unix.RTAX_MTU)
			}
			return nil
		})
	}
	tail, err := attributes.Encode()
	if err != nil {
		return nl.Message{}, fmt.Errorf("encode the route to %v: %v", r.Prefix, err)
	}
	// struct rtmsg, rtnetlink(7): family, dst_len, src_len, tos, table, protocol, scope, type, flags.
	head := []byte{
		family, bits, 0, 0, unix.RT_TABLE_MAIN, uint8(route.Protocol), uint8(route.Scope), uint8(route.Type), 0, 0, 0, 0,
	}
	return nl.Message{
		Header: nl.Header{Type: unix.RTM_NEWROUTE, Flags: nl.Request | nl.Create | nl.Replace},
		Data:   append(head, tail...),
	}, nil
}

// exchange sends messages that set something and gives the first reason why one was refused. The kernel answers
// those that it refuses, in their order, and the one at the end, which asks for nothing and is never refused.
func (k *Kernel) exchange(messages []nl.Message) error {
	end := nl.Message{Header: nl.Header{Type: nl.Noop, Flags: nl.Request | nl.Acknowledge}}
	if _, err := k.bulk.SendMessages(append(messages, end)); err != nil {
		return fmt.Errorf("send to the kernel: %v", err)
	}
	var refused error
	for range len(messages) + 1 {
		_, err := k.bulk.Receive()
		if err == nil {
			return refused
		}
		if refused == nil {
			refused = err
			if about, ok := errors.AsType[*nl.OpError](err); ok {
				refused = about.Err
			}
		}
	}
	return refused
}
