// Package probe measures tunnels from inside: every agent answers small UDP packets on its overlay addresses,
// and asks others for round trip, loss and the largest packet that arrives.
//
// WireGuard has authenticated whoever a packet inside the tunnel comes from, so there is nothing secret in a
// probe. An answer goes only to the overlay address of a known peer, is never longer than the question and
// never answered itself; so neither can be used against third parties.
package probe
