package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts run the real program: testscript starts this test binary again, as warren. It is
// their systemctl as well, or they would depend on what is installed here.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"warren": main, "systemctl": systemctl})
}

// systemctl shows what the script has in a file of the unit's name. Without one, systemd does not run.
func systemctl() {
	shown, err := os.ReadFile(filepath.Join(os.Getenv("WORK"), os.Args[len(os.Args)-1]))
	if err != nil || os.Args[1] != "show" {
		fmt.Fprintln(os.Stderr, "System has not been booted with systemd as init system (PID 1). Can't operate.")
		os.Exit(1)
	}
	fmt.Print(string(shown))
}

// TestScripts runs testdata/*.txtar: what the program prints and returns, against daemons that speak
// the real messages (daemon_test.go).
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata",
		RequireUniqueNames: true,
		UpdateScripts:      os.Getenv("UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // or every command takes a second with -race
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("WARREN_AGENT", filepath.Join(env.WorkDir, "agent.sock"))
			env.Setenv("WARREN_CONTROLLER", "unix:"+filepath.Join(env.WorkDir, "controller.sock"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"agent":      startAgent,
			"controller": startController,
			"exits":      exits,
			"contract":   contract,
			"waitfor":    waitFor,
			"deadsocket": deadSocket,
			"identified": identified,
			"terminal":   terminal,
		},
	})
}
