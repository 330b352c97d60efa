package cli

import (
	"bufio"
	"fmt"
	"strings"
)

// Confirm asks before something that cannot be undone. A script, where stdin is no terminal, is not
// asked: it says what it means. The error of whoever does not confirm has ExitFailed.
func (p *Process) Confirm(question string, yes bool) error {
	if yes || !IsTerminal(p.Stdin) {
		return nil
	}
	fmt.Fprintf(p.Stderr, "%s [y/N] ", Clean(question))
	answer, err := bufio.NewReader(p.Stdin).ReadString('\n')
	if err != nil && answer == "" {
		fmt.Fprintln(p.Stderr)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return Fail("not-confirmed", "to do it without being asked: --yes", "nothing was done")
}
