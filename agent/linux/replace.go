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

// setGuard replaces the table: each packet meets the rules before or the rules after. Counters go on.
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
		if want.Digest() == was.Digest() {
			return nil
		}
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
	rules := compile(want)
	rules.in(table)
	if err := t.addSets(setsOf(want), rules); err != nil {
		return err
	}
	if err := t.addRules(want, rules); err != nil {
		return err
	}
	if err := k.commit(t); err != nil {
		return err
	}
	g.laid = &want
	return nil
}

// relay replaces all that is in the table and keeps its chains at hooks, and the counters that go on. New sets are there in a
// transaction before, old ones go in one after the rules: the kernel looks at the rules of a transaction a moment before
// it finds ranges in sets that come with it (nf_tables_commit of Linux begins the generation, and has sets commit at its
// end). In that moment, which takes milliseconds where others have the processor, nothing would be in them: a policy
// would refuse what it lets in, and the leak guard let out what it keeps in.
func (k *Kernel) relay(was, want peers.Guard) error {
	old, next := compile(was), compile(want)
	old.in(guardTable())
	next.in(guardTable())
	for _, fill := range []func(t *transaction) error{
		func(t *transaction) error { return t.prepare(was, want, next) },
		func(t *transaction) error {
			t.FlushTable(guardTable()) // of its rules
			return t.addRules(want, next)
		},
		func(t *transaction) error {
			t.sweep(was, want, old, next)
			return nil
		},
	} {
		t, err := newTransaction()
		if err == nil {
			err = fill(t)
		}
		if err == nil {
			err = k.commit(t)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// prepare adds what the rules of another guard need.
func (t *transaction) prepare(was, want peers.Guard, next *compiled) error {
	before := countersOf(was)
	for _, name := range countersOf(want) {
		if !slices.Contains(before, name) {
			t.AddObj(&nftables.CounterObj{Table: guardTable(), Name: name})
		}
	}
	return t.addSets(without(setsOf(want), setsOf(was)), next)
}

// sweep deletes what the rules of the guard before have needed.
func (t *transaction) sweep(was, want peers.Guard, old, next *compiled) {
	for _, s := range without(setsOf(was), setsOf(want)) {
		s.Table = guardTable()
		t.DelSet(s)
	}
	for _, s := range old.sets {
		t.DelSet(&s.Set)
	}
	for _, c := range old.chains {
		if !next.keeps(c) {
			t.DelChain(&c.Chain)
		}
	}
	after := countersOf(want)
	for _, name := range countersOf(was) {
		if !slices.Contains(after, name) {
			t.DeleteObject(&nftables.CounterObj{Table: guardTable(), Name: name})
		}
	}
}

// without are the sets of which the others have none of the name.
func without(sets, others []*nftables.Set) []*nftables.Set {
	return slices.DeleteFunc(sets, func(s *nftables.Set) bool {
		return slices.ContainsFunc(others, func(o *nftables.Set) bool { return o.Name == s.Name })
	})
}

// keeps reports whether there is such a chain among these, at the same hook if it is at one.
func (c *compiled) keeps(old *ruleChain) bool {
	return slices.ContainsFunc(c.chains, func(n *ruleChain) bool {
		return n.Name == old.Name && n.Type == old.Type &&
			reflect.DeepEqual([]any{n.Hooknum, n.Priority, n.Policy}, []any{old.Hooknum, old.Priority, old.Policy})
	})
}

// in says in which table it all is.
func (c *compiled) in(table *nftables.Table) {
	for _, chain := range c.chains {
		chain.Table = table
	}
	for _, s := range c.sets {
		s.Table = table
	}
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

// addSets puts all chains and sets into the transaction. Chains come first: maps name them.
func (t *transaction) addSets(own []*nftables.Set, c *compiled) error {
	for _, chain := range c.chains {
		t.AddChain(&chain.Chain)
	}
	for _, s := range own {
		s.Table = guardTable()
		if err := t.AddSet(s, nil); err != nil {
			return fmt.Errorf("set %s: %v", s.Name, err)
		}
	}
	for _, s := range c.sets {
		if err := t.addSet(s); err != nil {
			return err
		}
	}
	return nil
}

// addRules puts all rules into the transaction.
func (t *transaction) addRules(want peers.Guard, c *compiled) error {
	digest := want.Digest()
	rules, n := 0, 0
	for _, chain := range c.chains {
		rules += len(chain.rules)
	}
	for _, chain := range c.chains {
		for _, r := range chain.rules {
			n++
			exprs, err := r.expressions(t.Conn, chain.Table)
			if err == nil {
				err = t.addRule(chain.Table, chain.Name, mark(digest, n, strconv.Itoa(rules)), exprs)
			}
			if err != nil {
				return fmt.Errorf("rule %d of chain %s: %v", n, chain.Name, err)
			}
		}
	}
	return nil
}
