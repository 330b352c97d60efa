package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/warren-mesh/warren/peers/wire"
)

// A controller is a real one, on loopback, with a data folder of its own.
type controller struct {
	bin, dir, listen string
	log              *os.File
	cmd              *exec.Cmd
	admin            *http.Client
}

func newController(bin string) (*controller, error) {
	dir, err := os.MkdirTemp("", "warren-bench-")
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	listen := l.Addr().String()
	_ = l.Close()
	socket := filepath.Join(dir, "controller.sock")
	return &controller{
		bin: bin, dir: dir, listen: listen, log: log,
		admin: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			},
		}},
	}, nil
}

// start runs the controller and waits until it answers.
func (c *controller) start(ctx context.Context) error {
	c.cmd = exec.Command(filepath.Join(c.bin, "warren-controller"), "run", "--data-dir", filepath.Join(c.dir, "data"),
		"--socket", filepath.Join(c.dir, "controller.sock"), "--listen", c.listen, "--advertise", c.listen)
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	if err := c.cmd.Start(); err != nil {
		return err
	}
	for {
		if err := c.call(ctx, http.MethodGet, wire.PathMesh, nil, nil); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), c.lastWords())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (c *controller) lastWords() error {
	raw, _ := os.ReadFile(c.log.Name())
	return fmt.Errorf("log of the controller ends: %s", raw[max(0, len(raw)-2000):])
}

func (c *controller) kill() {
	_ = c.cmd.Process.Signal(syscall.SIGKILL)
	_ = c.cmd.Wait()
}

func (c *controller) remove() error {
	c.kill()
	return errors.Join(c.log.Close(), os.RemoveAll(c.dir))
}

func (c *controller) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://controller"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.admin.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, raw)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}

// cpu is the processor time that the controller has used.
func (c *controller) cpu() time.Duration {
	return processCPU(c.cmd.Process.Pid)
}

// processCPU reads utime and stime, in ticks of 10 ms (proc(5)).
func processCPU(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// processRSS is the resident memory of a process in bytes.
func processRSS(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}
