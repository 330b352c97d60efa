package packages

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/warren-mesh/warren/agent/linux"
)

// top is the top of the checkout.
const top = "../../.."

// exposures are what systemd-analyze may find exposed at most, in tenths.
func exposures() map[string]int {
	return map[string]int{"warren-agent": 20, "warren-controller": 15, "warren-online": 10}
}

// need skips a test for want of a program.
func need(t *testing.T, program, from string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("there is no %s here: apt-get install %s", program, from)
	}
}

// stage copies the units to where the programs that they start exist, each changed by edit.
func stage(t *testing.T, edit func(string) string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	out := map[string]string{}
	for name := range exposures() {
		program := filepath.Join(dir, strings.Replace(name, "warren-online", "warren", 1))
		if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(top, "systemd", name+".service"))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = filepath.Join(dir, name+".service")
		unit := strings.ReplaceAll(edit(string(text)), "/usr/bin/", dir+"/")
		if err := os.WriteFile(out[name], []byte(unit), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func asItIs(unit string) string { return unit }

// verify gives what systemd says of units; nothing where all is well.
func verify(t *testing.T, units map[string]string) string {
	t.Helper()
	args := []string{"verify", "--man=no"}
	for _, path := range units {
		args = append(args, path)
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput()
	if err != nil {
		return err.Error() + "\n" + string(out)
	}
	return string(out)
}

func TestUnitsVerify(t *testing.T) {
	need(t, "systemd-analyze", "systemd")
	if said := verify(t, stage(t, asItIs)); said != "" {
		t.Errorf("systemd says:\n%s", said)
	}
	misspelt := stage(t, func(unit string) string { return strings.Replace(unit, "NoNewPrivileges=", "NoNewPrivilege=", 1) })
	if said := verify(t, misspelt); strings.Count(said, "NoNewPrivilege") != len(misspelt) {
		t.Errorf("of a misspelt setting in each unit it says:\n%s", said)
	}
}

// exposed reports whether a unit is more exposed than tenths, and what systemd says of it.
func exposed(t *testing.T, unit string, tenths int) (bool, string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--no-pager", "--offline=true",
		"--threshold="+strconv.Itoa(tenths), unit).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "Overall exposure level") {
		t.Fatalf("systemd-analyze security %s: %v\n%s", unit, err, out)
	}
	return err != nil, string(out)
}

func TestUnitsExposure(t *testing.T) {
	need(t, "systemd-analyze", "systemd")
	whole := stage(t, asItIs)
	open := stage(t, func(unit string) string {
		unit = strings.ReplaceAll(unit, "NoNewPrivileges=yes\n", "")
		return strings.ReplaceAll(unit, "SystemCallFilter", "#")
	})
	for name, most := range exposures() {
		if tooMuch, said := exposed(t, whole[name], most); tooMuch {
			t.Errorf("%s is more exposed than %d/10:\n%s", name, most, said)
		}
		if tooMuch, said := exposed(t, open[name], most); !tooMuch {
			t.Errorf("%s without its filter of system calls passes as well:\n%s", name, said)
		}
	}
}

// TestUnitsKeepTunnels: what must never be in a unit, whatever else changes, because it ends tunnels or lets
// a stopped agent live.
func TestUnitsKeepTunnels(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(top, "systemd", "warren-agent.service"))
	if err != nil {
		t.Fatal(err)
	}
	unit := string(text)
	for _, line := range []string{
		"KillMode=process", "OOMPolicy=continue", "RuntimeDirectoryPreserve=yes", "Type=notify", "WatchdogSec=30",
		"Restart=always", "CapabilityBoundingSet=CAP_NET_ADMIN",
	} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("there is no %s", line)
		}
	}
	for _, word := range []string{"\nSendSIGKILL=no", "\nExecStop", "\nPrivateUsers=yes", "\nPrivateNetwork=yes", "\nMemoryMax="} {
		if strings.Contains(unit, word) {
			t.Errorf("there is %s", strings.TrimSpace(word))
		}
	}
}

// TestDropInsMatch: networkd and NetworkManager are told of every interface that there may be.
func TestDropInsMatch(t *testing.T) {
	for _, name := range linux.LinkNames() {
		if ok, err := filepath.Match("wrn*", name); !ok || err != nil {
			t.Errorf("%s is not wrn*", name)
		}
	}
	for file, want := range map[string]string{
		"networkd/00-warren.network": "\nName=wrn*\n", "NetworkManager/warren.conf": "interface-name:wrn*\n",
		"networkd/warren.conf": "\nManageForeignRoutes=no\n",
	} {
		f, err := os.Open(filepath.Join(top, "systemd", file))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s has no %q: %v", file, want, err)
		}
	}
}
