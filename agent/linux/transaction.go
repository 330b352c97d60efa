package linux

import (
	"fmt"
	"io"
	"slices"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A transaction is what nftables shall do at once. The library would ask for an answer to each of its messages, have
// each rule sent back, and read all that one by one: for a large table, ten times as long as the kernel takes to make
// it. So it only composes here; what it has composed is sent with one answer asked for, to the last message. What the
// kernel refuses, it says unasked.
type transaction struct {
	*nftables.Conn
	messages []netlink.Message
	sets     uint32 // that were made here and not by the library
}

func newTransaction() (*transaction, error) {
	t := &transaction{}
	conn, err := nftables.New(nftables.WithTestDial(func(batch []netlink.Message) ([]netlink.Message, error) {
		if batch == nil {
			return nil, io.EOF // a question for answers
		}
		t.messages = append(t.messages, batch[1:len(batch)-1]...) // without the marks of where it begins and ends
		return nil, nil
	}))
	t.Conn = conn
	return t, err
}

// commit sends the transaction, and gives the first thing that the kernel does not like. Then nothing has changed, and
// the socket may have more to tell.
func (t *transaction) commit(socket *netlink.Conn) error {
	if err := t.Flush(); err != nil {
		return err
	}
	if len(t.messages) == 0 {
		return nil
	}
	first, end := border(unix.NFNL_MSG_BATCH_BEGIN), border(unix.NFNL_MSG_BATCH_END)
	all := slices.Concat([]netlink.Message{first}, t.messages, []netlink.Message{end})
	last := len(all) - 2
	for i := range all {
		h := &all[i].Header
		h.Flags &^= netlink.Acknowledge | unix.NLM_F_ECHO
		h.Sequence, h.PID = 0, 0 // the socket's own
		if i == last {
			h.Flags |= netlink.Acknowledge
		}
	}
	if _, err := socket.SendMessages(all); err != nil {
		return fmt.Errorf("write to nftables: %w", err)
	}
	if _, err := socket.Receive(); err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	return nil
}

// border is where a transaction begins or ends (linux/netfilter/nfnetlink.h).
func border(kind uint16) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request},
		Data:   []byte{0, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES},
	}
}
