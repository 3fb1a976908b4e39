// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/mansiomq/mansio/internal/bench"
	"github.com/mansiomq/mansio/internal/cli"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/rpc"
)

func newBench() *cobra.Command {
	return parent("bench", "Generate load on any RocketMQ 5 proxy, and measure",
		benchRun("send", "Send messages", "127.0.0.1:8081", bench.Send),
		benchRun("receive", "Receive messages and acknowledge them", "127.0.0.1:8081", bench.Receive),
		benchRun("e2e", "Send and receive, and prove that nothing is lost", "127.0.0.1:8081", bench.E2E),
		benchEcho(), benchEchoServer(),
	)
}

// benchCommand makes a command that measures and prints.
func benchCommand(use, short string, run func(context.Context, *settings, bench.Options) (any, func(io.Writer), error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: args(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := loadSettings(c)
			if err != nil {
				return err
			}
			p := cli.Printer{W: c.OutOrStdout(), Format: s.k.String("output")}
			if err := p.Check(); err != nil {
				return &usageError{err}
			}
			o, err := benchOptions(c, s)
			if err != nil {
				return err
			}
			if use == "e2e" && o.Body < bench.BodyMin {
				return usagef("--size %d: the ledger needs %d bytes", o.Body, bench.BodyMin)
			}
			progress := cli.NewProgress(c.ErrOrStderr())
			o.Progress = func(text string) { progress.Show("%s", text) }
			value, table, err := run(c.Context(), s, o)
			progress.Clear()
			if fault.Is(rpc.Fault(err), fault.Unavailable) && value == nil {
				err = cli.Explain(err, o.Endpoint, bench.CallTimeout)
			}
			if value != nil { // also a run that failed has something to show
				err = errors.Join(p.Print(value, table), err)
			}
			return err
		},
	}
}

func benchRun(use, short, endpoint string, run func(context.Context, bench.Options) (*bench.Result, error)) *cobra.Command {
	c := benchCommand(use, short, func(ctx context.Context, _ *settings, o bench.Options) (any, func(io.Writer), error) {
		r, err := run(ctx, o)
		if r == nil {
			return nil, nil, err
		}
		if err == nil && r.Ledger != nil && !r.Ledger.Sound() {
			err = fault.Errorf("", fault.Internal, "%d messages are lost, %d came back after their acknowledgement", r.Ledger.Lost, r.Ledger.Returned)
		}
		if err == nil && r.Messages == 0 {
			err = fault.Errorf("", fault.Unavailable, "not one message went through")
		}
		return r, func(w io.Writer) { resultTable(w, r) }, err
	})
	benchFlags(c, endpoint)
	return c
}

func benchEcho() *cobra.Command {
	c := benchCommand("echo", "Measure a bare gRPC echo of sends, and with --endpoint a server against it",
		func(ctx context.Context, s *settings, o bench.Options) (any, func(io.Writer), error) {
			run := bench.Send
			switch mode := s.k.String("mode"); mode {
			case "send":
			case "e2e":
				run = bench.E2E
			default:
				return nil, nil, usagef("--mode %q: send or e2e", mode)
			}
			self, err := os.Executable()
			if err != nil {
				return nil, nil, err
			}
			server := []string{self, "bench", "echo-server", "--tls=" + strconv.FormatBool(o.TLS)}
			r, err := bench.Compare(ctx, o, s.k.Int("rounds"), run, server)
			if err != nil {
				return nil, nil, err
			}
			return r, func(w io.Writer) { comparisonTable(w, r) }, nil
		})
	benchFlags(c, "")
	c.Flags().Int("rounds", 3, "rounds of echo and server")
	c.Flags().String("mode", "send", "what the server is measured with: send or e2e")
	return c
}

// benchEchoServer is the yardstick's process; it ends with its standard input.
func benchEchoServer() *cobra.Command {
	c := &cobra.Command{
		Use: "echo-server", Hidden: true, Args: args(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			secure, err := c.Flags().GetBool("tls")
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(c.Context())
			defer cancel()
			go func() {
				_, _ = io.Copy(io.Discard, c.InOrStdin()) // whatever ends it
				cancel()
			}()
			return bench.ServeEcho(ctx, secure, c.OutOrStdout())
		},
	}
	c.Flags().Bool("tls", false, "encrypt with a self-signed certificate")
	return c
}
