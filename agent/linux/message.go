package linux

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Attributes are those of a message, one behind the other (linux/netlink.h).
type attributes []byte

const attributeHeader = 4

// add adds one, filled up to four bytes.
func (a *attributes) add(kind uint16, value []byte) {
	*a = binary.NativeEndian.AppendUint16(*a, uint16(attributeHeader+len(value)))
	*a = binary.NativeEndian.AppendUint16(*a, kind)
	*a = append(*a, value...)
	for len(*a)%4 != 0 {
		*a = append(*a, 0)
	}
}

func (a *attributes) text(kind uint16, value string) { a.add(kind, append([]byte(value), 0)) }

func (a *attributes) number(kind uint16, value uint32) {
	a.add(kind, binary.BigEndian.AppendUint32(nil, value))
}

// within adds one that has others in it. They are at most 64 KB.
func (a *attributes) within(kind uint16, inner func()) {
	start := len(*a)
	a.add(kind|unix.NLA_F_NESTED, nil)
	inner()
	binary.NativeEndian.PutUint16((*a)[start:], uint16(len(*a)-start))
}

// raw adds a message to the transaction, behind those that the library has composed so far.
func (t *transaction) raw(kind uint16, flags netlink.HeaderFlags, body attributes) error {
	if err := t.Flush(); err != nil {
		return err
	}
	t.messages = append(t.messages, netlink.Message{
		Header: netlink.Header{
			Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: netlink.Request | netlink.Create | flags,
		},
		Data: append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, body...),
	})
	return nil
}

// addRule adds a rule at the end of a chain.
func (t *transaction) addRule(table *nftables.Table, chain, comment string, exprs []expr.Any) error {
	var a attributes
	a.text(unix.NFTA_RULE_TABLE, table.Name)
	a.text(unix.NFTA_RULE_CHAIN, chain)
	var err error
	a.within(unix.NFTA_RULE_EXPRESSIONS, func() {
		for _, e := range exprs {
			one, failed := marshal(e)
			if failed != nil {
				err = failed
			}
			a.add(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, one)
		}
	})
	a.add(unix.NFTA_RULE_USERDATA, userdata.AppendString(nil, userdata.TypeComment, comment))
	if err != nil {
		return err
	}
	return t.raw(unix.NFT_MSG_NEWRULE, netlink.Append, a)
}

// An encoded expression is one that the library does not know.
type encoded struct {
	expr.Any
	name string
	data attributes
}

func marshal(e expr.Any) ([]byte, error) {
	own, ok := e.(encoded)
	if !ok {
		return expr.Marshal(unix.NFPROTO_INET, e)
	}
	var a attributes
	a.text(unix.NFTA_EXPR_NAME, own.name)
	a.add(unix.NFTA_EXPR_DATA|unix.NLA_F_NESTED, own.data)
	return a, nil
}

// counting counts by the counter that a set has for the key in the register. A key that is not in it ends the rule.
func counting(s *set) encoded {
	e := encoded{name: "objref"}
	e.data.number(unix.NFTA_OBJREF_SET_SREG, unix.NFT_REG_1)
	e.data.text(unix.NFTA_OBJREF_SET_NAME, s.Name)
	e.data.number(unix.NFTA_OBJREF_SET_ID, s.ID)
	return e
}

// addSet adds a set with a name, and what is in it.
func (t *transaction) addSet(s *set) error {
	t.sets++
	s.ID = ownSets | t.sets
	flags := uint32(unix.NFT_SET_CONSTANT)
	var a attributes
	a.text(unix.NFTA_SET_TABLE, s.Table.Name)
	a.text(unix.NFTA_SET_NAME, s.Name)
	a.number(unix.NFTA_SET_KEY_TYPE, s.KeyType.GetNFTMagic())
	a.number(unix.NFTA_SET_KEY_LEN, s.KeyType.Bytes)
	a.number(unix.NFTA_SET_ID, s.ID)
	if s.Interval {
		flags |= unix.NFT_SET_INTERVAL
	}
	switch s.kind {
	case toChain:
		flags |= unix.NFT_SET_MAP
		a.number(unix.NFTA_SET_DATA_TYPE, unix.NFT_DATA_VERDICT)
		a.number(unix.NFTA_SET_DATA_LEN, nftables.TypeVerdict.Bytes)
	case toCounter:
		flags |= unix.NFT_SET_OBJECT
		a.number(unix.NFTA_SET_OBJ_TYPE, uint32(nftables.ObjTypeCounter))
	}
	a.number(unix.NFTA_SET_FLAGS, flags)
	a.within(unix.NFTA_SET_DESC, func() { a.number(unix.NFTA_SET_DESC_SIZE, uint32(len(s.elements))) })
	a.add(unix.NFTA_SET_USERDATA, userdata.AppendUint32(nil, userdata.NFTNL_UDATA_SET_KEYBYTEORDER, keyIsBigEndian))
	if err := t.raw(unix.NFT_MSG_NEWSET, 0, a); err != nil {
		return fmt.Errorf("set %s: %v", s.Name, err)
	}
	return t.addElements(s)
}

const (
	ownSets        = 1 << 31 // ids of the library's sets are smaller
	keyIsBigEndian = 2       // as nft(8) writes it for itself
	gotoChain      = 1<<32 + unix.NFT_GOTO
	// mostElements are as many bytes of elements as go into one message: less than an attribute can have, which is 64 KB.
	mostElements = 60_000
)

// addElements adds what is in a set, in as many messages as that takes.
func (t *transaction) addElements(s *set) error {
	for left := s.elements; len(left) > 0; {
		var a attributes
		a.text(unix.NFTA_SET_ELEM_LIST_TABLE, s.Table.Name)
		a.text(unix.NFTA_SET_ELEM_LIST_SET, s.Name)
		a.number(unix.NFTA_SET_ELEM_LIST_SET_ID, s.ID)
		a.within(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func() {
			for len(left) > 0 && len(a) < mostElements {
				a.within(unix.NFTA_LIST_ELEM, func() { s.element(&a, left[0]) })
				left = left[1:]
			}
		})
		if err := t.raw(unix.NFT_MSG_NEWSETELEM, 0, a); err != nil {
			return fmt.Errorf("elements of set %s: %v", s.Name, err)
		}
	}
	return nil
}

func (s *set) element(a *attributes, e element) {
	a.within(unix.NFTA_SET_ELEM_KEY, func() { a.add(unix.NFTA_DATA_VALUE, e.key) })
	switch {
	case e.end:
		a.number(unix.NFTA_SET_ELEM_FLAGS, unix.NFT_SET_ELEM_INTERVAL_END)
	case s.kind == toChain:
		a.within(unix.NFTA_SET_ELEM_DATA, func() {
			a.within(unix.NFTA_DATA_VERDICT, func() {
				a.number(unix.NFTA_VERDICT_CODE, gotoChain)
				a.text(unix.NFTA_VERDICT_CHAIN, e.to)
			})
		})
	case s.kind == toCounter:
		a.text(unix.NFTA_SET_ELEM_OBJREF, e.to)
	}
}
