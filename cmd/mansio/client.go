// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mansiomq/mansio/internal/cli"
)

// serverFlags say which server a command talks to.
func serverFlags(f *pflag.FlagSet) {
	f.String("server", "127.0.0.1:8081", "server to ask, HOST:PORT: a proxy, or a controller")
	f.Bool("tls", false, "encrypt the connection")
	f.String("tls-ca", "", "file with the certificate of the authority that signed the server's")
	f.Bool("tls-skip-verify", false, "take any certificate, such as the self-signed default")
	f.String("admin-token-file", "", "file with the token of administrators")
	f.Duration("timeout", 10*time.Second, "how long to wait for an answer")
}

// outputFlags choose the form of answers.
func outputFlags(f *pflag.FlagSet) {
	f.StringP("output", "o", "table", "table, json or yaml")
}

// client is what a command of administrators works with.
type client struct {
	cli.Printer
	*cli.Conn

	settings *settings
}

// withClient makes the RunE of a command that asks a server.
func withClient(run func(c *cobra.Command, operands []string, k *client) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, operands []string) error {
		s, err := loadSettings(c)
		if err != nil {
			return err
		}
		k := &client{settings: s, Printer: cli.Printer{W: c.OutOrStdout(), Format: "table"}}
		if c.Flags().Lookup("output") != nil {
			k.Format = s.k.String("output")
		}
		if err := k.Check(); err != nil {
			return &usageError{err}
		}
		if k.Conn, err = s.server().Dial(); err != nil {
			return &usageError{err} // the network was not touched
		}
		defer func() { _ = k.Close() }() // the command's answer is what counts
		return run(c, operands, k)
	}
}

// server is what serverFlags say.
func (s *settings) server() cli.Server {
	return cli.Server{
		Address: s.k.String("server"), TLS: s.k.Bool("tls"), CAFile: s.k.String("tls-ca"),
		SkipVerify: s.k.Bool("tls-skip-verify"), AdminTokenFile: s.k.String("admin-token-file"), Timeout: s.k.Duration("timeout"),
	}
}

// leaf makes a command that asks a server and prints an answer.
func leaf(use, short string, operands cobra.PositionalArgs,
	run func(c *cobra.Command, operands []string, k *client) error,
) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: operands, RunE: withClient(run)}
	serverFlags(c.Flags())
	outputFlags(c.Flags())
	return c
}

// ofProxies says in the help of a command that only proxies answer it.
func ofProxies(c *cobra.Command) {
	c.Flags().Lookup("server").Usage = "proxy to ask, HOST:PORT"
}
