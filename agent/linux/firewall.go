package linux

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// Drops says which chain of somebody else's drops handshakes that come in at a UDP port, as nft(8) calls it:
// family, table and chain. By is "rule" or "policy". An empty chain means that none does for certain: rules
// that ask for what is not known here, like the sender's address, may still.
//
// It reads what nftables has, which is also what iptables-nft makes, in the network of the calling thread.
func Drops(port uint16) (chain, by string, err error) {
	return whoDrops(packet{
		hooks:    []*nftables.ChainHook{nftables.ChainHookPrerouting, nftables.ChainHookInput},
		protocol: unix.IPPROTO_UDP, port: port,
	})
}

// DropsForwarded says the same of what opens TCP connections, at whatever port, from one network to another and is
// forwarded, from one link to the other.
func DropsForwarded(from, to netip.Prefix, in, out string) (chain, by string, err error) {
	return whoDrops(packet{
		hooks: []*nftables.ChainHook{nftables.ChainHookPrerouting, nftables.ChainHookForward, nftables.ChainHookPostrouting},
		ipv6:  from.Addr().Is6(), protocol: unix.IPPROTO_TCP, from: from, to: to, in: in, out: out,
	})
}

func whoDrops(p packet) (chain, by string, err error) {
	w := &walk{packet: p}
	if w.conn, err = nftables.New(nftables.AsLasting()); err != nil {
		return "", "", fmt.Errorf("ask nftables: %v", err)
	}
	chains, err := w.bases()
	for i := 0; err == nil && i < len(chains); i++ {
		var out fate
		w.hook = *chains[i].Hooknum
		if out, err = w.chain(chains[i], 0); err == nil && out == dropped {
			return w.where, w.by, w.conn.CloseLasting()
		}
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		err = nil // no nf_tables: nobody has rules there
	}
	return "", "", errors.Join(err, w.conn.CloseLasting())
}

// A fate is what a chain does to the packet.
type fate int

const (
	goesOn  fate = iota // to the next rule or chain
	leaves              // this chain: the next rule is that of the one that called it
	perhaps             // leaves, or goes on
	passes              // ends well in this chain
	dropped             // ends
	unknown             // depends on what is not known here
)

// A walk takes the packet through the rules.
type walk struct {
	packet
	conn  *nftables.Conn
	hook  nftables.ChainHook // at which the packet is
	where string             // it was dropped
	by    string
}

// mostJumps bounds how deep chains may call each other; the kernel has a bound, too.
const mostJumps = 16

// bases are the chains that the packet meets, in their order, without ours.
func (w *walk) bases() ([]*nftables.Chain, error) {
	all, err := w.conn.ListChains()
	if err != nil {
		return nil, fmt.Errorf("list the chains of nftables: %w", err)
	}
	own := nftables.TableFamilyIPv4
	if w.ipv6 {
		own = nftables.TableFamilyIPv6
	}
	all = slices.DeleteFunc(all, func(c *nftables.Chain) bool {
		family := c.Table.Family
		ours := family == nftables.TableFamilyINet && c.Table.Name == peers.GuardTable
		return ours || w.turn(c) < 0 || family != nftables.TableFamilyINet && family != own || c.Type != nftables.ChainTypeFilter
	})
	slices.SortStableFunc(all, func(a, b *nftables.Chain) int {
		return cmp.Or(cmp.Compare(w.turn(a), w.turn(b)), cmp.Compare(*a.Priority, *b.Priority))
	})
	return all, nil
}

// turn is at which of its hooks the packet meets a chain, -1 for none.
func (w *walk) turn(c *nftables.Chain) int {
	return slices.IndexFunc(w.hooks, func(h *nftables.ChainHook) bool { return c.Hooknum != nil && *c.Hooknum == *h })
}

// chain takes the packet through a chain.
func (w *walk) chain(c *nftables.Chain, depth int) (fate, error) {
	rules, err := w.rules(c)
	if err != nil || depth > mostJumps {
		return unknown, err
	}
	doubt := false
	for _, r := range rules {
		out, err := w.rule(c, r, depth)
		switch {
		case err != nil || out == passes || out == unknown:
			return out, err
		case out == dropped && doubt:
			return unknown, nil
		case out == dropped:
			return dropped, nil
		}
		doubt = doubt || out == perhaps
		if out == leaves {
			break
		}
	}
	if c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop {
		w.where, w.by = place(c), "policy"
		return dropped, nil
	}
	return goesOn, nil
}

func place(c *nftables.Chain) string {
	family := map[nftables.TableFamily]string{
		nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6",
	}[c.Table.Family]
	return fmt.Sprintf("%s %s %s", family, c.Table.Name, c.Name)
}

// rules are those of a chain, each as a row of expressions.
func (w *walk) rules(c *nftables.Chain) ([][]byte, error) {
	q := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP)
	q.AddData(&nl.Nfgenmsg{NfgenFamily: uint8(c.Table.Family), Version: unix.NFNETLINK_V0})
	q.AddData(nl.NewRtAttr(unix.NFTA_RULE_TABLE, nl.ZeroTerminated(c.Table.Name)))
	q.AddData(nl.NewRtAttr(unix.NFTA_RULE_CHAIN, nl.ZeroTerminated(c.Name)))
	rows, err := dump(func() ([][]byte, error) { return q.Execute(unix.NETLINK_NETFILTER, 0) })
	if err != nil {
		return nil, fmt.Errorf("list the rules of %s: %w", place(c), err)
	}
	var out [][]byte
	for _, row := range rows {
		if len(row) <= sizeofNfgenmsg {
			continue
		}
		r := row[sizeofNfgenmsg:]
		table, chain := attribute(r, unix.NFTA_RULE_TABLE), attribute(r, unix.NFTA_RULE_CHAIN)
		if textOf(table) == c.Table.Name && textOf(chain) == c.Name { // old kernels give all rules
			out = append(out, attribute(r, unix.NFTA_RULE_EXPRESSIONS))
		}
	}
	return out, nil
}

// rule holds one rule against the packet.
func (w *walk) rule(c *nftables.Chain, expressions []byte, depth int) (fate, error) {
	m := &match{walk: w, table: c.Table, certain: true}
	list, err := nl.ParseRouteAttr(expressions)
	if err != nil {
		return unknown, fmt.Errorf("a rule of %s: %v", place(c), err)
	}
	for _, e := range list {
		verdict, target := m.take(textOf(attribute(e.Value, unix.NFTA_EXPR_NAME)), attribute(e.Value, unix.NFTA_EXPR_DATA))
		switch {
		case m.failed:
			return goesOn, nil
		case verdict == none:
			continue
		}
		return w.end(c, m.certain, verdict, target, depth)
	}
	return goesOn, nil
}

// end does what a rule says that the packet meets, for certain or perhaps.
func (w *walk) end(c *nftables.Chain, certain bool, verdict verdict, target string, depth int) (fate, error) {
	switch verdict {
	case drops:
		if certain {
			w.where, w.by = place(c), "rule"
			return dropped, nil
		}
		return goesOn, nil // perhaps: it is not named for that
	case accepts:
		if certain {
			return passes, nil
		}
		return unknown, nil
	case returns:
		if certain {
			return leaves, nil
		}
		return perhaps, nil
	case calls, goes:
		out, err := w.chain(&nftables.Chain{Name: target, Table: c.Table}, depth+1)
		if err != nil {
			return out, err
		}
		return cameBack(out, certain, verdict == calls), nil
	}
	return goesOn, nil
}

// cameBack is what becomes of a packet that a rule sends to another chain, for certain or perhaps, given its fate
// there. From a chain that is called it comes back to the next rule.
func cameBack(out fate, certain, called bool) fate {
	switch {
	case out == goesOn && called:
		return goesOn
	case out == goesOn && certain:
		return leaves
	case out == goesOn:
		return perhaps
	case !certain && out == dropped:
		return goesOn // perhaps: it is not named for that
	case !certain:
		return unknown
	}
	return out
}
