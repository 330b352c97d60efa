package systemtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/warren-mesh/warren/peers/wire"
)

// The versions that the packages are built as.
const (
	first  = "1.0.0"
	second = "2.0.0"
)

const module = "github.com/warren-mesh/warren/"

// buildVersion builds the packages of this checkout as those of a version.
func buildVersion(ctx context.Context, folder, version string) error {
	cmd := exec.CommandContext(ctx, "make", "--no-print-directory", "-C", "../../..", "packages", "DIST="+folder, "VERSION="+version)
	cmd.Env = append(os.Environ(), "ARCHES=amd64", "KINDS=deb")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make packages: %v\n%s", err, out)
	}
	return nil
}

// install installs packages of a version, also over another one.
func (m *machine) install(version string, packages ...string) {
	m.t.Helper()
	var debs []string
	for _, p := range packages {
		debs = append(debs, fmt.Sprintf("/payload/%s/%s_%s_amd64.deb", version, p, version))
	}
	start := time.Now()
	m.sh("DEBIAN_FRONTEND=noninteractive dpkg -i " + strings.Join(debs, " "))
	m.t.Logf("%s: installed %s %s in %.0f s", m.name, strings.Join(packages, ", "), version, time.Since(start).Seconds())
}

// hardened holds the units, as they are installed, against what the project promises.
func (m *machine) hardened(exposure map[string]string) {
	m.t.Helper()
	for unit, most := range exposure {
		// The image has no manual pages.
		if r, err := m.try("systemd-analyze verify --man=no " + unit); err != nil || r.Code != 0 || r.Stderr != "" {
			m.t.Errorf("%s: systemd-analyze verify %s: %v, exit code %d\n%s", m.name, unit, err, r.Code, r.Stderr)
		}
		r, err := m.try("systemd-analyze security --no-pager --threshold=" + most + " " + unit)
		if err != nil {
			m.t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(r.Stdout), "\n")
		m.t.Logf("%s: %s", m.name, lines[len(lines)-1])
		if r.Code != 0 {
			m.t.Errorf("%s is exposed more than %s tenths:\n%s", unit, most, r.Stdout)
		}
	}
}

// unitsKnown has the doctor look at the units of a machine: as they are installed, and with a drop-in.
func (m *machine) unitsKnown(units ...string) {
	m.t.Helper()
	const folder = "/etc/systemd/system/warren-agent.service.d"
	for unit, f := range m.unitFindings() {
		m.t.Logf("%s: %s: %s", m.name, unit, f.Message)
	}
	for _, unit := range units {
		if f := m.unitFindings()["unit/"+unit]; f.Result != "ok" {
			m.t.Errorf("of %s as shipped the doctor says %+v", unit, f)
		}
	}
	m.sh("mkdir " + folder + " && printf '[Service]\\nProtectHome=no\\n' > " + folder + "/lax.conf && systemctl daemon-reload")
	f := m.unitFindings()["unit/warren-agent"]
	if f.Result != "warning" || !strings.Contains(f.Message, "ProtectHome") || !strings.Contains(f.Message, folder+"/lax.conf") {
		m.t.Errorf("of a unit that was made lax the doctor says %+v", f)
	}
	m.sh("rm -r " + folder + " && systemctl daemon-reload")
}

// unitFindings are what the doctor has found of units, by check.
func (m *machine) unitFindings() map[string]wire.Finding {
	m.t.Helper()
	found := map[string]wire.Finding{}
	for _, f := range m.findings() {
		if strings.HasPrefix(f.Check, "unit/") {
			found[f.Check] = f
		}
	}
	return found
}

// diagnosed wants a check of the doctor to say something, with a remedy.
func (m *machine) diagnosed(check, result, says, remedy string) {
	m.t.Helper()
	all := m.findings()
	if !slices.ContainsFunc(all, func(f wire.Finding) bool {
		return f.Check == check && f.Result == result && strings.Contains(f.Message, says) && strings.Contains(f.Hint, remedy)
	}) {
		m.t.Errorf("%s: the doctor does not say, by %s, %q and %q: %+v", m.name, check, says, remedy, all)
	}
}

// findings are what the doctor says.
func (m *machine) findings() (all []wire.Finding) {
	m.t.Helper()
	r, err := m.try("warren doctor -o json")
	if err := errors.Join(err, json.Unmarshal([]byte(r.Stdout), &all)); err != nil {
		m.t.Fatalf("%s: warren doctor: %v\n%s%s", m.name, err, r.Stdout, r.Stderr)
	}
	return all
}
