package linux

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// doubleFamilies are those of the tables that send packets a second time.
func doubleFamilies() []nftables.TableFamily {
	return []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6}
}

// doubling reads what is sent a second time: the digest is that which all rules have in their comments.
func (g *guard) doubling() peers.Table {
	if g.fault != nil {
		return peers.Table{Fault: faultOf(g.fault)}
	}
	now, err := g.generation()
	if err == nil && now != 0 && now == g.doubledAt {
		return g.doubled
	}
	var out peers.Table
	said := map[string]bool{}
	for _, family := range doubleFamilies() {
		digest, there, err := g.doublingOf(family)
		if err != nil {
			return peers.Table{Fault: faultOf(err)}
		}
		if there {
			out.There, said[digest] = true, true
			out.Digest = digest
		}
	}
	if len(said) > 1 {
		out.Digest = "" // somebody has changed one of them
	}
	if after, err := g.generation(); err == nil && after == now {
		g.doubledAt, g.doubled = now, out
	}
	return out
}

// doublingOf reads the table of one family: the digest is empty where somebody has changed it.
func (g *guard) doublingOf(family nftables.TableFamily) (digest string, there bool, err error) {
	tables, err := g.conn.ListTablesOfFamily(family)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return "", false, nil
	}
	at := slices.IndexFunc(tables, func(t *nftables.Table) bool { return t.Name == peers.DoubleTable })
	if err != nil || at < 0 {
		return "", false, err
	}
	rules, err := g.conn.GetRules(tables[at], &nftables.Chain{Name: doubleChain, Table: tables[at]})
	if errors.Is(err, unix.ENOENT) {
		rules, err = nil, nil // a chain is missing
	}
	if err != nil || len(rules) != 1 {
		return "", true, err
	}
	digest, _ = userdata.GetString(rules[0].UserData, userdata.TypeComment)
	return digest, true, nil
}

const doubleChain = "double"

// setDoubling replaces both tables in one transaction.
func (k *Kernel) setDoubling(s peers.SetDoubling) error {
	g := k.guard
	if g.fault != nil {
		return g.fault
	}
	device := 0
	if !s.Doubling.IsEmpty() {
		link, err := k.lookup(s.Doubling.Link)
		if err != nil {
			return err
		}
		if link == nil {
			return fmt.Errorf("there is no interface %s", s.Doubling.Link)
		}
		device = link.Attrs().Index
	}
	for _, family := range doubleFamilies() {
		if family == nftables.TableFamilyIPv6 && !hasIPv6() {
			continue
		}
		table := &nftables.Table{Name: peers.DoubleTable, Family: family}
		g.conn.AddTable(table) // so that there is one to delete
		g.conn.DelTable(table)
		if err := g.addDoubling(table, s.Doubling, device); err != nil {
			return errors.Join(err, g.reopen())
		}
	}
	return explain(k.wrote(g.conn.Flush()))
}

func (g *guard) addDoubling(table *nftables.Table, d peers.Doubling, device int) error {
	ipv6 := table.Family == nftables.TableFamilyIPv6
	from, to := d.Of(ipv6)
	if !to.IsValid() || len(from) == 0 {
		return nil
	}
	g.conn.AddTable(table)
	chain := hook(doubleChain, nftables.ChainHookForward, *nftables.ChainPriorityMangle, doubled(d, ipv6, device))
	chain.Table = table
	g.conn.AddChain(&chain.Chain)
	exprs, err := chain.rules[0].expressions(g.conn, table)
	if err != nil {
		return fmt.Errorf("rule of chain %s: %v", doubleChain, err)
	}
	g.conn.AddRule(&nftables.Rule{
		Table: table, Chain: &chain.Chain, Exprs: exprs,
		UserData: userdata.AppendString(nil, userdata.TypeComment, d.Digest()),
	})
	return nil
}

// doubled sends a packet a second time. The copy has a mark while it leaves; the packet itself keeps the one it had.
func doubled(d peers.Doubling, ipv6 bool, device int) rule {
	from, to := d.Of(ipv6)
	within := addressSet("", ipv6)
	for _, p := range peers.Outermost(from) {
		r := peers.RangeOf(p)
		within.add(r.First.AsSlice(), r.Last.AsSlice(), "")
	}
	native := binaryutil.NativeEndian.PutUint32
	return rule{
		via(expr.MetaKeyOIFNAME, ours), address(ipv6, true), within,
		fixed{
			&expr.Meta{Key: expr.MetaKeyMARK, Register: 3},
			&expr.Immediate{Register: 4, Data: native(peers.DoubleMark)},
			&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 4},
			&expr.Immediate{Register: 1, Data: to.AsSlice()},
			&expr.Immediate{Register: 2, Data: native(uint32(device))},
			&expr.Dup{RegAddr: 1, RegDev: 2, IsRegDevSet: true},
			&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 3},
		},
	}
}

// marked matches packets that are the second copies of others.
func marked() fixed {
	return fixed{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(peers.DoubleMark)},
	}
}
