package tunnel

import (
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// A tunnel at full speed keeps buffers for all packets under way, 64 KiB each: 170 MiB, measured, of which
// it holds 10 MiB again when it is idle. Below 128 MiB the collector costs throughput (40 % at 64 MiB), so
// only a small machine, where the alternative is to be killed, gets a lower limit.
const (
	memoryShare = 4 // of the machine's memory
	memoryLeast = 48 << 20
	memoryMost  = 256 << 20
)

// limitMemory sets a soft limit, unless somebody has set one (GOMEMLIMIT).
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	var machine unix.Sysinfo_t
	if unix.Sysinfo(&machine) != nil {
		return
	}
	total := uint64(machine.Totalram) * uint64(machine.Unit)
	debug.SetMemoryLimit(int64(min(max(total/memoryShare, memoryLeast), memoryMost)))
}
