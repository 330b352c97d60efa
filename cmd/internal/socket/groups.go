package socket

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxGroups is the kernel's own limit (NGROUPS_MAX).
const maxGroups = 65536

// peerGroups reads the supplementary groups of the process at the other end (SO_PEERGROUPS, socket(7)),
// for which x/sys/unix has the number but no call.
func peerGroups(fd int) ([]uint32, error) {
	for n := 64; n <= maxGroups; n *= 4 {
		groups := make([]uint32, n)
		size := uint32(n * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch errno {
		case 0:
			return groups[:size/4], nil
		case unix.ERANGE:
			continue
		default:
			return nil, fmt.Errorf("SO_PEERGROUPS: %w", errno)
		}
	}
	return nil, fmt.Errorf("SO_PEERGROUPS: more than %d groups", maxGroups)
}
