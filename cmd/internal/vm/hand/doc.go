// Package hand is how a test on this machine works in a guest: it runs commands there, keeps numbered
// packets flowing, and asks when the guest's network came up. Both ends speak net/rpc over one serial port
// of the virtual machine, so nothing of the guest's network is touched by being watched.
package hand
