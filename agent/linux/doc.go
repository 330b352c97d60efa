// Package linux is the only part of the agent that speaks to the kernel: links, addresses and routes over
// rtnetlink, WireGuard over its generic netlink family or, where the kernel has none, over the socket of a
// tunnel process.
//
// Kernel does it to a real one, Fake to a State in memory by the same rules; one contract test holds both
// to them. Nothing here decides what a host shall have: that is peers.Diff. Everything here keeps to what
// is ours: links of three names that are WireGuard's, and routes with our protocol number.
package linux
