package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/warren/client"
	"github.com/warren-mesh/warren/peers/wire"
)

// maxPings is what an agent does at most for one caller.
const maxPings = 1000

func (a *app) pingCommand() *cobra.Command {
	count := 4
	cmd := &cobra.Command{
		Use: "ping HOST", Short: "Try the tunnel to another host", Args: cli.Args("HOST"),
		Long: `Try the tunnel to another host, agent to agent: round trip, loss, path MTU and generation.

It needs no ICMP and says nothing about firewalls within the tunnel. Exit codes: 0 all or some replies
came, 1 none came or there is no such host, 4 the agent of this host is not reachable.`,
		Example:           "  warren ping warehouse\n  warren ping warehouse --count 100 -o json | jq .loss",
		ValidArgsFunction: a.completePeers,
		RunE: func(cmd *cobra.Command, args []string) error {
			if count < 1 || count > maxPings {
				return cli.Usage("warren ping --help", "--count %d: want 1 to %d", count, maxPings)
			}
			return a.ping(cmd.Context(), a.agent(cmd), args[0], count)
		},
	}
	cmd.Flags().IntVarP(&count, "count", "c", count, "how many times")
	return cmd
}

// A pinged is a ping that is over: the summary and every reply.
type pinged struct {
	wire.PingSummary
	Replies []pingReply `json:"replies"`
}

type pingReply struct {
	Seq  int     `json:"seq"`
	Lost bool    `json:"lost"`
	RTT  float64 `json:"rtt"`
}

func (a *app) ping(ctx context.Context, agent *client.Client, host string, count int) error {
	result, err := a.collect(ctx, agent, host, count)
	if err != nil {
		return err
	}
	if err := a.show(result, func(p *cli.Page) { viewPing(p, &result.PingSummary) }); err != nil {
		return err
	}
	if result.Received == 0 {
		return cli.Exit(cli.ExitFailed)
	}
	return nil
}

// collect reads the replies, and shows them as they come. A user who has seen enough gets the summary of
// what there was, as with ping(8).
func (a *app) collect(ctx context.Context, agent *client.Client, host string, count int) (*pinged, error) {
	out := &pinged{Replies: []pingReply{}}
	query := url.Values{"host": {host}, "count": {strconv.Itoa(count)}}
	for r, err := range client.Stream[wire.PingReply](ctx, agent, http.MethodGet, wire.PathPing+"?"+query.Encode(), nil) {
		switch {
		case errors.Is(err, context.Canceled) && len(out.Replies) > 0:
			out.PingSummary = summarize(host, out.Replies)
			return out, nil
		case err != nil:
			return nil, err
		case r.Fault != nil:
			return nil, r.Fault
		case r.Summary != nil:
			out.PingSummary = *r.Summary
			return out, nil
		}
		out.Replies = append(out.Replies, pingReply{r.Seq, r.Lost, r.RTT})
		if a.format == cli.Table {
			viewReply(a.page(), host, &r)
		}
	}
	return nil, agent.Ended()
}

// summarize counts what the agent, whose summary did not come, would have counted.
func summarize(host string, replies []pingReply) wire.PingSummary {
	s := wire.PingSummary{Host: host, Sent: len(replies)}
	sum := 0.0
	for _, r := range replies {
		if r.Lost {
			continue
		}
		s.Received++
		sum += r.RTT
		if s.Received == 1 || r.RTT < s.Min {
			s.Min = r.RTT
		}
		s.Max = max(s.Max, r.RTT)
	}
	if s.Received > 0 {
		s.Mean = sum / float64(s.Received)
	}
	s.Loss = 1 - float64(s.Received)/float64(s.Sent)
	return s
}

func viewReply(p *cli.Page, host string, r *wire.PingReply) {
	if r.Lost {
		fmt.Fprintf(p.W, "%s: seq %d, %s\n", cli.Clean(host), r.Seq, p.Paint(cli.Bad, "no reply"))
		return
	}
	p.Line("%s: seq %d, %s", host, r.Seq, millis(r.RTT))
}

func viewPing(p *cli.Page, s *wire.PingSummary) {
	p.Line("")
	where := s.Host
	if a := shown(s.Address); a != "" {
		where += " (" + a + ")"
	}
	loss := cli.Cell{Text: fmt.Sprintf("%.0f %% lost", s.Loss*100), Tone: cli.Good}
	if s.Received < s.Sent {
		loss.Tone = cli.Bad
	}
	fmt.Fprintf(p.W, "%s: %d sent, %d received, %s\n", cli.Clean(where), s.Sent, s.Received, p.Paint(loss.Tone, loss.Text))
	if s.Received > 0 {
		p.Line("round trip: least %s, mean %s, most %s", millis(s.Min), millis(s.Mean), millis(s.Max))
	}
	if s.Interface != "" {
		mtu := "unknown"
		if s.PathMTU > 0 {
			mtu = fmt.Sprintf("%d bytes", s.PathMTU)
		}
		if s.PathMTU > 0 && s.PathMTU < s.MTU {
			mtu += fmt.Sprintf(" of the %d that the way promises: larger packets are lost on it, see: warren doctor", s.MTU)
		}
		p.Line("tunnel: %s, generation %d, path MTU %s", s.Interface, s.Generation, mtu)
	}
}
