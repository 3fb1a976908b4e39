// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mansiomq/mansio/internal/bench"
)

// row is one line of the table. A demand of 0 is none.
type row struct {
	what     string
	measured float64
	unit     string // ×: a ratio
	demand   float64
	least    bool // the demand is a lower bound
	detail   string
}

// atLeast and atMost add a line.
func (s *suite) atLeast(what string, measured, demand float64, unit, detail string) {
	s.rows = append(s.rows, row{what: what, measured: measured, demand: demand, unit: unit, least: true, detail: detail})
}

func (s *suite) atMost(what string, measured, demand float64, unit, detail string) {
	s.rows = append(s.rows, row{what: what, measured: measured, demand: demand, unit: unit, detail: detail})
}

func (r *row) met() bool {
	switch {
	case r.demand == 0:
		return true
	case r.measured == 0: // nothing was measured
		return false
	case r.least:
		return r.measured >= r.demand
	}
	return r.measured <= r.demand
}

func (r *row) verdict() string {
	switch {
	case r.demand == 0:
		return "–"
	case r.met():
		return "met"
	}
	return "MISSED"
}

func (r *row) bound() string {
	switch {
	case r.demand == 0:
		return "–"
	case r.least:
		return fmt.Sprintf("≥ %g %s", r.demand, r.unit)
	}
	return fmt.Sprintf("≤ %g %s", r.demand, r.unit)
}

// print writes the table in Markdown, and returns an error when a demand is
// missed.
func (s *suite) print(w io.Writer, took time.Duration) error {
	fmt.Fprintf(w, "%s, %d CPUs (%s), Linux %s, %s; %.0f s in all\n\n", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), cpuName(), kernel(), runtime.Version(), took.Seconds())
	t := tabwriter.NewWriter(w, 0, 8, 1, ' ', 0)
	fmt.Fprintln(t, "| what\t| measured\t| demand\t| verdict\t| detail\t|")
	fmt.Fprintln(t, "| ---\t| ---\t| ---\t| ---\t| ---\t|")
	var missed []string
	for i := range s.rows {
		r := &s.rows[i]
		fmt.Fprintf(t, "| %s\t| %.3g %s\t| %s\t| %s\t| %s\t|\n", r.what, r.measured, r.unit, r.bound(), r.verdict(), r.detail)
		if !r.met() {
			missed = append(missed, r.what)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(missed) > 0 {
		return fmt.Errorf("missed: %s", strings.Join(missed, "; "))
	}
	return nil
}

// detailOf are a comparison's absolute figures: those of its last round.
func detailOf(c *bench.Comparison) string {
	last := c.Rounds[len(c.Rounds)-1]
	return fmt.Sprintf("%.0f/s to echo %.0f/s; p50 %.2f to %.2f ms, p99 %.2f to %.2f; CPU %.0f to %.0f us; %d connections, TLS %v, %d rounds",
		last.Server.PerSecond, last.Echo.PerSecond, last.Server.Latency.P50, last.Echo.Latency.P50,
		last.Server.Latency.P99, last.Echo.Latency.P99, last.Server.CPUMicros, last.Echo.CPUMicros, c.Connections, c.TLS, len(c.Rounds))
}

func cpuName() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	_, rest, _ := bytes.Cut(text, []byte("model name"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return strings.Trim(string(line), "\t: ")
}

func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(text))
}
