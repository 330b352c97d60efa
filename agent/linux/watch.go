package linux

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

const (
	settle      = 50 * time.Millisecond // a burst of events becomes one
	resubscribe = time.Second
	eventBuffer = 1 << 20
)

// Watch tells when something of ours may have changed, or something of others that bears on it: links,
// addresses, routes, reverse path filters, rules. A burst of changes is one event; changes by Apply are
// events like others. Events that the kernel had to drop are one event, too. The channel is closed when ctx
// ends.
func (k *Kernel) Watch(ctx context.Context) (<-chan struct{}, error) {
	links, err := subscribe(network)
	if err != nil {
		return nil, fmt.Errorf("watch the network: %v", err)
	}
	raw, out := make(chan struct{}, 1), make(chan struct{}, 1)
	go k.listen(ctx, links, raw)
	if rules, err := subscribe(ruleset); err == nil { // else there are no rules
		go k.listen(ctx, rules, raw)
	}
	go coalesce(ctx, raw, out)
	return out, nil
}

// A topic is a kind of events.
type topic int

const (
	network topic = iota
	ruleset
)

// A subscription is where events of one topic come in.
type subscription struct {
	*nl.NetlinkSocket
	topic topic
}

func subscribe(t topic) (*subscription, error) {
	protocol, groups := unix.NETLINK_ROUTE, []uint{
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE,
		unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_NETCONF,
	}
	if t == ruleset {
		protocol, groups = unix.NETLINK_NETFILTER, []uint{unix.NFNLGRP_NFTABLES}
	}
	socket, err := nl.Subscribe(protocol, groups...)
	if err != nil {
		return nil, err
	}
	sub := &subscription{socket, t}
	if sub.SetReceiveBufferSize(eventBuffer, true) != nil {
		// Beyond the limit only with CAP_NET_ADMIN of the whole machine; what overflows is an event.
		_ = sub.SetReceiveBufferSize(eventBuffer, false)
	}
	return sub, nil
}

// listen passes on events until ctx ends. It subscribes again where the subscription breaks.
func (k *Kernel) listen(ctx context.Context, sub *subscription, raw chan<- struct{}) {
	about := sub.topic
	for {
		stop := context.AfterFunc(ctx, sub.Close)
		if about == network {
			k.routing.listened(true)
		}
		err := k.receive(sub, raw)
		if about == network {
			k.routing.listened(false)
		}
		if stop() {
			sub.Close()
		}
		if ctx.Err() != nil {
			return
		}
		k.log.Warn("watching the network was interrupted", "error", err)
		for sub = nil; sub == nil; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(resubscribe):
			}
			sub, _ = subscribe(about) // tried until it works
		}
		wake(raw)
	}
}

// receive returns when the subscription is of no more use.
func (k *Kernel) receive(sub *subscription, raw chan<- struct{}) error {
	for {
		messages, _, err := sub.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			k.ways.changes.Add(1)
			k.routing.heard()
			wake(raw) // events were dropped: something has changed
			continue
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return err
		}
		for i := range messages {
			if sub.topic == network {
				k.routing.heard()
			}
			if sub.topic == network && bearsOnWays(&messages[i]) {
				k.ways.changes.Add(1)
			}
			if sub.concerns(&messages[i]) {
				wake(raw)
			}
		}
	}
}

func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// coalesce makes one event of all that come within a moment.
func coalesce(ctx context.Context, raw <-chan struct{}, out chan<- struct{}) {
	defer close(out)
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		select {
		case <-ctx.Done():
			return
		case <-raw:
		}
		timer.Reset(settle)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		select {
		case <-raw:
		default:
		}
		wake(out)
	}
}

// bearsOnWays says whether an event may change the ways to endpoints: all about routes and links but ours.
func bearsOnWays(m *syscall.NetlinkMessage) bool {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return len(m.Data) < unix.SizeofIfInfomsg ||
			!isOurName(textOf(attribute(m.Data[unix.SizeofIfInfomsg:], unix.IFLA_IFNAME)))
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return len(m.Data) < unix.SizeofRtMsg || nl.DeserializeRtMsg(m.Data).Protocol != peers.RouteProtocol
	}
	return false
}

// isOurName says whether a link of a name is ours, or at least in our way.
func isOurName(name string) bool { return strings.HasPrefix(name, "wrn") }

// What the kernel tells of settings (linux/netconf.h): a message of one byte and padding, then attributes,
// of which rp_filter is one.
const (
	sizeofNetconf = 4
	netconfFilter = 3
)

// concerns says whether an event can bear on what we have or may have. What is too short to be understood
// does, to be safe.
func (s *subscription) concerns(m *syscall.NetlinkMessage) bool {
	if s.topic == ruleset {
		if len(m.Data) < sizeofNfgenmsg {
			return true
		}
		table := tableOf(m.Data[sizeofNfgenmsg:])
		return table == peers.GuardTable || table == peers.DoubleTable
	}
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return len(m.Data) < unix.SizeofIfInfomsg || concernsLink(m)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return len(m.Data) < unix.SizeofIfAddrmsg || !local(m.Data[unix.SizeofIfAddrmsg:], unix.IFA_ADDRESS)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if len(m.Data) < unix.SizeofRtMsg {
			return true
		}
		about := nl.DeserializeRtMsg(m.Data)
		return about.Table == unix.RT_TABLE_MAIN && about.Flags&unix.RTM_F_CLONED == 0 && about.Dst_len > 0 &&
			!local(m.Data[unix.SizeofRtMsg:], unix.RTA_DST)
	case unix.RTM_NEWNETCONF:
		return len(m.Data) < sizeofNetconf || attribute(m.Data[sizeofNetconf:], netconfFilter) != nil
	}
	return false
}

// concernsLink looks at a link. Those of others matter as far as their routes come and go with them.
func concernsLink(m *syscall.NetlinkMessage) bool {
	about := nl.DeserializeIfInfomsg(m.Data)
	name := textOf(attribute(m.Data[unix.SizeofIfInfomsg:], unix.IFLA_IFNAME))
	return m.Header.Type == unix.RTM_DELLINK || isOurName(name) ||
		about.Change&(unix.IFF_UP|unix.IFF_RUNNING) != 0
}

// local says whether an attribute is an address that is only good on its link, as every link has some.
func local(row []byte, kind uint16) bool {
	addr, ok := netip.AddrFromSlice(attribute(row, kind))
	return ok && (addr.IsLinkLocalUnicast() || addr.IsMulticast())
}
