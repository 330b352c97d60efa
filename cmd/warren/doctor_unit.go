package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/warren-mesh/warren/peers/wire"
)

// The units of the daemons.
const (
	agentUnit      = "warren-agent.service"
	guardUnit      = "warren-guard.service"
	controllerUnit = "warren-controller.service"
)

// unitPatience is how long systemd may take to answer.
const unitPatience = 10 * time.Second

// units holds the units of this host's daemons against the ones of the packages. This program does, and not the
// agent: what is to be looked at keeps the agent from asking systemd.
func units(ctx context.Context) []wire.Finding {
	out := []wire.Finding{unit(ctx, agentUnit)}
	for _, name := range []string{guardUnit, controllerUnit} { // most hosts have no controller
		if f := unit(ctx, name); f.Result != checkSkipped {
			out = append(out, f)
		}
	}
	return out
}

func unit(ctx context.Context, name string) wire.Finding {
	ctx, cancel := context.WithTimeout(ctx, unitPatience)
	defer cancel()
	properties := []string{"LoadState", "UnitFileState", "ActiveState", "FragmentPath", "DropInPaths"}
	for _, s := range shipped(name) {
		properties = append(properties, s[0])
	}
	cmd := exec.CommandContext(ctx, "systemctl", "show", "--property="+strings.Join(properties, ","), "--", name)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); errors.Is(err, exec.ErrNotFound) {
		return wire.Finding{Check: unitCheck(name), Result: checkSkipped, Message: "this host has no systemd"}
	} else if err != nil {
		why, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		if why == "" {
			why = err.Error()
		}
		return wire.Finding{Check: unitCheck(name), Result: checkSkipped, Message: "systemd cannot be asked: " + why}
	}
	return hardening(name, stdout.String())
}

func unitCheck(name string) string { return "unit/" + strings.TrimSuffix(name, ".service") }

// hardening compares what systemctl show says of a unit with what it has as shipped. A property that systemd
// does not know is none that anybody took away.
func hardening(name, shown string) wire.Finding {
	has := map[string]string{}
	for line := range strings.Lines(shown) {
		if property, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			has[property] = value
		}
	}
	f := wire.Finding{
		Check: unitCheck(name), Result: checkSkipped,
		Message: name + " is not installed: whatever has started this daemon has to harden it",
	}
	if name == guardUnit && has["LoadState"] != "not-found" && has["LoadState"] != "" {
		if f, ok := idleGuard(has); ok {
			return f
		}
	}
	if has["LoadState"] != "loaded" {
		return f
	}
	var differs []string
	for _, s := range shipped(name) {
		if value, known := has[s[0]]; known && !sameWords(value, s[1]) {
			differs = append(differs, fmt.Sprintf("%s is %q and not %q", s[0], value, s[1]))
		}
	}
	if len(differs) == 0 {
		f.Result, f.Message = checkOK, name+" is hardened as shipped"
		return f
	}
	from := has["FragmentPath"]
	if drops := has["DropInPaths"]; drops != "" {
		from += " and its drop-ins " + drops
	}
	f.Result = checkWarning
	f.Message = fmt.Sprintf("%s is not hardened as shipped: %s; it is made of %s", name, strings.Join(differs, ", "), from)
	f.Hint = fmt.Sprintf("systemctl cat %[1]s shows which file says so; take that out, then: "+
		"systemctl daemon-reload; systemctl restart %[1]s", name)
	return f
}

// idleGuard tells of a guard that does not come up with the host.
func idleGuard(has map[string]string) (wire.Finding, bool) {
	f := wire.Finding{Check: unitCheck(guardUnit), Result: checkWarning}
	switch {
	case has["UnitFileState"] != "enabled":
		f.Message = fmt.Sprintf("%s is %s: while this host boots, what is for the mesh may leave in plain text until the agent runs",
			guardUnit, has["UnitFileState"])
		f.Hint = "systemctl unmask " + guardUnit + "; systemctl enable " + guardUnit
	case has["ActiveState"] == "failed":
		f.Message = guardUnit + " has failed: the last guard was not in place while this host booted"
		f.Hint = "journalctl -b -u " + guardUnit
	default:
		return f, false
	}
	return f, true
}

// sameWords compares lists without regard to order and case, which differ between versions of systemd.
func sameWords(a, b string) bool {
	words := func(s string) []string { return slices.Sorted(slices.Values(strings.Fields(strings.ToLower(s)))) }
	return slices.Equal(words(a), words(b))
}

// shipped is what systemctl show says of a unit as the packages have it: what keeps the daemon from harm, and
// the tunnels from a daemon that ends. A test holds it against the units.
func shipped(name string) [][2]string {
	out := [][2]string{
		{"NoNewPrivileges", "yes"},
		{"ProtectSystem", "strict"},
		{"ProtectHome", "yes"},
		{"PrivateTmp", "yes"},
		{"PrivateMounts", "yes"},
		{"DevicePolicy", "closed"},
		{"ProtectHostname", "yes"},
		{"ProtectClock", "yes"},
		{"ProtectKernelModules", "yes"},
		{"ProtectKernelLogs", "yes"},
		{"ProtectControlGroups", "yes"},
		{"ProtectKernelTunables", "yes"},
		{"ProtectProc", "invisible"},
		{"RestrictNamespaces", "yes"},
		{"RestrictAddressFamilies", "AF_NETLINK AF_INET AF_INET6 AF_UNIX"},
		{"RestrictRealtime", "yes"},
		{"RestrictSUIDSGID", "yes"},
		{"LockPersonality", "yes"},
		{"MemoryDenyWriteExecute", "yes"},
		{"RemoveIPC", "yes"},
		{"UMask", "0077"},
		{"LimitCORE", "0"},
		{"SystemCallArchitectures", "native"},
	}
	if name == guardUnit {
		return append(out, [][2]string{
			{"Type", "oneshot"},
			{"User", "warren-agent"},
			{"CapabilityBoundingSet", "cap_net_admin"},
			{"AmbientCapabilities", "cap_net_admin"},
			{"PrivateDevices", "yes"},
		}...)
	}
	out = append(out, [][2]string{
		{"Type", "notify"},
		{"Restart", "always"},
		{"WatchdogUSec", "30s"},
	}...)
	if name == controllerUnit {
		return append(out, [][2]string{
			{"User", "warren-controller"},
			{"CapabilityBoundingSet", ""},
			{"AmbientCapabilities", ""},
			{"PrivateDevices", "yes"},
			{"ProcSubset", "pid"},
		}...)
	}
	return append(out, [][2]string{
		{"User", "warren-agent"},
		{"CapabilityBoundingSet", "cap_net_admin"},
		{"AmbientCapabilities", "cap_net_admin"},
		{"KillMode", "process"},
		{"OOMPolicy", "continue"},
		{"RuntimeDirectoryPreserve", "yes"},
	}...)
}
