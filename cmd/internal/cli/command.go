package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// Prepare gives a program's root command and all below it the manners of this project: wrong usage is an
// Error with ExitUsage, help looks the same everywhere, and words that are no command are refused with
// the nearest one as a hint. Call it when the tree is complete.
func Prepare(root *cobra.Command) {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usage(cmd.CommandPath()+" --help", "%v", err)
	})
	root.SetUsageFunc(func(cmd *cobra.Command) error { return writeUsage(cmd.OutOrStderr(), cmd) })
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { writeHelp(cmd.OutOrStdout(), cmd) })
	root.SetHelpCommand(helpCommand(root))
	prepareGroups(root)
}

// prepareGroups makes commands that only hold others refuse to run alone. Cobra would print their help
// and succeed, which hides a typing error in a script.
func prepareGroups(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		prepareGroups(sub)
	}
	if !cmd.HasSubCommands() {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknown(cmd, args[0])
		}
		return nil
	}
	if cmd.Runnable() {
		return
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return Usage(cmd.CommandPath()+" --help", "%s needs a command: %s", cmd.CommandPath(), strings.Join(names(cmd), ", "))
	}
}

func unknown(cmd *cobra.Command, word string) error {
	cmd.SuggestionsMinimumDistance = 2
	hint := cmd.CommandPath() + " --help"
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		hint = cmd.CommandPath() + " " + near[0]
	}
	return Usage(hint, "%s has no command %.40q", cmd.CommandPath(), word)
}

func names(cmd *cobra.Command) []string {
	var out []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			out = append(out, sub.Name())
		}
	}
	return out
}

// Args wants exactly the named arguments, for instance Args("NAME", "KEY").
func Args(want ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(want):
			return Usage(cmd.CommandPath()+" --help", "%s needs %s", cmd.CommandPath(), strings.Join(want[len(args):], " and "))
		case len(args) > len(want):
			return Usage(cmd.CommandPath()+" --help", "%s does not take %.40q", cmd.CommandPath(), args[len(want)])
		}
		return nil
	}
}

func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]...", Short: "Explain a command", Example: "  " + root.Name() + " help",
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			cmd, _, err := root.Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return names(cmd), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return unknown(cmd, strings.Join(rest, " "))
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}
