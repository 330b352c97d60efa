package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// spaces are the namespaces of a host, held open: they last as long as these files or a process in them.
type spaces struct {
	network, mounts, name *os.File
}

// firstSpaceFD is the descriptor at which a command that becomes a host's finds the host's namespaces.
const firstSpaceFD = 3

func (s spaces) files() []*os.File { return []*os.File{s.network, s.mounts, s.name} }

func (s spaces) close() { closeAll(s.files()...) }

// openSpaces holds the calling thread's namespaces.
func openSpaces() (s spaces, err error) {
	for _, f := range []struct {
		name string
		into **os.File
	}{{"net", &s.network}, {"mnt", &s.mounts}, {"uts", &s.name}} {
		if *f.into, err = os.Open("/proc/thread-self/ns/" + f.name); err != nil {
			return s, err
		}
	}
	return s, nil
}

// enter moves the calling thread, which nobody may use for anything else afterwards.
func (s spaces) enter() error {
	if s.network == nil {
		return errors.New("the host is switched off")
	}
	return enterSpaces(int(s.network.Fd()), int(s.mounts.Fd()), int(s.name.Fd()))
}

func enterSpaces(network, mounts, name int) error {
	// A thread that shares its working directory with others is refused another mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("leaving the shared working directory: %v", err)
	}
	for _, to := range []struct {
		fd, kind int
		what     string
	}{
		{network, unix.CLONE_NEWNET, "network"},
		{name, unix.CLONE_NEWUTS, "host name"},
		{mounts, unix.CLONE_NEWNS, "mount"},
	} {
		if err := unix.Setns(to.fd, to.kind); err != nil {
			return fmt.Errorf("entering the %s namespace: %v", to.what, err)
		}
	}
	return nil
}

// onFreshThread calls f on a thread that ends with it, so that f may change the thread's namespaces. The main thread
// cannot end and is what /proc/self shows, so it is never that thread.
func onFreshThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			result <- onFreshThread(f) // elsewhere, for this goroutine occupies the main thread meanwhile
			runtime.UnlockOSThread()
			return
		}
		result <- f() // the thread ends with this goroutine, as it is not unlocked
	}()
	return <-result
}
