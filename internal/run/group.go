// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"slices"
	"sync"
	"time"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/invariant"
)

// Part is the work of one part: it calls ready once when others may use it, and
// returns when ctx is done and all its goroutines are gone. Returning
// ctx's error then is no failure.
type Part func(ctx context.Context, ready func()) error

// Group is an ordered set of parts. The zero value is empty and ready to use.
// Add everything before Run; Run may be called once.
type Group struct {
	// StopMax bounds how long Run waits for the parts when it stops them all;
	// 0 = as long as it takes.
	StopMax time.Duration
	// Stopping is called once, before any part is told to stop, with the name of the
	// part that ended by itself; empty: none did. May be nil.
	Stopping func(ended string)

	parts []*part
	ready chan struct{}
	once  sync.Once
	ran   bool
}

type part struct {
	name   string
	run    Part
	cancel context.CancelFunc
	ready  chan struct{}
	done   chan struct{}
	err    error // valid once done is closed
}

// Add appends a part. The name stands in errors and in profiles (label "part").
func (g *Group) Add(name string, run Part) {
	invariant.Check(!g.ran, "part %s added to a running group", name)
	g.parts = append(g.parts, &part{name: name, run: run, ready: make(chan struct{}), done: make(chan struct{})})
}

// AddFunc appends a part that others may use from the moment it runs.
func (g *Group) AddFunc(name string, run func(ctx context.Context) error) {
	g.Add(name, func(ctx context.Context, ready func()) error {
		ready()
		return run(ctx)
	})
}

// Ready is closed when every part has said that it is ready.
func (g *Group) Ready() <-chan struct{} {
	g.once.Do(func() { g.ready = make(chan struct{}) })
	return g.ready
}

// Run starts the parts in order, waits until ctx is done or a part ends, then
// stops them in reverse order and waits for each. It returns the errors of all
// parts that failed, joined; nil when all ended because they were told to. A
// part that has not ended when StopMax is over is an error of kind fault.Timeout
// and stays behind; those that began before it are told to stop and not waited for.
func (g *Group) Run(ctx context.Context) error {
	invariant.Check(!g.ran, "group run twice")
	g.ran = true
	ended := make(chan struct{}, len(g.parts))
	// Parts keep ctx's values; they are stopped one by one, not by ctx.
	base := context.WithoutCancel(ctx)
	started := 0
	for _, p := range g.parts {
		p.start(base, ended)
		started++
		if !p.awaitReady(ctx, ended) {
			break
		}
	}
	if started == len(g.parts) && ctx.Err() == nil && len(ended) == 0 {
		g.Ready()
		close(g.ready)
		if started > 0 {
			select {
			case <-ctx.Done():
			case <-ended:
			}
		}
	}
	if g.Stopping != nil {
		g.Stopping(firstEnded(g.parts[:started]))
	}
	return g.stop(g.parts[:started])
}

// start runs the part; one value goes to ended when it has returned.
func (p *part) start(base context.Context, ended chan<- struct{}) {
	ctx, cancel := context.WithCancel(base)
	p.cancel = cancel
	var once sync.Once
	ready := func() { once.Do(func() { close(p.ready) }) }
	go func() {
		defer func() { ended <- struct{}{} }()
		defer close(p.done)
		pprof.Do(ctx, pprof.Labels("part", p.name), func(ctx context.Context) {
			p.err = p.run(ctx, ready)
		})
		if p.err != nil && ctx.Err() != nil && errors.Is(p.err, context.Canceled) {
			p.err = nil
		}
	}()
}

// awaitReady reports whether the next part may start.
func (p *part) awaitReady(ctx context.Context, ended chan struct{}) bool {
	select {
	case <-p.ready:
		return true
	case <-ctx.Done():
		return false
	case <-ended:
		ended <- struct{}{} // keep it for whoever looks next
		return false
	}
}

// firstEnded is the name of the first part that has ended.
func firstEnded(parts []*part) string {
	for _, p := range parts {
		select {
		case <-p.done:
			return p.name
		default:
		}
	}
	return ""
}

func (g *Group) stop(parts []*part) error {
	var late <-chan time.Time
	if g.StopMax > 0 {
		t := time.NewTimer(g.StopMax)
		defer t.Stop()
		late = t.C
	}
	var failed []error
	for i, p := range slices.Backward(parts) {
		p.cancel()
		select {
		case <-p.done:
		case <-late:
			for _, q := range parts[:i] {
				q.cancel()
			}
			return errors.Join(append(failed, fault.Errorf("stop", fault.Timeout, "%s has not ended within %v", p.name, g.StopMax))...)
		}
		if p.err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", p.name, p.err))
		}
	}
	return errors.Join(failed...)
}
