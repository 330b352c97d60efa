// Package version tells which build of Warren this is.
package version

import (
	"fmt"
	"runtime"
)

// Set by the linker (-X); see the Makefile. They stay as they are in a build without it.
var (
	version = "dev"
	commit  = "unknown"
	date    = "unknown"
)

// Short is the version alone, for instance "0.1.0".
func Short() string { return version }

// Commit is what it was built from; "unknown" in a build that nobody told.
func Commit() string { return commit }

// Date is the time of the commit, RFC 3339.
func Date() string { return date }

// String is the version with the commit, its date and the Go that built it.
func String() string {
	return fmt.Sprintf("%s (commit %s of %s, %s %s/%s)", version, commit, date, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
