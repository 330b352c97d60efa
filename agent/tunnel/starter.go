package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startWithin = 10 * time.Second
	lastWords   = 2048 // bytes of the log that an error quotes at most
)

// A Starter starts tunnel processes. The zero value starts this very program as `tunnel`, with the logs
// in the directory for temporary files.
type Starter struct {
	Program string   // the program; os.Executable if empty
	Args    []string // what comes before --interface and --mtu; "tunnel" if nil
	LogDir  string   // where tunnel-NAME.log is written, anew at every start
}

// Start starts the process for an interface and returns when it can be configured at SocketPath. The
// process is in a session of its own and holds no descriptor of the caller, so that nothing which ends
// the caller ends it: neither signals to the process group, nor a terminal that hangs up, nor SIGPIPE.
// While the caller lives it reaps the process.
func (s Starter) Start(ctx context.Context, name string, mtu int) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if _, err := net.InterfaceByName(name); err == nil {
		return fmt.Errorf("%s: %w", name, ErrRunning)
	}
	log, err := s.openLog(name)
	if err != nil {
		return fmt.Errorf("start the tunnel process of %s: %v", name, err)
	}
	defer log.Close()
	ready, says, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start the tunnel process of %s: %v", name, err)
	}
	defer ready.Close()
	cmd, err := s.command(name, mtu)
	if err != nil {
		says.Close()
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{says}
	err = cmd.Start()
	says.Close()
	if err != nil {
		return fmt.Errorf("start the tunnel process of %s: %v", name, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is in its log
	}()
	return await(ctx, name, cmd, ready, ended, log.Name())
}

// await returns when the process says that it is ready. A process that does not is ended.
func await(ctx context.Context, name string, cmd *exec.Cmd, ready *os.File, ended <-chan struct{}, log string) error {
	stop := context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Now()) })
	defer stop()
	word, err := io.ReadAll(io.LimitReader(ready, int64(len(readyWord))))
	if string(word) == readyWord {
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = cmd.Process.Kill() // it may have ended in this moment
		<-ended
		return fmt.Errorf("the tunnel process of %s was not ready in time: %v: %s", name, context.Cause(ctx), tail(log))
	}
	<-ended
	return fmt.Errorf("the tunnel process of %s ended at once: %s", name, tail(log))
}

func (s Starter) command(name string, mtu int) (*exec.Cmd, error) {
	program := s.Program
	if program == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the program to start as the tunnel process of %s: %v", name, err)
		}
		program = self
	}
	args := s.Args
	if args == nil {
		args = []string{"tunnel"}
	}
	args = append(slices.Clone(args), "--interface", name, "--mtu", strconv.Itoa(mtu))
	// Not CommandContext: the process outlives the context.
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd, nil
}

// environment is what the process needs of ours. What systemd tells a service is not meant for it: a
// tunnel must not answer the agent's watchdog.
func environment() []string {
	out := []string{readyVariable + "=3"}
	for _, name := range []string{"PATH", "TZ", "TMPDIR", "GODEBUG", "GOGC", "GOMEMLIMIT", "GOTRACEBACK", "GOCOVERDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+value)
		}
	}
	return out
}

func (s Starter) openLog(name string) (*os.File, error) {
	dir := s.LogDir
	if dir == "" {
		dir = os.TempDir()
	}
	path := filepath.Join(dir, "tunnel-"+name+".log")
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
}

// tail is the end of a log on one line.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	text = text[max(0, len(text)-lastWords):]
	lines := strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
	if len(lines) == 0 {
		return "it said nothing"
	}
	return strings.Join(lines, "; ")
}
