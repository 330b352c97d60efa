// Package tap sees every packet on links of the process's network namespace, says of what kind each is, and searches
// all of its bytes for content that must not be there. It is how the demo knows that order data leaves a site in
// tunnels and in no other way.
//
// A tap that misses packets proves nothing. So the capture goes through a ring that it shares with the kernel, the
// kernel's count of lost packets and the links' own counters are held against what was seen, and Close fails when one
// packet is unaccounted for. For the same reason a packet has to prove what it is: WireGuard by ports, message types
// and lengths, the control channel by its address and unbroken TLS records in both directions. Whatever is left is
// Other, junk and fragments included.
package tap
