package controller_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/warren-mesh/warren/controller"
	"github.com/warren-mesh/warren/controller/api"
	"github.com/warren-mesh/warren/controller/ledger"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/key"
	"github.com/warren-mesh/warren/peers/wire"
)

// sink is the stream of an agent that says hello and counts what it gets.
type sink struct {
	hello io.Reader
	ended chan struct{}
	once  sync.Once
	lines *sync.WaitGroup // one to go for each line
	bytes *atomic.Int64
}

func (s *sink) Read(p []byte) (int, error) {
	n, err := s.hello.Read(p)
	if n == 0 && err != nil {
		<-s.ended
	}
	return n, nil
}

func (s *sink) Write(p []byte) (int, error) {
	s.bytes.Add(int64(len(p)))
	for range bytes.Count(p, []byte("\n")) {
		s.lines.Done()
	}
	return len(p), nil
}

func (s *sink) Flush() error { return nil }
func (s *sink) Cut()         { s.once.Do(func() { close(s.ended) }) }

// BenchmarkFanOut is what one new host costs the controller itself, without TLS and HTTP/2: validating,
// the ledger, and a line to each of a thousand others.
func BenchmarkFanOut(b *testing.B) {
	const streams = 1000
	db, err := ledger.Open(filepath.Join(b.TempDir(), "warren.db"), ledger.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	settings := controller.Settings{Advertise: []string{"192.0.2.1:7443"}, Overlay: netip.MustParsePrefix("10.0.0.0/8")}
	c, err := controller.Open(b.Context(), db, db, settings, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	var lines sync.WaitGroup
	var bytes atomic.Int64
	enrol := enroller(b, c)
	ctx, cancel := context.WithCancel(b.Context())
	var tasks sync.WaitGroup
	lines.Add(streams)
	whos := make([]api.Caller, streams)
	for i := range streams {
		whos[i] = enrol(fmt.Sprintf("h%d", i))
	}
	for _, who := range whos {
		s := &sink{hello: helloOf(b), ended: make(chan struct{}), lines: &lines, bytes: &bytes}
		context.AfterFunc(ctx, s.Cut)
		tasks.Go(func() { _ = c.Stream(ctx, who, s) })
	}
	lines.Wait()
	bytes.Store(0)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		lines.Add(streams)
		enrol(fmt.Sprintf("x%d", i))
		lines.Wait()
	}
	b.ReportMetric(float64(bytes.Load())/float64(b.N)/streams, "bytes/stream")
	b.StopTimer()
	cancel()
	tasks.Wait()
}

func helloOf(b *testing.B) io.Reader {
	raw, err := json.Marshal(wire.Up{Kind: wire.UpHello, Hello: &wire.Hello{Protocol: wire.Protocol, Session: "s"}})
	if err != nil {
		b.Fatal(err)
	}
	return bytes.NewReader(append(raw, '\n'))
}

// enroller enrols hosts with tokens for a thousand hosts each.
func enroller(b *testing.B, c *controller.Controller) func(name string) api.Caller {
	var token wire.Token
	used := 0
	return func(name string) api.Caller {
		if used%1000 == 0 {
			v, err := c.CreateToken(b.Context(), "admin:bench", wire.TokenOrder{Site: "shop", Uses: 1000})
			if err != nil {
				b.Fatal(err)
			}
			if token, err = wire.ParseToken(v.Token); err != nil {
				b.Fatal(err)
			}
		}
		used++
		id, err := key.NewIdentityKey(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		private, err := key.NewPrivate(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		who := api.Caller{Identity: id.Identity(), From: netip.MustParseAddrPort("198.51.100.1:4000")}
		_, err = c.Enroll(b.Context(), who, wire.EnrollRequest{
			Protocol: wire.Protocol, TokenID: token.ID, Secret: token.Secret[:], Name: name, Port: peers.DefaultPort,
			Keys: []peers.HostKey{peers.SignKey(c.Inventory().Mesh.ID, id, 1, private.Public())},
		})
		if err != nil {
			b.Fatal(err)
		}
		return who
	}
}
