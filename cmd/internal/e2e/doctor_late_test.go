package e2e

import (
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// lastCauses are those after which it takes long until all is well.
func lastCauses(link string) []cause {
	return []cause{{
		name: "black hole", stay: true, make: (*mesh).blackHole,
		says: []saying{
			{"shop", "mtu/warehouse", "warning", "and no router says so", "warren mesh set mtu=", []string{"mtu/"}},
			{"accounting", "mtu/warehouse", "warning", "and no router says so", "let ICMP through", []string{"mtu/"}},
		},
	}, {
		name: "strict filter", stay: true,
		make: func(m *mesh) func() { return m.keepSetting("accounting", "ipv4/conf/"+link+"/rp_filter", "1") },
		says: []saying{{
			"accounting", "rp-filter", "warning", "rp_filter of " + link + " is 1", "/etc/sysctl.d", []string{"contested", "mtu/"},
		}},
	}, {
		name: "forwarding off", stay: true,
		make: func(m *mesh) func() { return m.keepSetting("shop", "ipv4/conf/lan0/forwarding", "0") },
		says: []saying{{
			"shop", "forwarding", "failed", "does not forward what comes in by lan0", "grep -r forward /etc/sysctl.d",
			[]string{"contested", "mtu/"},
		}},
	}, {
		name: "duplicate identity", stay: true, make: (*mesh).cloneAccounting,
		says: []saying{{
			"clone", "identity", "failed", "another machine is connected with the identity of this one", "was this disk cloned?",
			[]string{"controller", "peer/", "udp/", "mtu/", "site-unreachable"},
		}},
	}}
}

// withoutTun hides what tunnel processes need, where there are any.
func (m *mesh) withoutTun() []cause {
	if m.status("shop").Backend != "userspace" {
		return nil
	}
	return []cause{{
		name: "no tun",
		make: func(m *mesh) func() {
			m.on("shop", func() error { return unix.Mount("/dev/null", "/dev/net/tun", "", unix.MS_BIND, "") })
			return func() { m.on("shop", func() error { return unix.Unmount("/dev/net/tun", 0) }) }
		},
		says: []saying{{"shop", "tun", "failed", "/dev/net/tun cannot be used", "modprobe tun", nil}},
	}}
}

// blackHole has large packets from everybody vanish without a word. On the way to a host they would not all do so: routers
// divide what kernel WireGuard sends.
func (m *mesh) blackHole() func() {
	if err := m.lab.DropICMP(); err != nil {
		m.t.Fatal(err)
	}
	narrow := func(router int) {
		for _, name := range patients() {
			if err := m.lab.Host(name).SetMTU(1500, router); err != nil {
				m.t.Error(err)
			}
		}
	}
	narrow(1400)
	return func() { narrow(1500) }
}

// keepSetting is a tool that sets something again and again, whatever the agent does.
func (m *mesh) keepSetting(host, name, value string) func() {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if err := m.lab.Host(host).Do(func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) }); err != nil {
				m.t.Errorf("setting %s of %s: %v", name, host, err)
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-ended
	}
}

// cloneAccounting starts an agent with all that the agent of accounting knows on another machine.
func (m *mesh) cloneAccounting() func() {
	m.killAgent("clone")
	from, to := m.lab.Host("accounting").Path(agentData), m.lab.Host("clone").Path(agentData)
	if err := os.RemoveAll(to); err != nil {
		m.t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		m.t.Fatalf("cp: %v\n%s", err, out)
	}
	if _, err := m.StartAgent(m.patient(), "clone"); err != nil {
		m.t.Fatal(err)
	}
	return func() {}
}
