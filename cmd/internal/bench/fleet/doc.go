// Package fleet simulates many agents against one real controller: real identities, real TLS
// connections, the real protocol on real streams, but no kernel behind them.
//
// All of them share one machine with the controller, which a real fleet does not. So they read a
// message only as far as the measurement needs it (kind, revision, head, ids of the peers) and verify no
// signatures: the work of decoding is the hosts' own and would be spread over as many machines.
package fleet
