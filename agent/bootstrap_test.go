package agent_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// bootstrap lets the agent use a token that it was given beforehand. The channel is closed when it is done.
func (r *rig) bootstrap(token string) <-chan struct{} {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.t.Cleanup(cancel)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.agent.Bootstrap(ctx, token)
	}()
	return done
}

// TestBootstrap: the host enrols itself as soon as there is a controller, and never looks at the token again.
func TestBootstrap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.c.AddHost("warehouse", "198.51.100.2:51820")
		token := r.c.Token().Encode()
		r.c.Down(true)
		r.start()
		done := r.bootstrap(token)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if s := r.status(); s.State != wire.StateUnenrolled || codes(s) == "" {
			t.Errorf("without a controller: %s, problems %q", s.State, codes(s))
		}
		if said := strings.Count(r.log.String(), "has not made this host a member"); said != 1 {
			t.Errorf("the same was said %d times:\n%s", said, r.log)
		}
		r.c.Down(false)
		r.eventually("a member", 2*time.Minute, func() bool { return r.status().State == wire.StateOK })
		<-done

		r.restart()
		for _, given := range []string{token, r.c.Token().Encode(), "nonsense"} {
			<-r.bootstrap(given)
		}
		if s := r.status(); codes(s) != "" || strings.Count(r.log.String(), "has not made this host a member") > 1 {
			t.Errorf("a member looked at a token: %q\n%s", codes(s), r.log)
		}
	})
}

// TestBootstrapRefused: a token that is good for nothing is told of, and not tried for ever. A person who
// has another one is free to use it.
func TestBootstrapRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		spent := r.c.Token(func(c *peers.CreateToken) { c.Expires = time.Now().Add(time.Minute) })
		time.Sleep(time.Hour)
		<-r.bootstrap(spent.Encode())
		if s := r.status(); s.State != wire.StateUnenrolled || !strings.HasPrefix(codes(s), "token-") {
			t.Errorf("an expired token: %s, problems %q", s.State, codes(s))
		}
		<-r.bootstrap("nonsense")
		if s := r.status(); codes(s) != "token-malformed" {
			t.Errorf("nonsense: problems %q", codes(s))
		}
		if _, err := r.enroll(r.c.Token().Encode()); err != nil {
			t.Fatal(err)
		}
		if s := r.status(); s.State != wire.StateOK {
			t.Errorf("with another token: %s, problems %q", s.State, codes(s))
		}
	})
}
