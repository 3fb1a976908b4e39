// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"google.golang.org/grpc/status"

	"github.com/mansiomq/mansio/internal/rocketmq"
)

// Result is what one run has measured. Times are in seconds, latencies in
// milliseconds.
type Result struct {
	Mode        string  `json:"mode"`
	Endpoint    string  `json:"endpoint"`
	TLS         bool    `json:"tls"`
	InFlight    int     `json:"in_flight"`
	Connections int     `json:"connections"`
	Body        int     `json:"body_bytes"`
	Rate        float64 `json:"rate,omitempty"`
	Seconds     float64 `json:"seconds"`
	Operations  int64   `json:"operations"`
	Messages    int64   `json:"messages"`
	PerSecond   float64 `json:"messages_per_second"`
	Latency     Latency `json:"latency_ms"`
	// Delivery is the time from the first try of a send to the receive; E2E only.
	Delivery *Latency         `json:"delivery_ms,omitempty"`
	Errors   map[string]int64 `json:"errors"`
	Ledger   *Balance         `json:"ledger,omitempty"`
	// CPUMicros is the server's CPU per message, RSSMax its memory; only with PIDs.
	CPUMicros float64 `json:"server_cpu_us_per_message,omitempty"`
	RSSMax    int64   `json:"server_rss_max_bytes,omitempty"`
}

// Latency are the usual points of a distribution, in milliseconds.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

func latencyOf(h *hdrhistogram.Histogram) Latency {
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return Latency{Mean: h.Mean() / 1000, P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: float64(h.Max()) / 1000}
}

// result joins what the workers have measured.
func (l *load) result() *Result {
	r := &Result{
		Endpoint: l.o.Endpoint, TLS: l.o.TLS, InFlight: l.o.InFlight, Connections: l.o.Connections, Body: l.o.Body, Rate: l.o.Rate,
		Errors: make(map[string]int64),
	}
	all := newHistogram()
	last := l.begin
	for i := range l.results {
		w := &l.results[i]
		r.Operations += w.operations
		r.Messages += w.messages
		all.Merge(w.latency)
		for why, n := range w.errors {
			r.Errors[why] += n
		}
		if w.last.After(last) {
			last = w.last
		}
	}
	r.Latency = latencyOf(all)
	r.finish(last.Sub(l.begin), l.usage)
	return r
}

// finish computes what follows from the time and the server's usage.
func (r *Result) finish(took time.Duration, u *usage) {
	r.Seconds = took.Seconds()
	if took > 0 {
		r.PerSecond = float64(r.Messages) / took.Seconds()
	}
	if r.Messages > 0 {
		r.CPUMicros = float64(u.spent().Microseconds()) / float64(r.Messages)
	}
	r.RSSMax = u.rssMax
}

// reason is the word under which an error is counted.
func reason(err error) string {
	var s *rocketmq.StatusError
	switch {
	case errors.As(err, &s):
		return s.Code.String()
	case errors.Is(err, context.DeadlineExceeded):
		return "grpc: DeadlineExceeded"
	}
	return "grpc: " + status.Code(err).String()
}

// errorsOf counts errors of goroutines that do not share a loop.
type errorCounts struct{ byReason map[string]int64 }

func (e *errorCounts) add(err error) {
	if e.byReason == nil {
		e.byReason = make(map[string]int64)
	}
	e.byReason[reason(err)]++
}

// into adds the counts to m.
func (e *errorCounts) into(m map[string]int64) {
	for why, n := range maps.All(e.byReason) {
		m[why] += n
	}
}

// progress tells every half second how many operations are counted.
func (l *load) progress(ctx context.Context) {
	const every = 500 * time.Millisecond
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if wait := time.Until(l.begin); wait > 0 {
				l.o.Progress(fmt.Sprintf("warming up, %.0f s left", wait.Seconds()))
			} else if l.end.IsZero() {
				l.o.Progress(fmt.Sprintf("%d of %d", min(l.counted.Load(), l.o.Count), l.o.Count))
			} else {
				l.o.Progress(fmt.Sprintf("%.0f s left", max(time.Until(l.end).Seconds(), 0)))
			}
		}
	}
}
