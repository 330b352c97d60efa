// Package failpoint kills the agent at a boundary of a rotation, for tests, in a program that was built
// with -tags failpoint and finds the name of a point in WARREN_FAILPOINT. In any other program its
// functions are empty, and nothing of it is left.
package failpoint

// The points, in the order in which a rotation comes to them.
const (
	PlanHeard   = "agent-plan-heard"   // a new generation is planned, there is no key yet
	KeyMade     = "agent-key-made"     // the key is on disk, there is no interface yet
	LinkBuilt   = "agent-link-built"   // the interface is there, its key was not announced
	PeersSet    = "agent-peers-set"    // it has peers
	Proven      = "agent-proven"       // a peer has answered there, its traffic is about to move
	Switched    = "agent-switched"     // it has moved, nothing on disk says so
	SwitchKept  = "agent-switch-kept"  // that is on disk, the controller was not told
	RetireHeard = "agent-retire-heard" // the generation is over with a peer, which is still there
	PeerRetired = "agent-peer-retired" // the peer is gone
	EndHeard    = "agent-end-heard"    // the generation is over, the interface is still there
	LinkGone    = "agent-link-gone"    // the interface is gone, its key is still on disk
	KeyWiped    = "agent-key-wiped"    // the key is gone
)

// Points are all points.
func Points() []string {
	return []string{
		PlanHeard, KeyMade, LinkBuilt, PeersSet, Proven, Switched, SwitchKept, RetireHeard, PeerRetired, EndHeard,
		LinkGone, KeyWiped,
	}
}
