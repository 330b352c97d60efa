package meter_test

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/warren-mesh/warren/agent/meter"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

func figures() *meter.Figures {
	now := time.Unix(1_800_000_000, 500_000_000).UTC()
	shook := now.Add(-90 * time.Second)
	return &meter.Figures{
		Status: wire.Status{
			Host: "warehouse", Mesh: `or"ders`, Site: "warehouse", State: wire.StateDegraded, Backend: "userspace", Version: "1.2.3",
			Revision: 41, KeyAge: 86400.5, Controller: wire.ControllerStatus{LastContact: &now},
			Interfaces: []wire.InterfaceStatus{{Name: "wrn1", Generation: 3}},
			Peers: []wire.PeerStatus{
				{Host: "shop", State: wire.PeerUp, Interface: "wrn1", LastHandshake: &shook, RxBytes: 12_345_678_901, TxBytes: 7},
				{Host: "branch", State: wire.PeerDown},
			},
			Problems: []peers.Problem{{Code: "disk-full"}, {Code: "route-conflict"}, {Code: "route-conflict"}},
			Sites:    []wire.SiteStatus{{Site: "stock", Acting: "gw2", Moves: 3, Gateways: []wire.GatewayStatus{{Host: "gw1"}, {Host: "gw2"}}}},
			Restored: []wire.Restoration{{Kind: "route", Count: 7}},
		},
		Wanted: 42, Newest: 4, Turns: 1000, Took: 1500 * time.Millisecond, Messages: 9,
	}
}

func written(t *testing.T, f *meter.Figures) string {
	t.Helper()
	var b bytes.Buffer
	if err := meter.Write(&b, f, time.Unix(1_800_000_000, 500_000_000)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestWrite: every figure is there, under its name.
func TestWrite(t *testing.T) {
	text := written(t, figures())
	for _, want := range []string{
		`warren_agent_info{backend="userspace",host="warehouse",mesh="or\"ders",site="warehouse",version="1.2.3"} 1`,
		`warren_agent_state{state="degraded"} 1`, `warren_agent_state{state="ok"} 0`,
		`warren_agent_problems{code="route-conflict"} 2`, `warren_agent_problems{code="disk-full"} 1`,
		`warren_agent_controller_connected 0`, `warren_agent_controller_last_contact_timestamp_seconds 1.8000000005e+09`,
		`warren_agent_revision_wanted 42`, `warren_agent_revision_applied 41`,
		`warren_agent_generation_wanted 4`, `warren_agent_generation_applied 3`, `warren_agent_key_age_seconds 86400.5`,
		`warren_agent_reconciles_total 1000`, `warren_agent_reconcile_seconds_total 1.5`, `warren_agent_set_messages_total 9`,
		`warren_agent_restorations_total{kind="route"} 7`, `warren_agent_restorations_total{kind="link"} 0`,
		`warren_agent_peer_state{peer="shop",state="up"} 1`, `warren_agent_peer_state{peer="branch",state="down"} 1`,
		`warren_agent_peer_handshake_age_seconds{peer="shop"} 90`,
		`warren_agent_peer_receive_bytes_total{interface="wrn1",peer="shop"} 1.2345678901e+10`,
		`warren_agent_peer_transmit_bytes_total{interface="wrn1",peer="shop"} 7`,
		`warren_agent_site_moves_total{site="stock"} 3`,
		`warren_agent_site_gateway{gateway="gw2",site="stock"} 1`, `warren_agent_site_gateway{gateway="gw1",site="stock"} 0`,
		`process_resident_memory_bytes `,
	} {
		if !strings.Contains("\n"+text, "\n"+want) {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(text, `handshake_age_seconds{peer="branch"}`) {
		t.Error("a peer that was never there has a handshake")
	}
	if strings.Contains(written(t, &meter.Figures{}), "\nwarren_agent_key_age_seconds") {
		t.Error("keys that there are none of have an age")
	}
	if t.Failed() {
		t.Log(text)
	}
}

// TestFormat: it is the text format, each family once and together, with its help and its type before it.
func TestFormat(t *testing.T) {
	for _, f := range []*meter.Figures{figures(), {Status: wire.Status{State: wire.StateUnenrolled}}} {
		line := regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_]+="([^"\\\n]|\\.)*",? ?)*\})? (-?[0-9.e+-]+|NaN|[+-]Inf)$`)
		family, done := "", map[string]bool{}
		for text := range strings.SplitSeq(strings.TrimSuffix(written(t, f), "\n"), "\n") {
			if name, ok := strings.CutPrefix(text, "# HELP "); ok {
				family, _, _ = strings.Cut(name, " ")
				if done[family] {
					t.Errorf("%s comes twice", family)
				}
				done[family] = true
				continue
			}
			if strings.HasPrefix(text, "# TYPE "+family+" ") {
				continue
			}
			m := line.FindStringSubmatch(text)
			switch {
			case m == nil:
				t.Errorf("no line of the format: %s", text)
			case strings.HasPrefix(m[1], "warren_") && m[1] != family:
				t.Errorf("%s stands below %s", m[1], family)
			}
		}
	}
}

// TestDocumented holds docs/metrics.md against what there is.
func TestDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "| `warren_agent_") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	want := make([]string, 0, len(rows))
	for _, f := range meter.Families() {
		want = append(want, "| `"+f.Name+"` | "+f.Type+" | "+f.Help+" |")
	}
	if got, want := strings.Join(rows, "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("docs/metrics.md has\n%s\nand there is\n%s", got, want)
	}
}
