// Package load makes traffic between the hosts of a lab and counts what becomes of it: numbered datagrams, of
// which every single one must arrive, a TCP stream, and short HTTP requests.
//
// A sender that the machine has held up catches up little by little, so that the number of packets is what was asked
// for; what it was held up by shows in the longest gap, which therefore is only worth something beside that of an
// undisturbed run.
package load
