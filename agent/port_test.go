package agent_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warren-mesh/warren/agent/linux"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

// TestPortTaken: a foreign socket on the port after a reboot is a loud problem, the port stays what it is, and soon after
// the socket has gone all is well.
func TestPortTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := two(t)
		port := r.status().Interfaces[0].Port
		time.Sleep(5 * time.Second)
		r.restart(func() {
			r.kernel = newLivelyKernel()
			r.kernel.Refuse(func(s peers.Step) error {
				switch s := s.(type) {
				case peers.SetDevice:
					if s.Port != port {
						t.Errorf("tried port %d instead", s.Port)
					}
					return &linux.PortError{Port: s.Port, Holder: "dnsmasq (process 7)"}
				case peers.SetLink:
					return &linux.PortError{Port: port, Holder: "dnsmasq (process 7)"}
				}
				return nil
			})
		})
		time.Sleep(10 * time.Minute)
		s := r.status()
		if !strings.Contains(codes(s), "port-taken") || s.State != wire.StateDown {
			t.Errorf("state %s, problems %+v", s.State, s.Problems)
		}
		if p := s.Problems[0]; !strings.Contains(p.Message, "dnsmasq") || !strings.Contains(p.Hint, "ss -lunp") {
			t.Errorf("problem %+v", p)
		}
		if n := strings.Count(r.log.String(), "\n"); n > 30 {
			t.Errorf("%d lines:\n%s", n, r.log)
		}
		r.kernel.Refuse(nil)
		r.eventually("it listens", 5*time.Second, func() bool {
			s := r.status()
			return len(s.Interfaces) == 1 && s.Interfaces[0].Port == port && !strings.Contains(codes(s), "port-taken")
		})
	})
}
