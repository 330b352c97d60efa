package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/agent/linux/nettest"
)

func TestMain(m *testing.M) {
	os.Exit(nettest.Main(m, os.Args, os.Stdout, map[string]func([]string) error{
		"tunnel":      runTunnel,
		"fails":       func([]string) error { return errors.New("first line\nlast words") },
		"hangs":       hangs,
		"environment": func([]string) error { return errors.New(strings.Join(os.Environ(), " ")) },
	}))
}

// runTunnel is what `warren-agent tunnel` does.
func runTunnel(args []string) error {
	mtu, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	return Run(context.Background(), Options{
		Interface: args[1], MTU: mtu, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
}

// hangs says who it is and never gets ready.
func hangs([]string) error {
	fmt.Fprintln(os.Stderr, "pid", os.Getpid())
	<-time.After(time.Hour)
	return nil
}

// starter starts this program in one of the ways above.
func starter(t *testing.T, args ...string) Starter {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Starter{Program: self, Args: args, LogDir: t.TempDir()}
}
