// Package demo is what a newcomer sees first: it starts a controller and the gateways of three sites in a lab, joins
// their LANs as an operator would, sends orders from the shop's till by way of the ERP to the ledger of accounting, LAN
// to LAN, lets things go wrong meanwhile, and watches every link of the internet between the sites. Its report says
// what was on these links, and for how long the LANs could not reach each other.
//
// A demo that cannot fail shows nothing. So at the end one order leaves the shop outside of the tunnels on purpose, and
// a watch that does not catch it fails the demo, as does any packet that the watch did not see.
package demo
