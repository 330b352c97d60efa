// Warren is the one program for people: it talks to the agent of the host that it runs on and to the
// controller of the mesh, and does nothing by itself.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/warren-mesh/warren/cmd/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the next one ends the program at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, &cli.Process{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.Getenv, Now: time.Now,
	}))
}

func run(ctx context.Context, p *cli.Process) int {
	return cli.Execute(ctx, p, newApp(p).root())
}
