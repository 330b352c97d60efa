package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A Description is a command with all that is below it, as the command reference shows it.
type Description struct {
	Path     string        `json:"path"` // "warren host ls"
	Use      string        `json:"use"`
	Short    string        `json:"short"`
	Long     string        `json:"long,omitempty"`
	Example  string        `json:"example,omitempty"`
	Flags    []FlagText    `json:"flags,omitempty"` // of this command alone
	Every    []FlagText    `json:"every,omitempty"` // of this command and all below it
	Commands []Description `json:"commands,omitempty"`
}

// A FlagText describes a flag.
type FlagText struct {
	Name    string `json:"name"`
	Short   string `json:"short,omitempty"`
	Value   string `json:"value,omitempty"` // empty for a switch
	Usage   string `json:"usage"`
	Default string `json:"default,omitempty"`
}

// DocsCommand is a hidden command that prints the program's Description as JSON. Every program adds it to
// its root; cmd/internal/docgen makes the command reference and the man pages of what it prints, so that
// no program carries the code for that.
func DocsCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "docs", Short: "Print the description of all commands as JSON", Hidden: true, Args: Args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return WriteJSON(cmd.OutOrStdout(), Describe(root))
		},
	}
}

// Describe describes a command and all below it that are not hidden.
func Describe(cmd *cobra.Command) Description {
	cmd.InitDefaultHelpFlag()
	d := Description{
		Path: cmd.CommandPath(), Use: useLine(cmd), Short: cmd.Short, Long: cmd.Long, Example: cmd.Example,
		Every: flagTexts(cmd.PersistentFlags()),
	}
	own := cmd.LocalNonPersistentFlags()
	d.Flags = flagTexts(own)
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			d.Commands = append(d.Commands, Describe(sub))
		}
	}
	return d
}

func flagTexts(flags *pflag.FlagSet) []FlagText {
	var out []FlagText
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		t := FlagText{Name: f.Name, Short: f.Shorthand, Value: value, Usage: usage, Default: f.DefValue}
		if isZero(f) {
			t.Default = ""
		}
		out = append(out, t)
	})
	return out
}

// isZero tells the defaults that say nothing.
func isZero(f *pflag.Flag) bool {
	switch f.DefValue {
	case "", "0", "false", "[]", "0s":
		return true
	}
	return false
}
