package linux

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/google/nftables"

	"github.com/warren-mesh/warren/peers"
)

// setGuard replaces the table in one transaction: each packet meets the old one or the new one. Counters go on.
//
// That holds only as long as the chains at the hooks stay. To one that is deleted the kernel goes on sending packets until
// it has taken it off its hook, with the rules that it had, while what is in their sets counts as deleted already
// (nf_tables_commit_chain_prepare of Linux leaves out chains that are on their way out). So a policy refuses what it lets
// in, for about a millisecond. Where the table is not as we have left it, there is no other way.
func (k *Kernel) setGuard(want peers.Guard) error {
	g := k.guard
	if g.fault != nil {
		return g.fault
	}
	if was := g.laid; was != nil && g.table().Digest == was.Digest() {
		err := k.relay(*was, want)
		if err == nil {
			g.laid = &want
			return nil
		}
		k.log.Debug("the guard is made anew as a whole", "error", err)
	}
	g.laid = nil
	counted, err := g.counters()
	if err != nil {
		k.log.Warn("the counters of the guard begin anew", "error", err)
	}
	t, err := newTransaction()
	if err != nil {
		return err
	}
	table := guardTable()
	t.AddTable(table) // so that there is one to delete
	t.DelTable(table)
	t.AddTable(table)
	for _, name := range countersOf(want) {
		t.AddObj(&nftables.CounterObj{Table: table, Name: name, Packets: counted[name].Packets, Bytes: counted[name].Bytes})
	}
	if err := t.addRules(table, want, compile(want)); err != nil {
		return err
	}
	if err := k.commit(t); err != nil {
		return err
	}
	g.laid = &want
	return nil
}

// relay replaces all that is in the table and keeps its chains at hooks, and the counters that go on.
func (k *Kernel) relay(was, want peers.Guard) error {
	t, err := newTransaction()
	if err != nil {
		return err
	}
	table, old, next := guardTable(), compile(was), compile(want)
	t.FlushTable(table) // of its rules; what they use can go then
	for _, s := range setsOf(was) {
		t.DelSet(&nftables.Set{Table: table, Name: s.Name})
	}
	for _, s := range old.sets {
		t.DelSet(&nftables.Set{Table: table, Name: s.Name})
	}
	for _, c := range old.chains {
		if !next.keeps(c) {
			t.DelChain(&nftables.Chain{Table: table, Name: c.Name})
		}
	}
	before, after := countersOf(was), countersOf(want)
	for _, name := range before {
		if !slices.Contains(after, name) {
			t.DeleteObject(&nftables.CounterObj{Table: table, Name: name})
		}
	}
	for _, name := range after {
		if !slices.Contains(before, name) {
			t.AddObj(&nftables.CounterObj{Table: table, Name: name})
		}
	}
	if err := t.addRules(table, want, next); err != nil {
		return err
	}
	return k.commit(t)
}

// keeps reports whether a chain at a hook is one of these as well.
func (c *compiled) keeps(old *ruleChain) bool {
	return old.Hooknum != nil && slices.ContainsFunc(c.chains, func(n *ruleChain) bool {
		return n.Name == old.Name && n.Type == old.Type &&
			reflect.DeepEqual([]any{n.Hooknum, n.Priority, n.Policy}, []any{old.Hooknum, old.Priority, old.Policy})
	})
}

func guardTable() *nftables.Table {
	return &nftables.Table{Name: peers.GuardTable, Family: nftables.TableFamilyINet}
}

func countersOf(g peers.Guard) []string {
	if g.Wall == nil {
		return nil
	}
	return g.Wall.Counters()
}

// commit writes a transaction. What else the kernel has to tell of one that it has refused is forgotten.
func (k *Kernel) commit(t *transaction) error {
	err := k.wrote(t.commit(k.guard.write))
	if err == nil {
		return nil
	}
	return errors.Join(explain(err), k.guard.reopen())
}

// addRules puts all sets, chains and rules into the transaction. Chains come first: maps name them.
func (t *transaction) addRules(table *nftables.Table, want peers.Guard, c *compiled) error {
	digest := want.Digest()
	rules, n := 0, 0
	for _, chain := range c.chains {
		chain.Table = table
		t.AddChain(&chain.Chain)
		rules += len(chain.rules)
	}
	for _, s := range setsOf(want) {
		s.Table = table
		if err := t.AddSet(s, nil); err != nil {
			return fmt.Errorf("set %s: %v", s.Name, err)
		}
	}
	for _, s := range c.sets {
		s.Table = table
		if err := t.addSet(s); err != nil {
			return err
		}
	}
	for _, chain := range c.chains {
		for _, r := range chain.rules {
			n++
			exprs, err := r.expressions(t.Conn, table)
			if err == nil {
				err = t.addRule(table, chain.Name, mark(digest, n, strconv.Itoa(rules)), exprs)
			}
			if err != nil {
				return fmt.Errorf("rule %d of chain %s: %v", n, chain.Name, err)
			}
		}
	}
	return nil
}
