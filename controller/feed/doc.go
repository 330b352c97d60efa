// Package feed turns the revisions of an inventory into what each host must be told of them.
//
// There are no queues. The feed remembers which hosts each of the last revisions concerned; a reader
// keeps nothing but the revision that it has told its host. When something changed, the reader asks for
// everything since then at once: one line whatever the number of revisions, so a slow reader or a busy
// machine makes fewer and bigger lines by itself. The record of a host is encoded once for each revision
// that changed it, and the same bytes go to all readers.
//
// A policy hides hosts from each other. Who sees whom follows from two roles by a few machine words, so it is
// computed for those that a revision concerns and kept for nobody. Readers with the same role are told the
// same: what a batch is for them is put together once for each role.
package feed
