package linux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// A guard is the way to our nftables table. Rules carry a mark in their comments: the digest of the guard,
// which of how many they are. From these alone follows whether the table is whole, whoever made it.
type guard struct {
	conn  *nftables.Conn           // reads what is not asked for often
	write *netlink.Conn            // writes
	ask   map[int]*nl.SocketHandle // reads
	fault error                    // why there is no way
	seen  peers.Table              // at the generation
	// doubled is what sends packets a second time, at the generation doubledAt.
	doubled   peers.Table
	doubledAt uint32
	hold      *hold        // lets second copies go on; nil where none wait
	laid      *peers.Guard // what the table was made of last, by this process or the one before; nil for nothing
	at        uint32       // generation of the ruleset, which every change of it counts up; 0 for none
}

// openGuard opens it. A kernel that has no nf_tables is found out by asking it.
func openGuard() *guard {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(roomy))
	if err != nil {
		return &guard{fault: err}
	}
	write, err := dialWrite()
	if err != nil {
		return &guard{fault: errors.Join(err, conn.CloseLasting())}
	}
	socket, err := nl.Subscribe(unix.NETLINK_NETFILTER)
	if err == nil {
		err = errors.Join(socket.SetSendTimeout(&nl.SocketTimeoutTv), socket.SetReceiveTimeout(&nl.SocketTimeoutTv))
	}
	if err != nil {
		return &guard{fault: errors.Join(err, write.Close(), conn.CloseLasting())}
	}
	return &guard{conn: conn, write: write, ask: map[int]*nl.SocketHandle{unix.NETLINK_NETFILTER: {Socket: socket}}}
}

func dialWrite() (*netlink.Conn, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	return c, roomy(c)
}

// maxTransaction is how many bytes one transaction may have: a table is made in one.
const maxTransaction = 32 << 20

// roomy lets a socket take a large transaction. A kernel that gives less room than that is told so by it.
func roomy(c *netlink.Conn) error {
	_ = c.SetWriteBuffer(maxTransaction) // what does not fit fails by itself
	_ = c.SetReadBuffer(maxTransaction)
	return nil
}

func (g *guard) close() error {
	if g.conn == nil {
		return nil
	}
	g.endHold()
	g.ask[unix.NETLINK_NETFILTER].Close()
	return errors.Join(g.write.Close(), g.conn.CloseLasting())
}

// table reads our table. While nobody changes any ruleset, that takes one short question.
func (g *guard) table() peers.Table {
	if g.fault != nil {
		return peers.Table{Fault: faultOf(g.fault)}
	}
	before, err := g.generation()
	if err != nil {
		return peers.Table{Fault: faultOf(err)}
	}
	if before != 0 && before == g.at {
		return g.seen
	}
	t, err := dump(g.read)
	if err != nil {
		return peers.Table{Fault: faultOf(err)}
	}
	if after, err := g.generation(); err == nil && after == before {
		g.at, g.seen = after, t
	}
	return t
}

// faultOf says why there can be no table.
func faultOf(err error) string {
	for _, missing := range []error{unix.EPROTONOSUPPORT, unix.EINVAL, unix.EOPNOTSUPP, unix.EAFNOSUPPORT} {
		if errors.Is(err, missing) {
			return "this kernel has no nf_tables"
		}
	}
	return fmt.Sprintf("nftables cannot be asked: %v", err)
}

// Parts of messages (linux/netfilter/nf_tables.h): after a header of four bytes come attributes, of which
// the first of all objects but generations is the name of their table.
const (
	sizeofNfgenmsg = 4
	tableDormant   = 1 // flag: the hooks are off
	policyAccept   = 1
)

// question makes a request for the objects of our table.
func question(kind, flags int, attributes ...*nl.RtAttr) *nl.NetlinkRequest {
	q := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags)
	q.AddData(&nl.Nfgenmsg{NfgenFamily: unix.NFPROTO_INET, Version: unix.NFNETLINK_V0})
	for _, a := range attributes {
		q.AddData(a)
	}
	return q
}

// answers asks the kernel, and gives the attributes of each answer.
func (g *guard) answers(q *nl.NetlinkRequest) ([][]byte, error) {
	q.Sockets = g.ask
	rows, err := q.Execute(unix.NETLINK_NETFILTER, 0)
	out := rows[:0]
	for _, row := range rows {
		if len(row) >= sizeofNfgenmsg {
			out = append(out, row[sizeofNfgenmsg:])
		}
	}
	return out, err
}

func (g *guard) generation() (uint32, error) {
	rows, err := g.answers(question(unix.NFT_MSG_GETGEN, 0))
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return number(attribute(rows[0], unix.NFTA_GEN_ID)), nil
}

// read reads the whole of our table.
func (g *guard) read() (peers.Table, error) {
	name := nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated(peers.GuardTable))
	tables, err := g.answers(question(unix.NFT_MSG_GETTABLE, 0, name))
	if errors.Is(err, unix.ENOENT) {
		return peers.Table{}, nil
	}
	if err != nil || len(tables) == 0 {
		return peers.Table{}, err
	}
	out := peers.Table{There: true}
	whole := number(attribute(tables[0], unix.NFTA_TABLE_FLAGS))&tableDormant == 0
	chains, err := g.answers(question(unix.NFT_MSG_GETCHAIN, unix.NLM_F_DUMP))
	if err != nil {
		return peers.Table{}, err
	}
	for _, c := range chains {
		policy := attribute(c, unix.NFTA_CHAIN_POLICY)
		if isGuard(c) && policy != nil && number(policy) != policyAccept {
			whole = false
		}
	}
	rules, err := g.answers(question(unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, name))
	if err != nil {
		return peers.Table{}, err
	}
	if digest, ok := digestOf(rules); ok && whole {
		out.Digest = digest
	}
	return out, nil
}

// isGuard says whether an object is in the table of our name.
func isGuard(row []byte) bool { return tableOf(row) == peers.GuardTable }

func tableOf(row []byte) string { return textOf(attribute(row, unix.NFTA_TABLE_NAME)) }

// digestOf holds the marks of rules against each other; false where one is missing, foreign or out of turn in its chain.
// Chains come in the order in which they were made, which is not that of the marks.
func digestOf(rules [][]byte) (digest string, ok bool) {
	last, count := map[string]int{}, 0
	seen := make(map[int]bool, len(rules))
	for _, r := range rules {
		if !isGuard(r) {
			continue // old kernels give those of all tables
		}
		text, _ := userdata.GetString(attribute(r, unix.NFTA_RULE_USERDATA), userdata.TypeComment)
		of, which, all := readMark(text)
		chain := textOf(attribute(r, unix.NFTA_RULE_CHAIN))
		if len(seen) == 0 {
			digest, count = of, all
		}
		if which == 0 || of != digest || all != count || seen[which] || which <= last[chain] {
			return "", false
		}
		seen[which], last[chain] = true, which
	}
	return digest, count > 0 && len(seen) == count
}

const markPrefix = "warren "

// mark is the comment of a rule.
func mark(digest string, which int, of string) string {
	return fmt.Sprintf("%s%s %d/%s", markPrefix, digest, which, of)
}

// readMark reads a mark; which is 0 where it is none.
func readMark(text string) (digest string, which, of int) {
	rest, ours := strings.CutPrefix(text, markPrefix)
	digest, numbers, _ := strings.Cut(rest, " ")
	first, second, _ := strings.Cut(numbers, "/")
	which, failed := strconv.Atoi(first)
	of, err := strconv.Atoi(second)
	if !ours || failed != nil || err != nil || text != mark(digest, which, strconv.Itoa(of)) || which < 1 || which > of {
		return "", 0, 0
	}
	return digest, which, of
}

func number(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// reopen makes the socket for writing anew.
func (g *guard) reopen() error {
	write, err := dialWrite()
	if err != nil {
		return err // the old one is better than none
	}
	err = g.write.Close()
	g.write = write
	return err
}

// counters are those of our table by their names; none without a table.
func (g *guard) counters() (map[string]peers.Counter, error) {
	out := map[string]peers.Counter{}
	if g.conn == nil {
		return out, nil
	}
	objects, err := g.conn.GetObjects(&nftables.Table{Name: peers.GuardTable, Family: nftables.TableFamilyINet})
	if errors.Is(err, unix.ENOENT) {
		err = nil // there is no table
	}
	for _, o := range objects {
		if c, ok := o.(*nftables.CounterObj); ok {
			out[c.Name] = peers.Counter{Packets: c.Packets, Bytes: c.Bytes}
		}
	}
	return out, err
}

// delGuard removes the table.
func (k *Kernel) delGuard() error {
	g := k.guard
	if g.conn == nil {
		return nil
	}
	g.conn.DelTable(&nftables.Table{Name: peers.GuardTable, Family: nftables.TableFamilyINet})
	return gone(k.wrote(g.conn.Flush()))
}

// knocks are the addresses that the guard has noted. Where they cannot be read, there are none.
func (g *guard) knocks(t peers.Table) (out []netip.Addr) {
	if t.Digest == "" {
		return nil
	}
	for _, name := range knockSets() {
		elements, err := g.conn.GetSetElements(&nftables.Set{
			Name: name, Table: &nftables.Table{Name: peers.GuardTable, Family: nftables.TableFamilyINet},
		})
		if err != nil {
			continue
		}
		for _, e := range elements {
			if a, ok := netip.AddrFromSlice(e.Key); ok {
				out = append(out, a)
			}
		}
	}
	return out
}

// Counters are those of our table by their names; none without a table.
func (k *Kernel) Counters(context.Context) (map[string]peers.Counter, error) {
	return k.guard.counters()
}
