package linux

import (
	"net/netip"
	"slices"

	"github.com/warren-mesh/warren/peers"
)

// A fakeRoute is what the kernel tells routes apart by: here, whether the metric is that of the backstop.
type fakeRoute struct {
	prefix   netip.Prefix
	backstop bool
}

func identify(r peers.Route) fakeRoute { return fakeRoute{r.Prefix, r.Link == ""} }

// fakeRoutes are the routes of a Fake, in an order that depends on what was done and on nothing else.
type fakeRoutes struct {
	list []peers.Route
	at   map[fakeRoute]int
}

// set adds a route or replaces the one like it.
func (t *fakeRoutes) set(r peers.Route) {
	i, ok := t.at[identify(r)]
	if ok {
		t.list[i] = r
		return
	}
	t.at[identify(r)] = len(t.list)
	t.list = append(t.list, r)
}

// remove takes a route away. The last one takes its place.
func (t *fakeRoutes) remove(r peers.Route) {
	i, ok := t.at[identify(r)]
	if !ok {
		return
	}
	last := len(t.list) - 1
	t.list[i] = t.list[last]
	t.at[identify(t.list[i])] = i
	t.list = t.list[:last]
	delete(t.at, identify(r))
}

func (t *fakeRoutes) drop(which func(peers.Route) bool) {
	for _, r := range slices.Clone(t.list) {
		if which(r) {
			t.remove(r)
		}
	}
}
