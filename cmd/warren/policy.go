package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/warren/meshfile"
	"github.com/warren-mesh/warren/peers"
	"github.com/warren-mesh/warren/peers/wire"
)

const policyHelp = `
A policy is a YAML file with flows, and tests that must hold:

  flows:
    - from: site:shop                # one selector or a list
      to: host:warehouse
      allow: [tcp/5432, icmp]        # tcp/PORT, tcp/FIRST-LAST, udp/…, tcp, udp, icmp, *
  tests:
    - {from: host:shop, to: host:warehouse, proto: tcp/5432, expect: allow}

Selectors are host:NAME, site:NAME (its hosts and the networks behind its gateways), label:KEY=VALUE (see warren
host label), a prefix or an address, and * for everything. What no flow allows is not allowed; answers are.
Hosts without a flow between them do not get each other's keys.`

func (a *app) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "policy", Short: "Who may talk to whom", Long: "Who may talk to whom.\n" + policyHelp,
		Example: "  warren policy show\n  warren policy apply policy.yaml --dry-run",
	}
	cmd.AddCommand(a.policyShow(), a.policyCheck(), a.policyApply())
	return cmd
}

func (a *app) policyShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show who may talk to whom", Args: cli.Args(),
		Example: "  warren policy show\n  warren policy show -o json | jq '.policy.flows | length'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var v wire.PolicyView
			if err := a.call(cmd, http.MethodGet, wire.PathPolicy, nil, &v); err != nil {
				return err
			}
			v.Warnings, v.Unenforced = listed(v.Warnings), listed(v.Unenforced)
			return a.show(v, func(p *cli.Page) { viewPolicy(p, &v) })
		},
	}
}

func (a *app) policyCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check FILE", Short: "Tell what a policy would open and close", Args: cli.Args("FILE"),
		Long:    "Tell what a policy would open and close, and whether its tests hold. Nothing is changed; - is stdin.\n" + policyHelp,
		Example: "  warren policy check policy.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := a.readPolicy(args[0])
			if err != nil {
				return err
			}
			return a.setPolicy(cmd, args[0], file, wire.PolicyOrder{DryRun: true})
		},
	}
}

func (a *app) policyApply() *cobra.Command {
	order, yes, within := wire.PolicyOrder{}, false, ""
	cmd := &cobra.Command{
		Use: "apply FILE", Short: "Say who may talk to whom", Args: cli.Args("FILE"),
		Long: "Say who may talk to whom. The file replaces the policy that there was, and says all of it; - is stdin. It\n" +
			"prints the flows that open and close and the hosts that are left alone.\n" + policyHelp,
		Example: "  warren policy apply policy.yaml --dry-run\n  warren policy apply policy.yaml --why \"books go to accounting\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := a.readPolicy(args[0])
			if err == nil {
				order.Within, err = parseWithin(within)
			}
			if err != nil {
				return err
			}
			if !order.DryRun && !yes && cli.IsTerminal(a.proc.Stdin) {
				if err := a.confirmPolicy(cmd, args[0], file); err != nil {
					return err
				}
			}
			return a.setPolicy(cmd, args[0], file, order)
		},
	}
	cmd.Flags().BoolVar(&order.DryRun, "dry-run", false, "only tell what would come of it")
	cmd.Flags().StringVar(&order.Why, "why", "", "the `REASON`, for the audit log")
	addYes(cmd, &yes)
	addWithin(cmd, &within)
	return cmd
}

// confirmPolicy shows what would come of a policy and asks.
func (a *app) confirmPolicy(cmd *cobra.Command, path string, file *meshfile.File) error {
	r, err := a.sendPolicy(cmd, path, file, wire.PolicyOrder{DryRun: true})
	if err != nil {
		return err
	}
	viewPolicyResult(a.notes(), &r)
	return a.proc.Confirm("Replace the policy of the mesh?", false)
}

// setPolicy has the controller look at a policy, or take it, and tells what comes of it.
func (a *app) setPolicy(cmd *cobra.Command, path string, file *meshfile.File, order wire.PolicyOrder) error {
	r, err := a.sendPolicy(cmd, path, file, order)
	if err != nil {
		return err
	}
	return a.show(r, func(p *cli.Page) { viewPolicyResult(p, &r) })
}

func (a *app) sendPolicy(
	cmd *cobra.Command, path string, file *meshfile.File, order wire.PolicyOrder,
) (r wire.PolicyResult, err error) {
	order.Policy = file.Policy
	if err := a.call(cmd, http.MethodPut, wire.PathPolicy, order, &r); err != nil {
		return r, located(err, path, file)
	}
	for i := range r.Warnings {
		spot(path, file, &r.Warnings[i])
	}
	tidyConsequences(&r.Consequences)
	return r, nil
}

func (a *app) readPolicy(path string) (*meshfile.File, error) {
	return a.readFile(path, "policy-file", "warren policy apply --help", meshfile.ParsePolicy)
}

// readFile reads what admins have written; - is stdin.
func (a *app) readFile(
	path, code, hint string, parse func([]byte) (*meshfile.File, error),
) (*meshfile.File, error) {
	in := io.Reader(a.proc.Stdin)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, cli.Fail(code, hint, "read the file: %v", err)
		}
		defer f.Close()
		in = f
	}
	raw, err := io.ReadAll(io.LimitReader(in, meshfile.MaxSize+1))
	if err != nil {
		return nil, cli.Fail(code, "", "read the file %s: %v", path, err)
	}
	file, err := parse(raw)
	if err != nil {
		if ps, ok := errors.AsType[peers.Problems](err); ok {
			for i := range ps {
				ps[i].Message = path + ": " + ps[i].Message
			}
			return nil, ps
		}
	}
	return file, err
}

// located gives the problems that the controller found the lines where they stand.
func located(err error, path string, file *meshfile.File) error {
	var f *wire.Fault
	if !errors.As(err, &f) || len(f.Problems) == 0 {
		return err
	}
	ps := peers.Problems(f.Problems)
	for i := range ps {
		spot(path, file, &ps[i])
	}
	return ps
}

// spot says in which line a problem is.
func spot(path string, file *meshfile.File, p *peers.Problem) {
	if n := file.Line(p.At); n > 0 {
		p.Message = fmt.Sprintf("%s: line %d: %s", path, n, p.Message)
	}
}
