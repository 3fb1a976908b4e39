// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/mansiomq/mansio/internal/assembly"
	"github.com/mansiomq/mansio/internal/telemetry"
)

// telemetryGrace bounds the last export when a process stops.
const telemetryGrace = 3 * time.Second

// runRole runs a configured role until ctx ends. Logs go to standard error, out
// gets the word that it is ready.
func runRole(ctx context.Context, s *settings, cfg *assembly.Config, out io.Writer) (err error) {
	logger, err := s.logger(os.Stderr)
	if err != nil {
		return err
	}
	node := cfg.Name
	if cfg.StoreNode != nil {
		node = cfg.StoreNode.Node
	}
	role := strings.TrimPrefix(cfg.Name, "mansio ")
	cfg.Logger = logger.With("role", role)
	for _, name := range s.unknown {
		cfg.Logger.Warn("an environment variable is no setting", "variable", name)
	}
	cfg.Telemetry, err = telemetry.New(ctx, telemetry.Config{Role: role, Node: node, Version: version, Logger: cfg.Logger})
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), telemetryGrace)
		defer cancel()
		err = errors.Join(err, cfg.Telemetry.Close(last))
	}()
	cfg.Started = func(at assembly.Addresses) { banner(out, role, at) }
	return assembly.Run(ctx, *cfg)
}

// logger makes the logger of a role.
func (s *settings) logger(w io.Writer) (*slog.Logger, error) {
	return telemetry.NewLogger(w, s.k.String("log-level"), s.k.String("log-format"))
}

// banner tells people where the process is and how to try it.
func banner(w io.Writer, role string, at assembly.Addresses) {
	line := func(what, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %-12s %s\n", what, value)
		}
	}
	fmt.Fprintf(w, "mansio %s is ready\n", role)
	line("clients", at.Client)
	line("store", at.Store)
	line("controller", at.Controller)
	line("health", httpURL(at.HTTP, "/readyz"))
	line("metrics", httpURL(at.HTTP, "/metrics"))
	line("data", at.Data)
	if role == "standalone" {
		fmt.Fprintf(w, "try it:\n  %[1]s send orders hello --server %[2]s\n  %[1]s receive orders --group billing --ack --server %[2]s\n", os.Args[0], reachable(at.Client))
	}
}

// reachable turns a listener's address into one that can be dialled here.
func reachable(address string) string {
	for _, everywhere := range []string{"[::]", "0.0.0.0"} {
		if rest, ok := strings.CutPrefix(address, everywhere); ok {
			return "127.0.0.1" + rest
		}
	}
	return address
}

func httpURL(address, path string) string {
	if address == "" {
		return ""
	}
	return "http://" + reachable(address) + path
}
