package labtest

import (
	"fmt"
	"os"

	"github.com/warren-mesh/warren/cmd/internal/lab"
)

// Main runs the tests of a package inside a lab; it is all that the package's TestMain has to call:
//
//	func TestMain(m *testing.M) { labtest.Main(m) }
func Main(m interface{ Run() int }) {
	lab.Reexec()
	if err := lab.Enter(lab.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
	m.Run() // its code is the exit status, by way of the testing package
}
