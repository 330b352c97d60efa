// Warren-lab is the sites of a company on one machine: hosts in network namespaces behind a router that plays the
// internet, with the real controller and agents on them, to try things out and to rehearse.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/internal/lab"
)

func main() {
	lab.Reexec()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the next one ends the program at once.
	context.AfterFunc(ctx, stop)
	p := &cli.Process{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.Getenv, Now: time.Now,
	}
	os.Exit(cli.Execute(ctx, p, newApp(p).root()))
}
