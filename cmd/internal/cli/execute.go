package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/peers"
)

// OutputFlag is the name of the flag that holds the Format.
const OutputFlag = "output"

// Execute runs a command line and returns the exit code. What went wrong is told on stderr, and with
// -o json on stdout as well.
func Execute(ctx context.Context, p *Process, root *cobra.Command) int {
	root.SetArgs(p.Args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var exit Exit
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &exit):
		return int(exit)
	}
	told := explain(err)
	if asJSON(cmd, told, p.Args) {
		if err := WriteError(p.Stdout, told); err != nil {
			fmt.Fprintln(p.Stderr, err)
		}
		return told.Exit
	}
	page := &Page{W: p.Stderr, Now: p.Now(), Colour: p.Colour(p.Stderr)}
	tell(page, root.Name(), told)
	return told.Exit
}

func asJSON(cmd *cobra.Command, err *Error, args []string) bool {
	if f := cmd.Flags().Lookup(OutputFlag); f != nil && f.Value.String() == string(JSON) {
		return true
	}
	return err.Exit == ExitUsage && wantsJSON(args)
}

// WriteError writes an error as scripts expect it on stdout.
func WriteError(w io.Writer, err error) error {
	return WriteJSON(w, errorView(err))
}

// WriteErrorLine is WriteError on one line, for streams.
func WriteErrorLine(w io.Writer, err error) error {
	return WriteJSONLine(w, errorView(err))
}

func errorView(err error) any {
	type body struct {
		Code     string          `json:"code"`
		Message  string          `json:"message"`
		Hint     string          `json:"hint"`
		Problems []peers.Problem `json:"problems,omitempty"`
	}
	told := explain(err)
	return struct {
		Error body `json:"error"`
	}{body{told.Code, told.Message, told.Remedy, told.Problems}}
}

// TellError writes an error for people, in the name of a program.
func TellError(page *Page, program string, err error) { tell(page, program, explain(err)) }

func tell(page *Page, program string, err *Error) {
	if len(err.Problems) > 0 {
		fmt.Fprintf(page.W, "%s: %s\n", program, page.Paint(Bad, "refused, for these reasons:"))
		page.Problems(err.Problems)
		return
	}
	message := strings.TrimSpace(err.Message)
	fmt.Fprintf(page.W, "%s: %s\n", program, Clean(message))
	if err.Remedy != "" {
		fmt.Fprintf(page.W, "%s %s\n", page.Paint(Dim, "hint:"), Clean(err.Remedy))
	}
}
