// Package systemtest holds the tests that need a real kernel, a real systemd and real reboots: the packages are
// installed on two Debian machines in qemu, joined by a cable, and what happens to machines happens to them.
// `make test-vm` runs them; elsewhere they are skipped.
package systemtest
