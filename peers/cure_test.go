package peers_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/warren-mesh/warren/peers"
)

// A spell is what is seen of a peer for some time, at one look a second.
type spell struct {
	lasts  time.Duration
	knocks bool
	hears  bool // something comes from the peer
	meets  bool // it shakes hands at the beginning
	begins bool // a first message of it is accepted at the beginning
}

// TestCure: a peer is cured once, and only if it asks in vain and is silent otherwise.
func TestCure(t *testing.T) {
	const minute = time.Minute
	healthy := spell{lasts: minute, hears: true, meets: true}
	knocking := spell{lasts: minute, knocks: true}
	begun := spell{lasts: minute, knocks: true, begins: true}
	retried := spell{lasts: 8 * time.Second, knocks: true, begins: true}
	for name, c := range map[string]struct {
		spells    []spell
		keepalive int
		want      int
	}{
		"it answers":                            {[]spell{healthy}, 25, 0},
		"it is gone":                            {[]spell{healthy, {lasts: time.Hour}}, 25, 0},
		"its clock went back":                   {[]spell{healthy, knocking}, 25, 1},
		"it went back while it was off":         {[]spell{healthy, {lasts: time.Hour}, {lasts: 15 * time.Second, knocks: true}}, 25, 1},
		"it goes on knocking":                   {[]spell{healthy, {lasts: 24 * time.Hour, knocks: true}}, 25, 1},
		"it gets in, and it happens again":      {[]spell{healthy, knocking, healthy, knocking}, 25, 2},
		"it renews its session":                 {[]spell{healthy, {lasts: 12 * time.Second, knocks: true, hears: true}, healthy}, 25, 0},
		"old messages while it talks":           {[]spell{healthy, {lasts: time.Hour, knocks: true, hears: true}}, 25, 0},
		"it knocks for a moment":                {[]spell{healthy, {lasts: minute}, {lasts: 9 * time.Second, knocks: true}, {lasts: minute}}, 25, 0},
		"it was never met":                      {[]spell{{lasts: time.Hour, knocks: true}}, 25, 0},
		"it went back after its first message":  {[]spell{{lasts: 15 * time.Second, begins: true, knocks: true}}, 25, 1},
		"it begins again and again":             {[]spell{retried, retried}, 25, 0},
		"old messages of one who was never met": {[]spell{begun, begun, begun}, 25, 1},
		"not yet, with a long keepalive":        {[]spell{healthy, knocking}, 120, 0},
		"in the end, with a long keepalive":     {[]spell{healthy, {lasts: 3 * minute, knocks: true}}, 120, 1},
		"not yet, without a keepalive":          {[]spell{healthy, {lasts: 2 * minute, knocks: true}}, 0, 0},
		"in the end, without a keepalive":       {[]spell{healthy, {lasts: 3 * minute, knocks: true}}, 0, 1},
	} {
		plan := planOf(t, threeSites(t), "shop")
		plan.Mesh.Keepalive = c.keepalive
		k := applied(t, plan)
		key, _ := plan.Peers[0].Key(1)
		endpoint := netip.MustParseAddrPort("198.18.7.7:51821")
		k.links["wrn1"].peers[key].Endpoint = endpoint
		now, doubts, cures := epoch, map[peers.AttemptKey]peers.Doubt(nil), 0
		for _, s := range c.spells {
			if s.meets {
				k.links["wrn1"].peers[key].LastHandshake = now
			}
			if s.begins {
				k.links["wrn1"].peers[key].Rx += 148
			}
			for range int(s.lasts / time.Second) {
				now = now.Add(time.Second)
				if s.hears {
					k.links["wrn1"].peers[key].Rx++
				}
				state := k.state()
				if s.knocks {
					state.Knocks = []netip.Addr{endpoint.Addr()}
				}
				before, _ := state.Links[0].Peer(key)
				was := *before
				var steps []peers.Step
				if steps, doubts = peers.Cure(state, plan, doubts, now); len(steps) == 0 {
					continue
				}
				cures++
				for _, step := range steps {
					if err := k.apply(step); err != nil {
						t.Fatal(err)
					}
				}
				state = k.state()
				is, ok := state.Links[0].Peer(key)
				if !ok || is.Endpoint != was.Endpoint || is.Keepalive != was.Keepalive || !is.PSK.Equal(was.PSK) ||
					len(is.Allowed) != len(was.Allowed) || !is.LastHandshake.IsZero() {
					t.Errorf("%s: after the cure %+v, before %+v", name, is, was)
				}
				if steps := peers.Diff(state, plan); len(steps) != 0 {
					t.Errorf("%s: after the cure the host lacks %v", name, steps)
				}
			}
		}
		if cures != c.want {
			t.Errorf("%s: cured %d times, want %d", name, cures, c.want)
		}
	}
}
