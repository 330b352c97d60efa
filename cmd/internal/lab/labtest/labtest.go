// Package labtest starts labs for tests: closed at the end of the test, logs shown if it failed.
package labtest

import (
	"testing"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// New builds a lab for the test. It is closed when the test ends, and the daemons' logs are shown if it failed.
func New(t testing.TB, topology lab.Topology) *lab.Lab {
	t.Helper()
	l, err := lab.New(topology)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			l.WriteLogs(t.Output())
		}
		if err := l.Close(); err != nil {
			t.Errorf("closing the lab: %v", err)
		}
	})
	return l
}
