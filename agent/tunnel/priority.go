package tunnel

import (
	"os"

	"golang.org/x/sys/unix"
)

// autogroupNice is the nice value of the processor time that a tunnel gets as a whole (sched(7), The autogroup feature). A
// packet meets four threads that must be woken, each behind whatever runs: on a busy machine that adds up.
const autogroupNice = "-10"

// comeFirst asks for a larger share of a busy processor than others have. That is a favour: a kernel without autogroups,
// or a user who may not ask (RLIMIT_NICE), leaves everything as it is.
func comeFirst() {
	if leader, err := unix.Getsid(0); err == nil && leader == os.Getpid() { // else the share is that of whoever started it
		_ = os.WriteFile("/proc/self/autogroup", []byte(autogroupNice), 0)
	}
}
