// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/mansiomq/mansio/internal/fault"
)

// Exit codes: what failed, and what was asked for wrongly.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(os.Args[1:])) }

// run runs one command line and returns its exit code.
func run(line []string) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	stopOnSignal(cancel)
	root := newRoot()
	root.SetArgs(line)
	err := execute(ctx, root)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "mansio: "+oneLine(err))
	if _, usage := errors.AsType[*usageError](err); usage {
		return exitUsage
	}
	return exitFailed
}

// oneLine is an error as one line, joined errors included.
func oneLine(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(fault.Text(err)), "\n", "; ")
}

// stopOnSignal cancels at the first SIGINT or SIGTERM, so that everything under
// way is finished, and exits at once at the second.
func stopOnSignal(cancel context.CancelCauseFunc) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		s := <-signals
		cancel(fmt.Errorf("signal: %v", s))
		s = <-signals
		code := 128
		if n, ok := s.(syscall.Signal); ok {
			code += int(n)
		}
		os.Exit(code)
	}()
}
