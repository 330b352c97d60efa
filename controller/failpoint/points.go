// Package failpoint kills the controller at a boundary of a rotation, for tests, in a program that was
// built with -tags failpoint and finds the name of a point in WARREN_FAILPOINT. In any other program its
// functions are empty, and nothing of it is left.
package failpoint

// The points, in the order in which a rotation comes to them.
const (
	SecretMade      = "controller-secret-made"      // the secret is in the vault, the ledger knows nothing
	StartRecorded   = "controller-start-recorded"   // the ledger has the new generation, no host knows
	StartPublished  = "controller-start-published"  // hosts are being told
	KeyRecorded     = "controller-key-recorded"     // the ledger has a host's new key, no other host knows
	KeyPublished    = "controller-key-published"    // hosts are being told
	PairsSettled    = "controller-pairs-settled"    // both ends of a pair have moved, neither was told
	PairsTold       = "controller-pairs-told"       // one end was told
	EndRecorded     = "controller-end-recorded"     // the ledger has the end of the old generation, no host knows
	EndPublished    = "controller-end-published"    // hosts are being told, the secret is still there
	SecretDestroyed = "controller-secret-destroyed" // the secret is gone

	// Where a rotation is given up.
	HoldRecorded  = "controller-hold-recorded"  // the ledger has that, no host knows
	HoldPublished = "controller-hold-published" // hosts are being told
)

// Points are all points of a rotation that comes to its end.
func Points() []string {
	return []string{
		SecretMade, StartRecorded, StartPublished, KeyRecorded, KeyPublished, PairsSettled, PairsTold, EndRecorded,
		EndPublished, SecretDestroyed,
	}
}

// AbortPoints are those of one that is given up.
func AbortPoints() []string {
	return []string{HoldRecorded, HoldPublished, EndRecorded, EndPublished, SecretDestroyed}
}
