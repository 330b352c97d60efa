// Package store keeps what an agent must not forget in files under its data directory: the identity, the
// private keys by generation, the last plan and the one before, the membership, and an enrolment that
// is under way.
//
// Every file is written beside its name, synced, renamed and the folder synced, so that a crash or a full
// disk leaves the old content. Every file names its format and carries a checksum. What is damaged is
// reported as Damaged and never replaced by itself, least of all the identity; for the plan alone there
// is something to fall back to.
package store
