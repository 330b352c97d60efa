package orders

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warren-mesh/warren/cmd/internal/cli"
	"github.com/warren-mesh/warren/cmd/internal/daemon"
)

// flags are those of all services.
type flags struct {
	listen, book string
}

// Command holds the services as commands. It is hidden: people see them at work through the demo.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use: "orders", Short: "The services of the demo", Hidden: true,
		Example: "  warren-lab orders accounting --listen 10.90.0.3:8080 --book accounting.jsonl",
	}
	cmd.AddCommand(accountingCommand(), erpCommand(), shopCommand(), reconcileCommand())
	return cmd
}

func (f *flags) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8080", "`ADDRESS` and port of the service")
	cmd.Flags().StringVar(&f.book, "book", "", "`FILE` of the book")
	_ = cmd.MarkFlagRequired("book") // it fails for a flag that is not there
}

// run serves until the command is told to stop.
func (f *flags) run(cmd *cobra.Command, routes func(*Book) http.Handler) error {
	return f.withBook(func(book *Book) error {
		log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
		return serve(cmd.Context(), log, f.listen, routes(book), func() { daemon.Ready(log) })
	})
}

func (f *flags) withBook(do func(*Book) error) error {
	book, err := OpenBook(f.book)
	if err != nil {
		return err
	}
	return errors.Join(do(book), book.Close())
}

func accountingCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use: "accounting", Short: "Book invoices", Args: cli.Args(),
		Example: "  warren-lab orders accounting --listen 10.90.0.3:8080 --book accounting.jsonl",
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd, NewAccounting) },
	}
	f.bind(cmd)
	return cmd
}

func erpCommand() *cobra.Command {
	var f flags
	var next string
	cmd := &cobra.Command{
		Use: "erp", Short: "Book orders, and have them invoiced", Args: cli.Args(),
		Example: "  warren-lab orders erp --listen 10.90.0.2:8080 --next http://10.90.0.3:8080 --book erp.jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(b *Book) http.Handler { return NewERP(b, next) })
		},
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&next, "next", "", "`URL` of accounting")
	_ = cmd.MarkFlagRequired("next") // it fails for a flag that is not there
	return cmd
}

func shopCommand() *cobra.Command {
	var f flags
	var s Sale
	var stay bool
	cmd := &cobra.Command{
		Use: "shop", Short: "Place orders", Args: cli.Args(),
		Long: "Places orders and says on stdout how it went, as JSON. " +
			"Meanwhile, and with --stay afterwards, it shows its book.",
		Example: "  warren-lab orders shop --listen 10.90.0.1:8080 --to http://10.90.0.2:8080 --book shop.jsonl --count 1000",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.withBook(func(book *Book) error { return sell(cmd, f.listen, s, book, stay) })
		},
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&s.To, "to", "", "`URL` of the ERP")
	cmd.Flags().IntVar(&s.Count, "count", 1000, "`NUMBER` of orders")
	cmd.Flags().IntVar(&s.First, "first", 1, "`NUMBER` of the first order")
	cmd.Flags().IntVar(&s.Workers, "workers", 16, "`NUMBER` of orders under way at once")
	cmd.Flags().Float64Var(&s.Rate, "rate", 0, "`NUMBER` of orders that may be begun in a second; 0 for no limit")
	cmd.Flags().StringVar(&s.Note, "note", "", "`TEXT` in every order")
	cmd.Flags().BoolVar(&stay, "stay", false, "show the book until told to stop")
	_ = cmd.MarkFlagRequired("to") // it fails for a flag that is not there
	return cmd
}

// sell places orders while the shop's book can be seen.
func sell(cmd *cobra.Command, listen string, s Sale, book *Book, stay bool) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	listening, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- serve(ctx, log, listen, withBook(book), func() { close(listening) }) }()
	select {
	case err := <-ended:
		return err
	case <-listening:
	}
	result, err := Place(ctx, s, book)
	err = errors.Join(err, cli.WriteJSONLine(cmd.OutOrStdout(), result))
	if err == nil && stay {
		return <-ended
	}
	cancel()
	return errors.Join(err, <-ended)
}

func reconcileCommand() *cobra.Command {
	var count int
	cmd := &cobra.Command{
		Use: "reconcile NAME=URL...", Short: "Compare the books of services", Args: cobra.MinimumNArgs(1),
		Example: "  warren-lab orders reconcile --count 1000 shop=http://10.90.0.1:8080 erp=http://10.90.0.2:8080",
		RunE: func(cmd *cobra.Command, args []string) error {
			return reconcile(cmd.Context(), cmd.OutOrStdout(), count, args)
		},
	}
	cmd.Flags().IntVar(&count, "count", 1000, "`NUMBER` of orders that each must have")
	return cmd
}

// A Reconciliation is what the reconcile command prints.
type Reconciliation struct {
	Books       []Named  `json:"books"`
	Differences []string `json:"differences"`
}

// reconcile prints the books and what differs; the exit code says whether something does.
func reconcile(ctx context.Context, w io.Writer, count int, services []string) error {
	r := Reconciliation{Differences: []string{}}
	for _, service := range services {
		name, url, ok := strings.Cut(service, "=")
		if !ok {
			return cli.Usage("warren-lab orders reconcile --help", "%q is not NAME=URL", service)
		}
		book, err := Ask(ctx, name, url)
		if err != nil {
			return fmt.Errorf("reconciling: %v", err)
		}
		r.Books = append(r.Books, book)
	}
	r.Differences = append(r.Differences, Reconcile(count, r.Books)...)
	if err := cli.WriteJSONLine(w, r); err != nil {
		return err
	}
	if len(r.Differences) > 0 {
		return cli.Exit(cli.ExitFailed)
	}
	return nil
}
