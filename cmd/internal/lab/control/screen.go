package control

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// A screen is a terminal made for one command, shown on the terminal of the caller. So the command controls its
// terminal: a shell has job control, Ctrl-C reaches what is in the foreground.
type screen struct {
	ours, theirs *os.File
	before       *term.State
	stdin        *os.File
	resized      chan os.Signal
	shown        chan struct{}
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// openScreen makes a terminal and connects it with stdin and stdout, which must be one.
func openScreen(stdin, stdout *os.File) (*screen, error) {
	ours, theirs, err := openPair()
	if err != nil {
		return nil, fmt.Errorf("making a terminal for the command: %v", err)
	}
	before, err := term.MakeRaw(int(stdin.Fd()))
	if err != nil {
		closeStreams([]*os.File{ours, theirs})
		return nil, fmt.Errorf("setting up the terminal: %v", err)
	}
	s := &screen{
		ours: ours, theirs: theirs, before: before, stdin: stdin,
		resized: make(chan os.Signal, 1), shown: make(chan struct{}),
	}
	s.resize()
	signal.Notify(s.resized, syscall.SIGWINCH)
	go func() {
		for range s.resized {
			s.resize()
		}
	}()
	go func() { _, _ = io.Copy(ours, stdin) }() // until the program ends
	go func() {
		_, _ = io.Copy(stdout, ours) // until nobody has the other end open
		close(s.shown)
	}()
	return s, nil
}

// streams are the command's; stderr too, unless the caller's goes elsewhere.
func (s *screen) streams(stderr *os.File) []*os.File {
	if isTerminal(stderr) {
		stderr = s.theirs
	}
	return []*os.File{s.theirs, s.theirs, stderr}
}

// handedOver tells that the command has its end: this process needs it no more.
func (s *screen) handedOver() { _ = s.theirs.Close() }

// close shows what the command has written last and leaves the caller's terminal as it was.
func (s *screen) close() {
	signal.Stop(s.resized)
	s.handedOver()
	// A process in the background may have the terminal open still; it is not waited for.
	_ = s.ours.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	<-s.shown
	_ = s.ours.Close()
	_ = term.Restore(int(s.stdin.Fd()), s.before)
}

// resize gives the command's terminal the size of the caller's.
func (s *screen) resize() {
	size, err := unix.IoctlGetWinsize(int(s.stdin.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return
	}
	_ = control(s.ours, func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size) })
}

// openPair makes a pseudo-terminal. Both ends belong to this process until they are handed over.
func openPair() (ours, theirs *os.File, err error) {
	const open = os.O_RDWR | unix.O_NOCTTY
	ours, err = os.OpenFile("/dev/ptmx", open|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	var number int
	err = control(ours, func(fd int) (err error) {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	})
	if err == nil {
		theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), open, 0)
	}
	if err != nil {
		closeStreams([]*os.File{ours})
		return nil, nil, err
	}
	return ours, theirs, nil
}

// control calls f with a file's descriptor and leaves the file able to have deadlines, which Fd does not.
func control(f *os.File, use func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = use(int(fd)) }); err != nil {
		return err
	}
	return result
}
