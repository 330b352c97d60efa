// Command cut runs in a machine whose power is cut at some moment. It starts controller and agent on the disk, tells
// what they have loaded, and then changes the mesh without a pause, telling the revision of each change that was
// acknowledged. It never ends by itself.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/warren-mesh/warren/peers/wire"
)

const (
	bin       = "/test/bin/"
	agent     = "/run/agent.sock"
	admin     = "/run/controller.sock"
	patience  = 60 * time.Second
	keepalive = 20 // seconds; the loop walks from here
)

func main() {
	fmt.Println("CUT-FAILED", run())
	os.Exit(1)
}

// run returns only when it fails.
func run() error {
	if err := os.MkdirAll("/disk", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("/dev/nvme0n1", "/disk", "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount the disk: %v", err)
	}
	if err := start("warren-controller", "--data-dir", "/disk/controller", "--socket", admin, "--listen", "127.0.0.1:7443",
		"--advertise", "127.0.0.1:7443"); err != nil {
		return err
	}
	if err := start("warren-agent", "--data-dir", "/disk/agent", "--socket", agent); err != nil {
		return err
	}
	var mesh wire.MeshView
	if err := until(admin, wire.PathMesh, &mesh, func() bool { return true }); err != nil {
		return err
	}
	var s wire.Status
	if err := until(agent, wire.PathStatus, &s, func() bool { return true }); err != nil {
		return err
	}
	loaded, err := json.Marshal(s)
	if err != nil {
		return err
	}
	fmt.Printf("CUT-LOADED %d %s %s\n", mesh.Revision, mesh.Pin, loaded)
	if s.State == wire.StateUnenrolled {
		if err := enrol(); err != nil {
			return err
		}
	}
	if err := until(agent, wire.PathStatus, &s, func() bool { return s.Controller.Connected && s.Revision > 0 }); err != nil {
		return err
	}
	fmt.Printf("CUT-HOST %s\n", s.ID)
	return change()
}

// change changes what is in every host's plan, for ever.
func change() error {
	for i := 0; ; i++ {
		seconds := keepalive + i%10
		var mesh wire.MeshView
		if err := call(admin, http.MethodPatch, wire.PathMesh, wire.MeshSettings{Keepalive: &seconds}, &mesh); err != nil {
			return err
		}
		fmt.Printf("CUT-ACK %d\n", mesh.Revision)
	}
}

func start(program string, args ...string) error {
	log, err := os.Create("/run/" + program + ".log")
	if err != nil {
		return err
	}
	cmd := exec.Command(bin+program, append([]string{"run"}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		err := cmd.Wait()
		text, _ := os.ReadFile(log.Name())
		fmt.Printf("CUT-FAILED %s ended: %v\n%s\n", program, err, text)
	}()
	return nil
}

func enrol() error {
	var made wire.TokenView
	if err := call(admin, http.MethodPost, wire.PathTokens, wire.TokenOrder{Site: "shop", Uses: 1, TTL: 600}, &made); err != nil {
		return err
	}
	out, err := exec.Command(bin+"warren", "--agent", agent, "enroll", made.Token, "--name", "shop").CombinedOutput()
	if err != nil {
		return fmt.Errorf("enroll: %v: %s", err, out)
	}
	return nil
}

// until asks until there is an answer that will do.
func until(socket, path string, into any, is func() bool) error {
	deadline := time.Now().Add(patience)
	for {
		err := call(socket, http.MethodGet, path, nil, into)
		if err == nil && is() {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s at %s: not within %v: %v", path, socket, patience, err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

func call(socket, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://local"+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err = io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, raw)
	}
	return json.Unmarshal(raw, into)
}
