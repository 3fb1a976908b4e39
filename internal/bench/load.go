// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are kept from 1 µs to 1 min with three digits.
const (
	latencyMax    = time.Minute
	latencyDigits = 3
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, latencyMax.Microseconds(), latencyDigits)
}

// record adds a latency, clamped into the range.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), 1), latencyMax.Microseconds())) // cannot fail inside the range
}

// pauseAfterError keeps a loop from spinning when the server is away.
const pauseAfterError = 10 * time.Millisecond

// work is one operation of a worker; done tells how many messages it moved.
type work func(ctx context.Context, worker int) (messages int, err error)

// load runs work in a loop and measures it.
type load struct {
	o       *Options
	workers int
	do      work
	usage   *usage

	begin   time.Time // of what is counted
	end     time.Time // operations start before it; zero: no limit
	turn    atomic.Int64
	counted atomic.Int64
	results []workerResult
}

// workerResult is what one worker has measured.
type workerResult struct {
	latency    *hdrhistogram.Histogram
	operations int64
	messages   int64
	errors     map[string]int64
	last       time.Time
}

// run runs the load to its end, or until ctx ends.
func (l *load) run(ctx context.Context) *Result {
	l.results = make([]workerResult, l.workers)
	start := time.Now()
	l.begin = start.Add(l.o.WarmUp)
	if l.o.Duration > 0 {
		l.end = l.begin.Add(l.o.Duration)
	}
	var watchers sync.WaitGroup
	watched, stop := context.WithCancel(ctx)
	watchers.Go(func() { l.usage.watch(watched, l.begin) })
	watchers.Go(func() { l.progress(watched) })
	var workers sync.WaitGroup
	for w := range l.workers {
		workers.Go(func() { l.worker(ctx, w, start) })
	}
	workers.Wait()
	l.usage.finish()
	stop()
	watchers.Wait()
	return l.result()
}

// worker is one worker's loop.
func (l *load) worker(ctx context.Context, w int, start time.Time) {
	r := &l.results[w]
	r.latency, r.errors = newHistogram(), make(map[string]int64)
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for ctx.Err() == nil {
		due := time.Now()
		if l.o.Rate > 0 {
			due = start.Add(time.Duration(float64(l.turn.Add(1)-1) / l.o.Rate * float64(time.Second)))
			if wait := time.Until(due); wait > 0 {
				timer.Reset(wait)
				select {
				case <-ctx.Done():
					return
				case <-timer.C:
				}
			}
		}
		if !l.end.IsZero() && !due.Before(l.end) {
			return
		}
		counts := !due.Before(l.begin)
		if counts && l.o.Count > 0 && l.counted.Add(1) > l.o.Count {
			return
		}
		n, err := l.do(ctx, w)
		if err != nil {
			pause(ctx, pauseAfterError)
		}
		if ctx.Err() != nil || !counts {
			continue
		}
		now := time.Now()
		r.add(n, err, now.Sub(due))
		r.last = now
	}
}

func (r *workerResult) add(messages int, err error, took time.Duration) {
	if err != nil {
		r.errors[reason(err)]++
		return
	}
	r.operations++
	r.messages += int64(messages)
	record(r.latency, took)
}
