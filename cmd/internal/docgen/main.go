// Docgen writes the command reference, docs/commands, and the man pages, docs/man, of all programs. It
// asks each of them to describe itself (cli.DocsCommand), so what it writes is what the program does.
//
//	go run ./cmd/internal/docgen
package main

import (
	"context"
	"fmt"
	"os"
)

func main() {
	if err := run(context.Background(), "."); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, top string) error {
	pages, err := generate(ctx, top)
	if err != nil {
		return err
	}
	return write(top, pages)
}
