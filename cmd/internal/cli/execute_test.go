package cli_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// run executes a program with one command, do, that returns err.
func run(t *testing.T, err error, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	format := cli.Table
	root := &cobra.Command{Use: "prog", Short: "Do things"}
	root.PersistentFlags().VarP(&format, cli.OutputFlag, "o", "how")
	root.AddCommand(&cobra.Command{
		Use: "do", Short: "Do it", Args: cli.Args(), RunE: func(*cobra.Command, []string) error { return err },
	})
	root.AddCommand(cli.DocsCommand(root))
	cli.Prepare(root)
	p := &cli.Process{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
		Env: func(string) string { return "" }, Now: time.Now,
	}
	code = cli.Execute(t.Context(), p, root)
	return code, out.String(), errs.String()
}

func TestExecuteTellsErrors(t *testing.T) {
	fault := wire.NewFault(409, "name-taken", "there is a host \"shop\" already", "choose another: --name NAME")
	busy := &wire.Fault{Code: "busy", Detail: "too many enrolments", RetryAfter: 3}
	several := peers.Problems{{Code: "a", Message: "first", Hint: "do this"}, {Code: "b", Message: "second"}}
	for name, c := range map[string]struct {
		err    error
		code   int
		stderr string
		json   string
	}{
		"done": {nil, 0, "", ""},
		"exit": {cli.Exit(cli.ExitDegraded), 3, "", ""},
		"fault": {
			fmt.Errorf("call: %w", fault), 1, "prog: there is a host \"shop\" already\nhint: choose another: --name NAME\n",
			`{"error":{"code":"name-taken","message":"there is a host \"shop\" already","hint":"choose another: --name NAME"}}`,
		},
		"retry": {
			busy, 1, "prog: too many enrolments\nhint: try again in 3 s\n",
			`{"error":{"code":"busy","message":"too many enrolments","hint":"try again in 3 s"}}`,
		},
		"unenrolled": {
			wire.NewFault(409, "unenrolled", "not enrolled", ""), 4, "prog: not enrolled\n",
			`{"error":{"code":"unenrolled","message":"not enrolled","hint":""}}`,
		},
		"without a code": {
			&wire.Fault{Detail: "boom"}, 1, "prog: boom\n", `{"error":{"code":"failed","message":"boom","hint":""}}`,
		},
		"several": {
			several, 1, "prog: refused, for these reasons:\na  first\n  hint: do this\nb  second\n",
			`{"error":{"code":"a","message":"first (do this)\nsecond","hint":"do this",` +
				`"problems":[{"code":"a","message":"first","hint":"do this"},{"code":"b","message":"second"}]}}`,
		},
		"interrupted": {
			fmt.Errorf("read: %w", context.Canceled), 1, "prog: interrupted\n",
			`{"error":{"code":"interrupted","message":"interrupted","hint":""}}`,
		},
		"unforeseen": {
			errors.New("disk on fire"), 1, "prog: disk on fire\n",
			`{"error":{"code":"failed","message":"disk on fire","hint":""}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := run(t, c.err, "do")
			if code != c.code || stdout != "" || stderr != c.stderr {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %d, nothing, %q", code, stdout, stderr, c.code, c.stderr)
			}
			code, stdout, stderr = run(t, c.err, "do", "-o", "json")
			flat := strings.NewReplacer("\n", "", "  ", "", `": `, `":`).Replace(stdout)
			want := strings.ReplaceAll(c.json, "\n", `\n`)
			if code != c.code || stderr != "" || flat != want {
				t.Errorf("-o json: exit code %d, stderr %q, stdout\n%s\nwant\n%s", code, stderr, flat, want)
			}
		})
	}
}

func TestExecuteRefusesWrongWords(t *testing.T) {
	for line, want := range map[string]string{
		"dop":            "prog: prog has no command \"dop\"\nhint: prog do\n",
		"elephant":       "prog: prog has no command \"elephant\"\nhint: prog --help\n",
		"":               "prog: prog needs a command: do\nhint: prog --help\n",
		"do this":        "prog: prog do does not take \"this\"\nhint: prog do --help\n",
		"do --this":      "prog: unknown flag: --this\nhint: prog do --help\n",
		"do -o xml":      "prog: invalid argument \"xml\" for \"-o, --output\" flag: want table or json\nhint: prog do --help\n",
		"help elephant":  "prog: prog has no command \"elephant\"\nhint: prog --help\n",
		"do -- -o json":  "prog: prog do does not take \"-o\"\nhint: prog do --help\n",
		"do -- -ojson x": "prog: prog do does not take \"-ojson\"\nhint: prog do --help\n",
	} {
		code, stdout, stderr := run(t, nil, strings.Fields(line)...)
		if code != cli.ExitUsage || stdout != "" || stderr != want {
			t.Errorf("prog %s: exit code %d, stdout %q, stderr %q; want 2, nothing, %q", line, code, stdout, stderr, want)
		}
	}
}

func TestHelp(t *testing.T) {
	code, stdout, stderr := run(t, nil, "help", "do")
	want := `Do it.

Usage:
  prog do

Flags:
  -h, --help   help for do

Flags of every command:
  -o, --output table|json   how (default table)
`
	if diff := cmp.Diff(want, stdout); code != 0 || stderr != "" || diff != "" {
		t.Errorf("exit code %d, stderr %q\n%s", code, stderr, diff)
	}
}

func TestDescription(t *testing.T) {
	root := &cobra.Command{Use: "prog", Short: "Do things"}
	root.PersistentFlags().StringP("output", "o", "table", "how to write `RESULTS`")
	do := &cobra.Command{
		Use: "do NAME", Short: "Do it", Long: "Do it well.", Example: "  prog do", Run: func(*cobra.Command, []string) {},
	}
	do.Flags().Bool("yes", false, "do not ask")
	root.AddCommand(do, &cobra.Command{Use: "secret", Hidden: true, Run: do.Run}, cli.DocsCommand(root))
	want := cli.Description{
		Path: "prog", Use: "prog COMMAND", Short: "Do things",
		Every: []cli.FlagText{{Name: "output", Short: "o", Value: "RESULTS", Usage: "how to write RESULTS", Default: "table"}},
		Commands: []cli.Description{{
			Path: "prog do", Use: "prog do NAME", Short: "Do it", Long: "Do it well.", Example: "  prog do",
			Flags: []cli.FlagText{{Name: "yes", Usage: "do not ask"}},
		}},
	}
	if diff := cmp.Diff(want, cli.Describe(root)); diff != "" {
		t.Error(diff)
	}
}
