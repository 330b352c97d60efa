package peers

import (
	"hash/fnv"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/warren-mesh/warren/peers/key"
)

// All hosts hear of a new generation in the same moment. To make a key, build an interface and prove it takes a host some
// ten milliseconds of its processor, and where hosts share a machine, traffic would wait for all of them. So they begin
// one after the other, and take down what is over in the same way.
const (
	buildSpread = 300 * time.Millisecond // for each peer
	buildMost   = 3 * time.Second
	clearSpread = 100 * time.Millisecond
	clearMost   = time.Second
)

// BuildAfter is how long after it has heard of a new generation the host begins with it: the same for each generation
// and host, whenever it is asked. It is 0 where no rotation runs.
func (p *Plan) BuildAfter() time.Duration {
	if p.Leaving() == 0 {
		return 0
	}
	return p.turn(buildSpread, buildMost)
}

// ClearAfter is how long after it has heard that something is over the host takes it down.
func (p *Plan) ClearAfter() time.Duration { return p.turn(clearSpread, clearMost) }

// turn is the host's own moment in a time that it shares with its peers. Each has an equal part of that, which is another
// one in the next rotation, and begins somewhere in the first half of it: hosts that know others may have the same part.
func (p *Plan) turn(spread, most time.Duration) time.Duration {
	if len(p.Peers) == 0 {
		return 0
	}
	before := 0
	for i := range p.Peers {
		if p.Peers[i].ID < p.Self.ID {
			before++
		}
	}
	n := len(p.Peers) + 1
	part := min(time.Duration(len(p.Peers))*spread, most) / time.Duration(n)
	which := (before + int(p.Newest()%Generation(n))) % n
	return time.Duration(which)*part + spreadOver(part/2, p.Newest(), p.Self.ID)
}

// spreadOver is a moment of a time that is spread over hosts, or pairs of them: the same one whenever it is asked for.
func spreadOver(spread time.Duration, g Generation, of ...HostID) time.Duration {
	h := fnv.New64a()
	for _, id := range of {
		_, _ = h.Write([]byte(id)) // a hash never fails
	}
	_, _ = h.Write([]byte{byte(g)})
	return time.Duration(h.Sum64() % uint64(spread))
}

// CanWait reports whether a plan differs from the one before it in nothing but how far a rotation is: there is a next
// generation, others have keys of it, or the older one is over, with some or with all. No traffic waits for any of that.
func CanWait(was, is *Plan) bool {
	stays := is.Newest()
	if is.Leaving() != 0 {
		stays = is.Leaving()
	}
	if was.Leaving() == 0 && is.Leaving() == 0 || was.Leaving() != 0 && is.Leaving() != 0 && was.Newest() != is.Newest() {
		return false // no rotation, or two
	}
	if !maps.EqualFunc(was.PSKs[stays], is.PSKs[stays], key.Preshared.Equal) || !sameDevices(was, is) {
		return false
	}
	a, b := was.only(stays), is.only(stays)
	return len(a.Interfaces) > 0 && reflect.DeepEqual(a, b)
}

// sameDevices reports whether the interfaces that are in both plans are the same, but for what the controller knows of
// their keys.
func sameDevices(was, is *Plan) bool {
	for _, a := range was.Interfaces {
		for _, b := range is.Interfaces {
			a.Public, b.Public = key.Public{}, key.Public{}
			if a.Generation == b.Generation && a != b {
				return false
			}
		}
	}
	return true
}

// only is the plan as it would be without other generations than one.
func (p *Plan) only(g Generation) Plan {
	out := *p
	out.Revision, out.Moved, out.PSKs, out.Mesh.KeysUntil = 0, Moved{}, nil, time.Time{}
	out.Interfaces = slices.DeleteFunc(slices.Clone(p.Interfaces), func(in Interface) bool { return in.Generation != g })
	out.Peers = slices.Clone(p.Peers)
	for i := range out.Peers {
		out.Peers[i].Keys = slices.DeleteFunc(slices.Clone(out.Peers[i].Keys), func(k HostKey) bool { return k.Generation != g })
	}
	return out
}
