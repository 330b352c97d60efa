// Package tunnel is a WireGuard interface in a process of its own, for hosts whose kernel has no
// WireGuard: wireguard-go behind the same socket that wg(8) knows.
//
// The process is not the agent's: it lives in its own session, holds no pipe to whoever started it, and
// outlives the agent's crash, kill -9, restart and upgrade, so that an agent never interrupts traffic.
// It ends when its interface is deleted or on SIGTERM. Nobody has to watch it; whoever needs the tunnel
// looks for the interface and starts a new process where there is none.
package tunnel
