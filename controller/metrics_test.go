package controller_test

import (
	"bytes"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/peers/wire"
)

// TestMetrics: what monitoring reads is how the mesh is.
func TestMetrics(t *testing.T) {
	s := newSite(t)
	s.join("shop").connect()
	s.join("erp")
	s.act("erp", wire.ActionSuspend)
	if _, err := s.c.SetSchedule(t.Context(), "unix:tester", wire.ScheduleOrder{Every: 86400}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	s.c.WriteMetrics(&b)
	for _, want := range []string{
		`^warren_controller_info\{mesh="warren",version="test"\} 1$`,
		`^warren_hosts\{state="active"\} 1$`,
		`^warren_hosts\{state="suspended"\} 1$`,
		`^warren_hosts\{state="revoked"\} 0$`,
		`^warren_sessions 1$`,
		`^warren_ledger_revision 7$`,
		`^warren_generation 1$`,
		`^warren_generation_age_seconds [0-9.]+$`,
		`^warren_rotation_next_seconds (8[67]|9[0-5])[0-9]{3}(\.[0-9]+)?$`,
		`^warren_rotation_overdue 0$`,
		`^warren_rotation_phase\{phase="idle"\} 1$`,
		`^warren_rotation_phase\{phase="prove"\} 0$`,
		`^warren_rotation_pairs\{state="total"\} 0$`,
		`^process_resident_memory_bytes `,
	} {
		if !regexp.MustCompile(`(?m)` + want).Match(b.Bytes()) {
			t.Errorf("%s is not in:\n%s", want, b.String())
		}
	}
}

// TestMetricsOfKeys: monitoring sees how old the keys are, and that a rotation is overdue.
func TestMetricsOfKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryLedger()
		r := newRota(t, store) // it is Saturday, midnight UTC
		r.set(wire.ScheduleOrder{Every: 3600, Windows: []string{"Sat 02:00-04:00 UTC"}})
		r.stop()
		<-time.After(6 * time.Hour)
		r.start(store)
		var b bytes.Buffer
		r.c.WriteMetrics(&b)
		for _, want := range []string{"warren_generation_age_seconds 21600", "warren_rotation_overdue 1"} {
			if !strings.Contains(b.String(), "\n"+want+"\n") {
				t.Errorf("%s is not in:\n%s", want, b.String())
			}
		}
		r.stop()
	})
}

// TestMetricsDocumented holds docs/metrics.md against what there is.
func TestMetricsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	shop, warehouse := begun(s)
	s.must("PUT", wire.PathSchedule, wire.ScheduleOrder{Every: 86400}, nil)
	shop.switches(2, warehouse)
	warehouse.switches(2, shop)
	eventually(t, "the rotation is over", func() bool { return s.rotation().Last != nil })
	var b bytes.Buffer
	s.c.WriteMetrics(&b)
	names := func(text, pattern string) []string {
		all := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)`+pattern).FindAllStringSubmatch(text, -1) {
			all[m[1]] = true
		}
		return slices.Sorted(maps.Keys(all))
	}
	_, told, _ := strings.Cut(string(raw), "## Controller")
	if is, said := names(b.String(), `^(warren_[a-z_]+)`), names(told, "^\\| `(warren_[a-z_]+)`"); !slices.Equal(is, said) {
		t.Errorf("there is\n%s\nand docs/metrics.md has\n%s", strings.Join(is, "\n"), strings.Join(said, "\n"))
	}
}
