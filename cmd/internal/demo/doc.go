// Package demo is what a newcomer sees first: it starts a controller and three hosts in a lab, enrols them as an
// operator would, sends orders from the shop by way of the ERP to accounting, and watches every link of the internet
// between them meanwhile. Its report says what was on these links.
//
// A demo that cannot fail shows nothing. So at the end one order leaves the shop outside of the tunnels on purpose, and
// a watch that does not catch it fails the demo, as does any packet that the watch did not see.
package demo
