package controller_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/controller"
	"github.com/warren-mesh/warren/controller/api"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestAudit: the log tells everything once, page by page, from a time on where asked, and waits for more.
func TestAudit(t *testing.T) {
	s := newSite(t)
	s.join("shop")
	s.act("shop", wire.ActionSuspend)
	var page wire.AuditPage
	s.must(http.MethodGet, wire.PathAudit, nil, &page)
	var told []string
	for _, e := range page.Entries {
		told = append(told, e.By+": "+e.What+" ("+e.Why+")")
	}
	if len(told) != 4 || page.Next != 4 || page.Head != 4 || !strings.Contains(told[2], "host shop joins site shop") ||
		told[3] != "unix:tester: host shop: active → suspended (test)" {
		t.Errorf("next %d, head %d:\n%s", page.Next, page.Head, strings.Join(told, "\n"))
	}
	last := page.Entries[3]
	if last.Objects[0].Before == nil || last.Objects[0].After == nil || last.Hash != s.c.Inventory().Head {
		t.Errorf("the entry is not whole: %+v", last)
	}
	s.must(http.MethodGet, wire.PathAudit+"?since="+url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339)), nil, &page)
	if len(page.Entries) != 0 || page.Next != 4 {
		t.Errorf("what is older is told: %+v", page)
	}
	next := make(chan wire.AuditPage, 1)
	go func() {
		p, err := s.c.Audit(t.Context(), api.AuditQuery{After: 4, Wait: patience})
		if err != nil {
			t.Error(err)
		}
		next <- p
	}()
	s.act("shop", wire.ActionResume)
	if p := <-next; len(p.Entries) != 1 || p.Next != 5 {
		t.Errorf("waited for %+v", p)
	}
	s.rights.Store(&api.Caller{Name: "unix:reader", Read: true})
	s.must(http.MethodGet, wire.PathAudit+"?after=4", nil, &page)
	if len(page.Entries) != 1 {
		t.Errorf("who may look sees %+v", page)
	}
	s.rights.Store(&api.Caller{Name: "unix:nobody"})
	for _, path := range []string{wire.PathAudit, wire.PathAuditVerify} {
		if f := s.admin(http.MethodGet, path, nil, nil); f == nil || f.Status != 403 {
			t.Errorf("%s for anybody: %+v", path, f)
		}
	}
}

// TestAuditTellsNoSecret: neither a token nor a secret of the vault is in any entry.
func TestAuditTellsNoSecret(t *testing.T) {
	s := newSite(t)
	var made wire.TokenView
	s.must(http.MethodPost, wire.PathTokens, wire.TokenOrder{Site: "shop"}, &made)
	secrets := []string{made.Token[len(made.Token)-40:]}
	for _, name := range []string{"identity", "generation/1"} {
		raw, err := s.db.Fetch(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, string(raw))
	}
	page, err := s.c.Audit(t.Context(), api.AuditQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Entries {
		text := fmt.Sprintf("%s %s %+v", e.What, e.Op, e.Objects)
		for _, o := range e.Objects {
			text += string(o.Before) + string(o.After)
		}
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("revision %d tells a secret", e.Revision)
			}
		}
	}
}

// bent is a ledger that somebody has bent. It counts what is read of it.
type bent struct {
	controller.Ledger
	bend func(*peers.Entry)
	load func(*peers.Inventory) *peers.Inventory
	more peers.Revision // entries that it has besides
	read int
}

func (b *bent) Read(ctx context.Context, after peers.Revision) iter.Seq2[peers.Entry, error] {
	if b.more > 0 {
		return func(yield func(peers.Entry, error) bool) {
			for rev := after + 1; rev <= b.more; rev++ {
				b.read++
				if !yield(peers.Entry{Revision: rev, At: time.Unix(int64(rev), 0), By: "admin:anna", Kind: "mesh.set"}, nil) {
					return
				}
			}
		}
	}
	return func(yield func(peers.Entry, error) bool) {
		for e, err := range b.Ledger.Read(ctx, after) {
			if b.bend != nil {
				b.bend(&e)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func (b *bent) Watch(ctx context.Context) (<-chan peers.Revision, error) {
	if b.more == 0 {
		return b.Ledger.Watch(ctx)
	}
	heads := make(chan peers.Revision, 1)
	heads <- b.more
	return heads, nil
}

func (b *bent) Load(ctx context.Context) (*peers.Inventory, error) {
	inv, err := b.Ledger.Load(ctx)
	if b.load != nil && err == nil {
		inv = b.load(inv)
	}
	return inv, err
}

// bentSite is a controller with some history on a ledger that is not bent yet.
func bentSite(t *testing.T) (*site, *bent) {
	t.Helper()
	s := newSite(t)
	s.join("shop")
	s.act("shop", wire.ActionSuspend)
	s.stop()
	b := &bent{Ledger: s.db}
	var err error
	if s.c, err = controller.Open(t.Context(), b, s.db, controller.Settings{}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return s, b
}

// TestAuditPages: of a hundred thousand entries no more are looked at than a page needs.
func TestAuditPages(t *testing.T) {
	s, b := bentSite(t)
	b.more = 100_000
	q, seen := api.AuditQuery{Since: time.Unix(99_000, 0)}, 0
	for pages := 1; ; pages++ {
		b.read = 0
		p, err := s.c.Audit(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if b.read > 4096 || len(p.Entries) > 256 || p.Next <= q.After {
			t.Fatalf("page %d: %d read for %d entries, on to %d", pages, b.read, len(p.Entries), p.Next)
		}
		seen += len(p.Entries)
		if q.After = p.Next; p.Next == p.Head {
			break
		}
	}
	if seen != 1001 || q.After != b.more {
		t.Errorf("%d entries up to %d", seen, q.After)
	}
}

// TestVerifyLedger names the first entry that is not right, whatever is wrong with it.
func TestVerifyLedger(t *testing.T) {
	at := func(rev peers.Revision, do func(*peers.Entry)) func(*peers.Entry) {
		return func(e *peers.Entry) {
			if e.Revision == rev {
				do(e)
			}
		}
	}
	for name, c := range map[string]struct {
		bend func(*peers.Entry)
		load func(*peers.Inventory) *peers.Inventory
		at   string
	}{
		"right":       {},
		"by another":  {bend: at(2, func(e *peers.Entry) { e.By = "admin:eve" }), at: "revision/2"},
		"other words": {bend: at(4, func(e *peers.Entry) { e.Why = "" }), at: "revision/4"},
		"out of chain": {bend: at(3, func(e *peers.Entry) {
			e.Prev[0]++
		}), at: "revision/3"},
		"objects": {load: func(inv *peers.Inventory) *peers.Inventory {
			next := *inv
			next.Mesh.MTU++
			return &next
		}, at: "revision/4"},
		"an object too many": {load: func(inv *peers.Inventory) *peers.Inventory {
			next := *inv
			next.Sites = map[string]*peers.Site{"eve": {Name: "eve"}, "shop": inv.Sites["shop"]}
			return &next
		}, at: "revision/4"},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := bentSite(t)
			b.bend, b.load = c.bend, c.load
			var last wire.AuditProgress
			err := s.c.VerifyLedger(t.Context(), func(p wire.AuditProgress) error {
				last = p
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if c.at == "" {
				if !last.Done || last.Fault != nil || last.Revision != 4 || last.Hash != s.c.Inventory().Head {
					t.Errorf("%+v, %+v", last, last.Fault)
				}
				return
			}
			if last.Done || last.Fault == nil || last.Fault.Problems[0].At != c.at || last.Fault.Code != "ledger-broken" {
				t.Errorf("%+v, %+v; want %s", last, last.Fault, c.at)
			}
		})
	}
}

// TestVerifyOverHTTP: the outcome comes as a stream, and only one verifies at a time.
func TestVerifyOverHTTP(t *testing.T) {
	s := newSite(t)
	var p wire.AuditProgress
	s.must(http.MethodGet, wire.PathAuditVerify, nil, &p)
	if !p.Done || p.Revision != 1 || p.Hash != s.c.Inventory().Head {
		t.Errorf("%+v", p)
	}
	var err error
	eventually(t, "the first one is over", func() bool {
		err = s.c.VerifyLedger(t.Context(), func(wire.AuditProgress) error {
			if f := s.admin(http.MethodGet, wire.PathAuditVerify, nil, nil); f == nil || f.Code != "verifying" {
				t.Errorf("two at a time: %+v", f)
			}
			return nil
		})
		f, busy := errors.AsType[*wire.Fault](err)
		return !busy || f.Code != "verifying"
	})
	if err != nil {
		t.Fatal(err)
	}
}
