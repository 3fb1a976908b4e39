// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// suite is one run of the program.
type suite struct {
	bin     string
	dir     string
	only    *regexp.Regexp
	measure measures
	rows    []row
}

// measures are how long things are looked at.
type measures struct {
	rounds   int
	warmUp   time.Duration
	duration time.Duration
	rss      time.Duration
	starts   int
	logBytes int64
	leases   int
}

var (
	thorough = measures{rounds: 3, warmUp: time.Second, duration: 4 * time.Second, rss: time.Minute, starts: 5, logBytes: 1 << 30, leases: 100_000}
	quick    = measures{rounds: 1, warmUp: 200 * time.Millisecond, duration: time.Second, rss: 2 * time.Second, starts: 1, logBytes: 64 << 20, leases: 5_000}
)

func main() {
	bin := flag.String("bin", "", "the mansio binary")
	only := flag.String("only", "", "only cases whose names match")
	short := flag.Bool("quick", false, "measure too briefly for a judgement")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, *bin, *only, *short)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, only string, short bool) (err error) {
	if bin == "" {
		return errors.New("-bin is missing")
	}
	s := &suite{bin: bin, measure: thorough}
	if short {
		s.measure = quick
	}
	if s.only, err = regexp.Compile(only); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "mansio-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	begin := time.Now()
	for _, c := range cases {
		if !s.only.MatchString(c.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s …\n", c.name)
		if err := c.run(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return s.print(os.Stdout, time.Since(begin))
}
