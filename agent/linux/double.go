package linux

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	var rules [2][]*nftables.Rule
	for i, chain := range []string{doubleChain, holdChain} {
		rules[i], err = g.conn.GetRules(tables[at], &nftables.Chain{Name: chain, Table: tables[at]})
		if err != nil && !errors.Is(err, unix.ENOENT) { // a chain is missing
			return "", true, err
		}
	}
	if len(rules[0]) != 1 {
		return "", true, nil
	}
	text, _ := userdata.GetString(rules[0][0].UserData, userdata.TypeComment)
	digest, held, _ := strings.Cut(text, " ")
	if held != strconv.Itoa(len(rules[1])) || len(rules[1]) > 0 && g.hold == nil {
		return "", true, nil // or an agent before this one has listened to what waits
	}
	return digest, true, nil
}

// Chains of the tables: copies are made in the one, and wait in the other.
const doubleChain, holdChain = "double", "hold"

// setDoubling replaces both tables in one transaction. What there is stays and gets other rules: with the chain of one,
// wherever it is, the kernel throws away all packets that wait.
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
	var failed error
	for _, wait := range k.waits(s.Doubling) {
		// A kernel that does not know a way to wait says ENOENT.
		if failed = k.writeDoubling(s.Doubling, device, wait); !errors.Is(failed, unix.ENOENT) {
			break
		}
	}
	if failed == nil && s.Doubling.IsEmpty() {
		g.endHold()
	}
	return failed
}

// waits are the ways to have copies wait, the best first and the last resort, not to have them wait, last.
func (k *Kernel) waits(d peers.Doubling) []expr.Any {
	if d.IsEmpty() || !d.Held {
		return []expr.Any{nil}
	}
	if k.guard.hold == nil {
		h, err := openHold()
		if err != nil {
			k.log.Warn("packets that are sent a second time may overtake the first ones: they cannot wait", "error", err)
			return []expr.Any{nil}
		}
		k.guard.hold = h
	}
	return append(holders(), nil)
}

func (k *Kernel) writeDoubling(d peers.Doubling, device int, wait expr.Any) error {
	t, err := newTransaction()
	if err != nil {
		return err
	}
	whole := k.guard.doubling().Digest != ""
	for _, family := range doubleFamilies() {
		ipv6 := family == nftables.TableFamilyIPv6
		if ipv6 && !hasIPv6() {
			continue
		}
		from, to := d.Of(ipv6)
		wanted := to.IsValid() && len(from) > 0
		table := &nftables.Table{Name: peers.DoubleTable, Family: family}
		t.AddTable(table) // so that there is one to delete
		if !wanted || !whole {
			t.DelTable(table)
		}
		if !wanted {
			continue
		}
		t.AddTable(table)
		if err := t.addDoubling(table, d, device, wait); err != nil {
			return err
		}
	}
	return k.commit(t)
}

// addDoubling gives a table the rules of one family.
func (t *transaction) addDoubling(table *nftables.Table, d peers.Doubling, device int, wait expr.Any) error {
	copies := doubled(d, table.Family == nftables.TableFamilyIPv6, device)
	double := hook(doubleChain, nftables.ChainHookForward, *nftables.ChainPriorityMangle, copies)
	hold := hook(holdChain, nftables.ChainHookOutput, *nftables.ChainPriorityMangle)
	if wait != nil {
		hold.rules = append(hold.rules, rule{marked(), fixed{wait}})
	}
	for _, chain := range []*ruleChain{double, hold} {
		chain.Table = table
		t.AddChain(&chain.Chain)
		t.FlushChain(&chain.Chain)
		for _, r := range chain.rules {
			exprs, err := r.expressions(t.Conn, table)
			if err != nil {
				return fmt.Errorf("rule of chain %s: %v", chain.Name, err)
			}
			comment := userdata.AppendString(nil, userdata.TypeComment, fmt.Sprintf("%s %d", d.Digest(), len(hold.rules)))
			t.AddRule(&nftables.Rule{Table: table, Chain: &chain.Chain, Exprs: exprs, UserData: comment})
		}
	}
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
