// Package controller looks after a mesh: it owns the inventory, takes every change to it through one
// place (validated by peers, appended to the ledger, published to the hosts concerned), admits hosts by
// token, and keeps a stream to the agent of each host.
//
// It carries no data traffic and no host needs it to go on: while it is away, everything stays as it is.
package controller
