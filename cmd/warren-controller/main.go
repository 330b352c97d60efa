// Command warren-controller looks after a mesh: it admits hosts, keeps the ledger of changes and tells
// the agents what their hosts must have. No tunnel needs it to go on.
package main

import (
	"os"

	"github.com/warren-mesh/warren/cmd/internal/daemon"
)

func main() {
	root := daemon.Root("warren-controller", "The controller of a Warren mesh")
	root.AddCommand(runCommand())
	os.Exit(daemon.Main(root))
}
