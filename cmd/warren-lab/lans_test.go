package main

import (
	"fmt"
	"testing"
)

// TestLANsOfManyHosts: no two have the same network, none is in the range of the mesh, and long names are no hindrance.
func TestLANsOfManyHosts(t *testing.T) {
	o := upOptions{lans: true}
	for i := range 60 {
		o.hosts = append(o.hosts, fmt.Sprintf("a-%d-long-name", i))
	}
	if err := topology("", o).Check(); err != nil {
		t.Error(err)
	}
	seen := map[string]bool{}
	for i := range o.hosts {
		four, six := lanNetworks(i)
		if seen[four.String()] || seen[six.String()] || four.Addr().As4()[1] == 90 {
			t.Errorf("host %d has the LAN %v %v", i, four, six)
		}
		seen[four.String()], seen[six.String()] = true, true
	}
	o.lans = false
	if got := topology("", o); len(got.LANs) != 0 || len(got.Hosts) != 61 {
		t.Errorf("without LANs: %+v", got)
	}
}
