package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMain makes the test binary what it is called: warren-lab itself, or an ordinary process in the place of one of the
// programs that it runs. The real ones are tested in cmd/internal/e2e; here it is the lab.
func TestMain(m *testing.M) {
	name := filepath.Base(os.Args[0])
	stand, ok := stands()[name]
	switch {
	case ok:
		if err := stand(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			syscall.Exit(1)
		}
		syscall.Exit(0)
	case strings.HasPrefix(name, "warren-lab-"), name == "warren-lab":
		main()
	default:
		m.Run()
	}
}

func stands() map[string]func(args []string) error {
	return map[string]func([]string) error{"warren": command, "warren-agent": daemon, "warren-controller": daemon}
}

// daemon says that it is ready and runs until it is told to end, or fails if the test says so.
func daemon([]string) error {
	if os.Getenv("LAB_TEST_FAIL") != "" {
		return errors.New("first line of the reason\nsecond line of the reason")
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "READY=1\n"); err != nil {
		return err
	}
	<-stop
	return nil
}

// command makes tokens and takes them.
func command(args []string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	switch args[0] {
	case "token": // create --site SITE --name NAME -o json
		fmt.Printf(`{"token":"for-%s"}`, args[5])
	case "enroll":
		if args[1] != "for-"+host {
			return fmt.Errorf("the token %s is not for %s", args[1], host)
		}
		return os.WriteFile("/var/lib/enrolled", nil, 0o600)
	}
	return nil
}
