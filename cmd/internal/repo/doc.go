// Package repo holds the rules of this repository as tests: what may import what, what a name must
// carry, what the top level looks like. A rule that only stands in a document is broken by the third
// change; a rule here fails with the reason for it. Every rule is also shown a planted violation, so
// that none of them can pass by looking at nothing.
//
// The linters (.golangci.yml) look at code, these tests at structure; what one does the other leaves out.
package repo
