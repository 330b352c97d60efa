package main

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/internal/lab"
	"github.com/warren-mesh/warren/cmd/internal/lab/control"
)

// A status is what warren-lab status tells.
type status struct {
	Name  string       `json:"name"`
	Since time.Time    `json:"since"`
	Hosts []hostStatus `json:"hosts"`
	// Machines are those that are only on the LAN of a host.
	Machines []machineStatus `json:"machines,omitempty"`
}

type machineStatus struct {
	Name string `json:"name"`
	LAN  string `json:"lan"` // its address there
	LAN6 string `json:"lan6,omitempty"`
}

type hostStatus struct {
	Name      string          `json:"name"`
	Address   string          `json:"address"`
	Address6  string          `json:"address6,omitempty"` // none where this machine has no IPv6
	LAN       string          `json:"lan,omitempty"`      // its address on the LAN behind it
	LAN6      string          `json:"lan6,omitempty"`
	Processes []processStatus `json:"processes"`
}

type processStatus struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"` // as `warren-lab exec` sees it
	Running bool   `json:"running"`
	Exit    *int   `json:"exit,omitempty"` // of one that has ended
}

// A backend answers the callers of a running lab.
type backend struct {
	name  string
	since time.Time
	lab   *lab.Lab
}

// Status tells about all hosts.
func (b *backend) Status() any {
	s := status{Name: b.name, Since: b.since.UTC().Truncate(time.Second), Hosts: []hostStatus{}}
	for _, host := range b.lab.Hosts() {
		lan, lan6 := text(host.LANIPv4()), text(host.LANIPv6())
		if !host.OnInternet() {
			s.Machines = append(s.Machines, machineStatus{host.Name(), lan, lan6})
			continue
		}
		h := hostStatus{
			Name: host.Name(), Address: text(host.IPv4()), Address6: text(host.IPv6()), LAN: lan, LAN6: lan6,
			Processes: []processStatus{},
		}
		for _, daemon := range host.Daemons() {
			h.Processes = append(h.Processes, statusOf(daemon))
		}
		s.Hosts = append(s.Hosts, h)
	}
	return s
}

// text is an address, or nothing where there is none.
func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func statusOf(d *lab.Daemon) processStatus {
	p := processStatus{Name: d.Name(), PID: d.PID(), Running: true}
	select {
	case <-d.Done():
		code := d.ExitCode()
		p.Running, p.Exit = false, &code
	default:
	}
	return p
}

// Command prepares a caller's command on a host, or on the router.
func (b *backend) Command(ctx context.Context, r control.Request) (*exec.Cmd, error) {
	if r.Host == lab.RouterName {
		cmd := exec.CommandContext(ctx, r.Argv[0], r.Argv[1:]...)
		cmd.Env = r.Env
		return cmd, nil
	}
	host := b.lab.Host(r.Host)
	if host == nil {
		names := []string{lab.RouterName}
		for _, h := range b.lab.Hosts() {
			names = append(names, h.Name())
		}
		return nil, fmt.Errorf("the lab has no host %q, but %s", r.Host, strings.Join(names, ", "))
	}
	cmd := host.Command(ctx, r.Argv...)
	cmd.Env = host.Environment(r.Env)
	return cmd, nil
}

func (a *app) statusCommand() *cobra.Command {
	format := cli.Table
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show the hosts of the lab, their addresses and processes",
		Example: "  warren-lab status\n  warren-lab status -o json",
		Args:    cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			var s status
			if err := client.Status(&s); err != nil {
				return err
			}
			if format == cli.JSON {
				err = cli.WriteJSON(a.proc.Stdout, s)
			} else {
				s.show(&cli.Page{W: a.proc.Stdout, Now: a.proc.Now(), Colour: a.proc.Colour(a.proc.Stdout)})
			}
			if err == nil && s.degraded() {
				err = cli.Exit(cli.ExitDegraded)
			}
			return err
		},
	}
	cmd.Flags().VarP(&format, cli.OutputFlag, "o", "how to write results")
	return cmd
}

func (s status) show(page *cli.Page) {
	page.Line("Lab %s, started %s.", s.Name, cli.Ago(page.Now, s.Since))
	var rows [][]any
	for _, host := range s.Hosts {
		var running []string
		tone := cli.Good
		for _, p := range host.Processes {
			state := fmt.Sprintf("%s (%d)", p.Name, p.PID)
			if !p.Running {
				state, tone = fmt.Sprintf("%s ended with %d", p.Name, *p.Exit), cli.Bad
			}
			running = append(running, state)
		}
		processes := cli.Cell{Text: strings.Join(running, ", "), Tone: tone}
		rows = append(rows, []any{host.Name, host.Address, host.Address6, host.LAN, processes})
	}
	for _, machine := range s.Machines {
		rows = append(rows, []any{machine.Name, "", "", machine.LAN, ""})
	}
	page.Grid([]string{"HOST", "ADDRESS", "ADDRESS6", "LAN", "PROCESSES"}, rows)
}

func (s status) degraded() bool {
	for _, host := range s.Hosts {
		for _, p := range host.Processes {
			if !p.Running {
				return true
			}
		}
	}
	return false
}
