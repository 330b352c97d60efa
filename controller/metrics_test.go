package controller_test

import (
	"bytes"
	"regexp"
	"testing"

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
