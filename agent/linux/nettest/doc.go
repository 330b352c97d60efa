// Package nettest gives tests networks of their own: namespaces in which they can make interfaces, routes
// and processes without touching the machine. It needs root or a kernel that lets users have namespaces.
package nettest
