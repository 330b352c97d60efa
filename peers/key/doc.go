// Package key holds the keys of a mesh as distinct types: WireGuard public, private and pre-shared
// keys, the secret of a generation, and the Ed25519 identities of hosts, admins and controllers.
//
// Public values are comparable arrays that print and marshal as text. Secret values keep their bytes
// behind a pointer, print as "(hidden)", refuse to marshal, cannot be compared with == and compare in
// constant time with Equal. To get at the bytes one has to call the loudly named Expose.
package key
