package lab

import "os"

// Reexec must be the first statement of main (labtest.Main sees to it itself). Where this process was started to be the
// lab's process 1, or to become a command on a host, it does that and never returns; else it returns at once.
func Reexec() {
	switch os.Args[0] {
	case initName:
		os.Exit(runInit(os.Args[1:]))
	case intoName:
		os.Exit(runInto(os.Args[1:]))
	}
}

// Enter puts the program into a lab: it executes the same command line once more inside, passes signals on, and
// exits with its status. So it returns inside the lab only (nil), or with an error that says what the machine lacks.
func Enter(o Options) error {
	if Inside() {
		return nil
	}
	code, err := enter(os.Args, o)
	if err != nil {
		return err
	}
	os.Exit(code)
	return nil
}

// Inside reports whether this process is the program that Enter started inside the lab.
func Inside() bool { return os.Getenv(envStage) == stageProgram }
