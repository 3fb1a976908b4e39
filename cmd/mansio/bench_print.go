// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/mansiomq/mansio/internal/bench"
	"github.com/mansiomq/mansio/internal/cli"
)

// resultTable prints one run for people.
func resultTable(w io.Writer, r *bench.Result) {
	loop := "closed loop"
	if r.Rate > 0 {
		loop = fmt.Sprintf("open loop, %g/s", r.Rate)
	}
	cli.Row(w, "mode", fmt.Sprintf("%s to %s, TLS %v, %d in flight on %d connections, %d B, %s",
		r.Mode, r.Endpoint, r.TLS, r.InFlight, r.Connections, r.Body, loop))
	cli.Row(w, "messages", fmt.Sprintf("%d in %.2f s = %.0f/s", r.Messages, r.Seconds, r.PerSecond))
	cli.Row(w, "latency", points(&r.Latency))
	if r.Delivery != nil {
		cli.Row(w, "delivery", points(r.Delivery))
	}
	if r.CPUMicros > 0 {
		cli.Row(w, "server CPU", fmt.Sprintf("%.1f us per message", r.CPUMicros))
	}
	if r.RSSMax > 0 {
		cli.Row(w, "server RSS", fmt.Sprintf("%.1f MiB at most", float64(r.RSSMax)/(1<<20)))
	}
	for _, why := range slices.Sorted(maps.Keys(r.Errors)) {
		cli.Row(w, "errors", fmt.Sprintf("%d × %s", r.Errors[why], why))
	}
	if b := r.Ledger; b != nil {
		cli.Row(w, "ledger", fmt.Sprintf("acknowledged %d, received %d, lost %d, duplicate %d, returned %d, foreign %d",
			b.Acknowledged, b.Received, b.Lost, b.Duplicate, b.Returned, b.Foreign))
	}
}

func points(l *bench.Latency) string {
	return fmt.Sprintf("p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f ms", l.P50, l.P90, l.P99, l.P999, l.Max)
}

// comparisonTable prints rounds and ratios for people.
func comparisonTable(w io.Writer, c *bench.Comparison) {
	cli.Row(w, "ROUND", "WHAT", "MESSAGES/S", "P50 MS", "P99 MS", "CPU US/MESSAGE")
	row := func(i int, r *bench.Result) {
		cli.Row(w, i+1, r.Mode, fmt.Sprintf("%.0f", r.PerSecond), fmt.Sprintf("%.2f", r.Latency.P50),
			fmt.Sprintf("%.2f", r.Latency.P99), fmt.Sprintf("%.1f", r.CPUMicros))
	}
	for i, r := range c.Rounds {
		row(i, r.Echo)
		if r.Server != nil {
			row(i, r.Server)
		}
	}
	cli.Row(w)
	cli.Row(w, "setting", fmt.Sprintf("%d in flight on %d connections, %d B, TLS %v", c.InFlight, c.Connections, c.Body, c.TLS))
	if c.Throughput > 0 {
		cli.Row(w, "throughput", fmt.Sprintf("%.2f of the echo's (median of %d rounds)", c.Throughput, len(c.Rounds)))
		cli.Row(w, "p50", fmt.Sprintf("%.2f × the echo's", c.P50))
	}
	if c.CPU > 0 {
		cli.Row(w, "CPU", fmt.Sprintf("%.2f × the echo's", c.CPU))
	}
}
