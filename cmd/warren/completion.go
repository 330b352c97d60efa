package main

import (
	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
)

func (a *app) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use: "completion bash|zsh|fish", Short: "Print a shell's completion script",
		Long: `Print a shell's completion script. It completes commands, flags, and the names of hosts, sites and tokens as
the agent and the controller know them.

  bash:  warren completion bash > /etc/bash_completion.d/warren
  zsh:   warren completion zsh > "${fpath[1]}/_warren"
  fish:  warren completion fish > ~/.config/fish/completions/warren.fish`,
		Example: "  source <(warren completion bash)",
		Args:    cli.Args("bash, zsh or fish"), ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			out := a.proc.Stdout
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(out, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(out)
			case "fish":
				return cmd.Root().GenFishCompletion(out, true)
			}
			return cli.Usage("warren completion --help", "there is no completion for %.40q: want bash, zsh or fish", args[0])
		},
	}
}
