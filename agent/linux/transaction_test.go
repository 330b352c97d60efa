package linux

import (
	"errors"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers"
)

// TestRefusedTransaction: of a transaction with two mistakes nothing is done, and the next one is not taken for it.
func TestRefusedTransaction(t *testing.T) {
	k := newKernel(t)
	bad, err := newTransaction()
	if err != nil {
		t.Fatal(err)
	}
	good := &nftables.Table{Name: "good", Family: nftables.TableFamilyINet}
	bad.AddTable(good)
	bad.DelTable(&nftables.Table{Name: "nowhere", Family: nftables.TableFamilyINet})
	bad.DelTable(&nftables.Table{Name: "nowhere either", Family: nftables.TableFamilyINet})
	if err := k.commit(bad); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a transaction with two mistakes: %v", err)
	}
	tables, err := k.guard.conn.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if table.Name == good.Name {
			t.Error("half of it was done")
		}
	}
	want := peers.Guard{Clamp: true}
	if err := k.Apply(t.Context(), []peers.Step{peers.SetGuard{Guard: want}}); err != nil {
		t.Fatalf("after it: %v", err)
	}
	if s, err := k.Observe(t.Context()); err != nil || s.Guard.Digest != want.Digest() {
		t.Errorf("after it the table is %+v, %v", s.Guard, err)
	}
	empty, err := newTransaction()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.commit(empty); err != nil {
		t.Errorf("nothing at all: %v", err)
	}
}
