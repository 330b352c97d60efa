package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// A hold lets packets go on that wait in a queue of the kernel (linux/netfilter/nfnetlink_queue.h), each when it has
// waited for peers.HoldFor. They stay in the kernel: what comes here is a number for each. Without somebody who
// listens, packets do not wait, and those that do are dropped.
type hold struct {
	conn *netlink.Conn
	done chan struct{}
}

// Messages and attributes of a queue.
const (
	queuePacket, queueConfig, queueBatch    = 0, 2, 3
	configCommand, configParams, configMost = 1, 2, 3
	configMask, configFlags                 = 4, 5
	packetHeader, verdictHeader             = 1, 2
	commandBind, copyMeta                   = 1, 1
	accept                                  = 1
	failOpen, keepSegments                  = 1, 4 // what finds no room does not wait; large packets stay whole
)

// holdMost is how many packets may wait at a time.
const holdMost = 16384

// openHold makes this process the one that listens to the queue.
func openHold() (*hold, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open the queue of second copies: %v", err)
	}
	_ = conn.SetReadBuffer(8 << 20)             // what does not fit does not wait
	_ = conn.SetOption(netlink.NoENOBUFS, true) // and is no error
	big := binary.BigEndian.AppendUint32
	for _, a := range [][]netlink.Attribute{
		{{Type: configCommand, Data: []byte{commandBind, 0, 0, 0}}},
		{
			{Type: configParams, Data: append(big(nil, 0), copyMeta)},
			{Type: configMost, Data: big(nil, holdMost)},
			{Type: configMask, Data: big(nil, failOpen|keepSegments)},
			{Type: configFlags, Data: big(nil, failOpen|keepSegments)},
		},
	} {
		m, err := queueMessage(queueConfig, netlink.Request|netlink.Acknowledge, a...)
		if err == nil {
			_, err = conn.Execute(m)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen to queue %d of second copies: %w", peers.HoldQueue, err), conn.Close())
		}
	}
	h := &hold{conn: conn, done: make(chan struct{})}
	go h.run()
	return h, nil
}

func queueMessage(kind int, flags netlink.HeaderFlags, attributes ...netlink.Attribute) (netlink.Message, error) {
	data, err := netlink.MarshalAttributes(attributes)
	head := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, peers.HoldQueue)
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_QUEUE<<8 | kind), Flags: flags}, Data: append(head, data...),
	}, err
}

// close ends it. What waits is dropped.
func (h *hold) close() {
	_ = h.conn.Close() // it may be closed already
	<-h.done
}

// A waiter is a packet, and with it those before it.
type waiter struct {
	id    uint32
	until time.Time
}

// grain is how exact times of waiting are: packets that come within it go on together.
const grain = time.Millisecond

// run lets packets go on, until the socket is closed or of no use: then it is closed, so that none waits in vain.
func (h *hold) run() {
	defer close(h.done)
	defer func() { _ = h.conn.Close() }()
	var waiting []waiter
	for {
		next := time.Time{}
		if len(waiting) > 0 {
			next = waiting[0].until
		}
		if h.conn.SetReadDeadline(next) != nil {
			return
		}
		messages, err := h.conn.Receive()
		// A flush of somebody's rules empties the queue: then there is nothing to let go.
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, unix.ENOENT) {
			return
		}
		now := time.Now()
		for _, m := range messages {
			if id, ok := packetOf(m); ok {
				waiting = wait(waiting, waiter{id, now.Add(peers.HoldFor)})
			}
		}
		due := 0
		for due < len(waiting) && !waiting[due].until.After(now) {
			due++
		}
		if due > 0 {
			h.release(waiting[due-1].id)
			waiting = waiting[due:]
		}
	}
}

// wait puts a packet behind those that wait.
func wait(waiting []waiter, w waiter) []waiter {
	if n := len(waiting); n > 1 && w.until.Sub(waiting[n-2].until) < grain {
		waiting[n-1] = w
		return waiting
	}
	return append(waiting, w)
}

// packetOf is the number of the packet that a message tells of.
func packetOf(m netlink.Message) (id uint32, ok bool) {
	if m.Header.Type != unix.NFNL_SUBSYS_QUEUE<<8|queuePacket || len(m.Data) < sizeofNfgenmsg {
		return 0, false
	}
	head := attribute(m.Data[sizeofNfgenmsg:], packetHeader)
	if len(head) < 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(head), true
}

// release lets a packet go on, and all before it.
func (h *hold) release(id uint32) {
	verdict := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, accept), id)
	if m, err := queueMessage(queueBatch, netlink.Request, netlink.Attribute{Type: verdictHeader, Data: verdict}); err == nil {
		_, _ = h.conn.Send(m) // where it fails, the next one lets these go, too
	}
}

// endHold has nobody listen any more.
func (g *guard) endHold() {
	if g.hold != nil {
		g.hold.close()
		g.hold = nil
	}
}

// holders are the ways to say in a rule that a packet waits, where somebody listens: with nf_tables itself, and with what
// there is of iptables. Not all kernels have both.
func holders() []expr.Any {
	info := make(xt.Unknown, 8) // struct xt_NFQ_info_v3: the queue, how many there are, pass without a listener
	for i, v := range []uint16{peers.HoldQueue, 1, 1} {
		binary.NativeEndian.PutUint16(info[2*i:], v)
	}
	return []expr.Any{
		&expr.Queue{Num: peers.HoldQueue, Total: 1, Flag: expr.QueueFlagBypass},
		&expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info},
	}
}
