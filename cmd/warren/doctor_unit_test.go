package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// settings are those of a unit as it is shipped, by the names that systemctl show has for them.
func settings(t *testing.T, name string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../systemd", name))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if setting, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(setting, "#") {
			if span, ok := strings.CutSuffix(setting, "Sec"); ok {
				setting, value = span+"USec", value+"s"
			}
			out[setting] = value
		}
	}
	return out
}

// hardens reports whether a setting is of the kind that the doctor looks at.
func hardens(setting string) bool {
	return slices.ContainsFunc([]string{"Protect", "Private", "Restrict", "NoNew", "Lock", "MemoryDeny", "Remove", "Capability", "Ambient"},
		func(kind string) bool { return strings.HasPrefix(setting, kind) })
}

// TestShipped holds what the doctor wants against the units of the packages: neither has what the other lacks.
func TestShipped(t *testing.T) {
	for _, name := range []string{agentUnit, controllerUnit, guardUnit} {
		unit, wants := settings(t, name), map[string]bool{}
		for _, s := range shipped(name) {
			wants[s[0]] = true
			if value, ok := unit[s[0]]; !ok || !sameWords(value, s[1]) {
				t.Errorf("%s has %s=%q, and the doctor wants %q", name, s[0], value, s[1])
			}
		}
		for setting := range unit {
			if hardens(setting) && !wants[setting] {
				t.Errorf("%s has %s, at which the doctor does not look", name, setting)
			}
		}
	}
}

// systemdSays is what systemctl show says of a unit as shipped, with changes.
func systemdSays(name string, changes ...string) string {
	lines := []string{"LoadState=loaded", "UnitFileState=enabled", "ActiveState=active", "FragmentPath=/lib/systemd/system/" + name, "DropInPaths="}
	for _, s := range shipped(name) {
		lines = append(lines, s[0]+"="+s[1])
	}
	for _, c := range changes {
		property, _, _ := strings.Cut(c, "=")
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, property+"=") })
		if strings.Contains(c, "=") {
			lines = append(lines, c)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestHardening(t *testing.T) {
	const dropIn = "DropInPaths=/etc/systemd/system/warren-agent.service.d/override.conf"
	for _, c := range []struct {
		name, unit string
		changes    []string
		result     string
		says       []string
	}{
		{"as shipped", agentUnit, nil, checkOK, []string{"hardened as shipped"}},
		{"the controller's", controllerUnit, nil, checkOK, []string{"hardened as shipped"}},
		{"a drop-in that takes nothing away", agentUnit, []string{dropIn}, checkOK, nil},
		{
			"another order", agentUnit,
			[]string{"RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK"},
			checkOK, nil,
		},
		{"an old systemd", agentUnit, []string{"ProtectProc"}, checkOK, nil},
		{
			"weakened by a drop-in", agentUnit,
			[]string{dropIn, "ProtectSystem=no"},
			checkWarning,
			[]string{`ProtectSystem is "no" and not "strict"`, "service.d/override.conf"},
		},
		{
			"another unit", agentUnit,
			[]string{"FragmentPath=/etc/systemd/system/warren-agent.service", "User="},
			checkWarning,
			[]string{`User is "" and not "warren-agent"`, "made of /etc/systemd/system/warren-agent.service"},
		},
		{
			"capabilities", controllerUnit,
			[]string{"CapabilityBoundingSet=cap_chown cap_net_admin"},
			checkWarning,
			[]string{`CapabilityBoundingSet is "cap_chown cap_net_admin" and not ""`},
		},
		{
			"two", agentUnit,
			[]string{"KillMode=control-group", "WatchdogUSec=infinity"},
			checkWarning,
			[]string{"KillMode", "WatchdogUSec"},
		},
		{"the guard's", guardUnit, nil, checkOK, []string{"hardened as shipped"}},
		{"a guard that had nothing to load", guardUnit, []string{"ActiveState=inactive"}, checkOK, nil},
		{"a guard that does not come up", guardUnit, []string{"UnitFileState=disabled"}, checkWarning, []string{"is disabled"}},
		{
			"a masked guard", guardUnit,
			[]string{"LoadState=masked", "UnitFileState=masked"},
			checkWarning,
			[]string{"is masked", "plain text"},
		},
		{"a guard that failed", guardUnit, []string{"ActiveState=failed"}, checkWarning, []string{"has failed"}},
		{"no guard", guardUnit, []string{"LoadState=not-found", "UnitFileState="}, checkSkipped, []string{"not installed"}},
		{"not there", agentUnit, []string{"LoadState=not-found"}, checkSkipped, []string{"not installed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := hardening(c.unit, systemdSays(c.unit, c.changes...))
			if f.Result != c.result || (f.Hint != "") != (c.result == checkWarning) {
				t.Errorf("%+v, want %s", f, c.result)
			}
			for _, word := range c.says {
				if !strings.Contains(f.Message, word) {
					t.Errorf("%q does not say %q", f.Message, word)
				}
			}
		})
	}
	if f := hardening(agentUnit, ""); f.Result != checkSkipped {
		t.Errorf("of silence it makes %+v", f)
	}
}
