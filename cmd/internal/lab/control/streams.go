package control

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// maxStreams is how many files a caller may hand over.
const maxStreams = 3

// sendStreams sends the first byte of a connection, and the files with it.
func sendStreams(conn *net.UnixConn, streams ...*os.File) error {
	fds := make([]int, len(streams))
	for i, f := range streams {
		fds[i] = int(f.Fd())
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if _, _, err := conn.WriteMsgUnix([]byte{0}, rights, nil); err != nil {
		return fmt.Errorf("handing over the standard streams: %v", err)
	}
	return nil
}

// receiveStreams is the other end of sendStreams.
func receiveStreams(conn *net.UnixConn) ([]*os.File, error) {
	first, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4*maxStreams))
	_, n, _, _, err := conn.ReadMsgUnix(first, control)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return nil, err
	}
	var streams []*os.File
	for _, message := range messages {
		fds, err := unix.ParseUnixRights(&message)
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			streams = append(streams, os.NewFile(uintptr(fd), "stream"))
		}
	}
	return streams, nil
}

func closeStreams(streams []*os.File) {
	for _, f := range streams {
		_ = f.Close() // a second time is fine
	}
}
