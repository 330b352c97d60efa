package main

import (
	"context"
	"fmt"
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
}

type hostStatus struct {
	Name      string          `json:"name"`
	Address   string          `json:"address"`
	Address6  string          `json:"address6,omitempty"` // none where this machine has no IPv6
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
		h := hostStatus{Name: host.Name(), Address: host.IPv4().String(), Processes: []processStatus{}}
		if host.IPv6().IsValid() {
			h.Address6 = host.IPv6().String()
		}
		for _, daemon := range host.Daemons() {
			h.Processes = append(h.Processes, statusOf(daemon))
		}
		s.Hosts = append(s.Hosts, h)
	}
	return s
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
		rows = append(rows, []any{host.Name, host.Address, host.Address6, processes})
	}
	page.Grid([]string{"HOST", "ADDRESS", "ADDRESS6", "PROCESSES"}, rows)
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
