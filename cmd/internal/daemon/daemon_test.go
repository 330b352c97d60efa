package daemon_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/daemon"
)

type got struct {
	listen    string
	advertise []string
	level     string
}

func run(t *testing.T, config string, env map[string]string, args ...string) (got, int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if config != "" {
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for k, v := range env {
		t.Setenv(k, v)
	}
	var g got
	root := daemon.Root("prog", "test")
	cmd := &cobra.Command{Use: "run", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&g.listen, "listen", ":1", "")
	cmd.Flags().StringSliceVar(&g.advertise, "advertise", nil, "")
	s := daemon.Bind(cmd, "PROG_", path)
	cmd.RunE = func(*cobra.Command, []string) error {
		g.level = s.LogLevel
		_, err := s.Logger(os.Stderr)
		return err
	}
	root.AddCommand(cmd)
	root.SetArgs(args)
	code := daemon.Main(root)
	return g, code
}

func TestFlagBeforeEnvironmentBeforeFileBeforeDefault(t *testing.T) {
	file := "listen: :2\nadvertise: [a:1, b:2]\nlog-level: warn\n"
	for _, c := range []struct {
		name, file string
		env        map[string]string
		args       []string
		want       got
	}{
		{"default", "", nil, []string{"run"}, got{":1", nil, "info"}},
		{"file", file, nil, []string{"run"}, got{":2", []string{"a:1", "b:2"}, "warn"}},
		{
			"environment", file,
			map[string]string{"PROG_LISTEN": ":3", "PROG_ADVERTISE": "c:3,d:4"},
			[]string{"run"},
			got{":3", []string{"c:3", "d:4"}, "warn"},
		},
		{
			"flag", file,
			map[string]string{"PROG_LISTEN": ":3", "PROG_LOG_LEVEL": "error"},
			[]string{"run", "--listen", ":4", "--log-level", "debug"},
			got{":4", []string{"a:1", "b:2"}, "debug"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, code := run(t, c.file, c.env, c.args...)
			if code != 0 || g.listen != c.want.listen || g.level != c.want.level || !slices.Equal(g.advertise, c.want.advertise) {
				t.Errorf("got %+v, exit code %d; want %+v", g, code, c.want)
			}
		})
	}
}

func TestWrongUsageExitsWith2(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		args []string
	}{
		"unknown command":    {"", []string{"walk"}},
		"unknown flag":       {"", []string{"run", "--nope"}},
		"argument":           {"", []string{"run", "now"}},
		"unknown setting":    {"listn: :2\n", []string{"run"}},
		"setting is a map":   {"listen: {a: b}\n", []string{"run"}},
		"broken file":        {"listen: [\n", []string{"run"}},
		"unknown log level":  {"log-level: loud\n", []string{"run"}},
		"unknown log format": {"", []string{"run", "--log-format", "xml"}},
		"named file missing": {"", []string{"run", "--config", "/nonexistent/c.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, code := run(t, c.file, nil, c.args...); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
		})
	}
}
