package peers

import (
	"hash/fnv"
	"time"
)

// All hosts hear of a new generation in the same moment. To make a key and build an interface takes a host some ten
// milliseconds of its processor, and where hosts share a machine, traffic would wait for all of them. So they begin one
// after the other.
const (
	buildSpread = 100 * time.Millisecond // for each peer
	buildMost   = time.Second
)

// BuildAfter is how long after it has heard of a new generation the host begins with it: the same for each generation
// and host, whenever it is asked. It is 0 where no rotation runs.
func (p *Plan) BuildAfter() time.Duration {
	if p.Leaving() == 0 || len(p.Peers) == 0 {
		return 0
	}
	return spreadOver(min(time.Duration(len(p.Peers))*buildSpread, buildMost), p.Newest(), p.Self.ID)
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
