package lab

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"slices"
)

// listenNotify makes the socket on which a daemon tells its service manager that it works: sd_notify(3).
func listenNotify(path string) (*net.UnixConn, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
}

// awaitReady reads messages until the socket is closed; the channel is closed at the first READY=1.
func awaitReady(socket *net.UnixConn) <-chan struct{} {
	ready := make(chan struct{})
	go func() {
		message := make([]byte, 4096)
		said := false
		for {
			n, err := socket.Read(message)
			if err != nil {
				return
			}
			if !said && slices.ContainsFunc(bytes.Split(message[:n], []byte("\n")), isReady) {
				said = true
				close(ready)
			}
		}
	}()
	return ready
}

func isReady(line []byte) bool { return string(line) == "READY=1" }
