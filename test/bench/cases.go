// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/mansiomq/mansio/internal/bench"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// bodyBytes is the size of all bodies, unless a case says otherwise.
const bodyBytes = 1 << 10

var cases = []struct {
	name string
	run  func(context.Context, *suite) error
}{
	{"standalone", standalone},
	{"split", split},
	{"memory", memory},
	{"start", starts},
	{"recovery", recovery},
}

// options are what all loads have in common.
func (s *suite) options(p *process, topic string, inFlight int, pids ...int) bench.Options {
	return bench.Options{
		Endpoint: p.addr, Topic: topic, Group: "bench", Body: bodyBytes, InFlight: inFlight, PIDs: pids,
		WarmUp: s.measure.warmUp, Duration: s.measure.duration, Batch: 32, Wait: 5 * time.Second, Invisible: time.Minute, Drain: 20 * time.Second,
	}
}

// compare compares with the echo.
func (s *suite) compare(ctx context.Context, o bench.Options, run func(context.Context, bench.Options) (*bench.Result, error)) (*bench.Comparison, error) {
	c, err := bench.Compare(ctx, o, s.measure.rounds, run, []string{s.bin, "bench", "echo-server"})
	if err != nil {
		return nil, err
	}
	for _, r := range c.Rounds {
		if len(r.Server.Errors) > 0 {
			return nil, fmt.Errorf("%d in flight: errors %v", o.InFlight, r.Server.Errors)
		}
		if l := r.Server.Ledger; l != nil && !l.Sound() {
			return nil, fmt.Errorf("%d in flight: ledger %+v", o.InFlight, *l)
		}
	}
	return c, nil
}

func standalone(ctx context.Context, s *suite) (err error) {
	p, err := s.start(ctx, "standalone", "standalone")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.topic(ctx, "sends", 8, controlv1.ReplyPoint_REPLY_POINT_COMMITTED); err != nil {
		return err
	}
	if err := s.sends(ctx, "one process", p, map[int]float64{64: .45, 256: .45}, 2.6, p.pid()); err != nil {
		return err
	}
	if err := p.topic(ctx, "loop", 8, controlv1.ReplyPoint_REPLY_POINT_COMMITTED); err != nil {
		return err
	}
	c, err := s.compare(ctx, s.options(p, "loop", 64, p.pid()), bench.E2E)
	if err != nil {
		return err
	}
	s.atLeast("one process: send + receive + ack, 64 in flight", c.Throughput, .25, "×", detailOf(c))
	if err := p.topic(ctx, "written", 8, controlv1.ReplyPoint_REPLY_POINT_WRITTEN); err != nil {
		return err
	}
	c, err = s.compare(ctx, s.options(p, "written", 64, p.pid()), bench.Send)
	if err != nil {
		return err
	}
	s.atLeast("one process: send, answered from the page cache, 64 in flight", c.Throughput, 0, "×", detailOf(c))
	return nil
}

// sends compares sends at several depths: demands are per depth, the demand on
// the median latency is for one at a time.
func (s *suite) sends(ctx context.Context, what string, p *process, demands map[int]float64, p50 float64, pids ...int) error {
	for _, n := range []int{1, 16, 64, 256} {
		c, err := s.compare(ctx, s.options(p, "sends", n, pids...), bench.Send)
		if err != nil {
			return err
		}
		s.atLeast(what+": send, "+strconv.Itoa(n)+" in flight", c.Throughput, demands[n], "×", detailOf(c))
		switch n {
		case 1:
			s.atMost(what+": p50 of a send, 1 in flight", c.P50, p50, "×", detailOf(c))
		case 64:
			demand := 0.0
			if len(pids) == 1 {
				demand = 1.9
			}
			s.atMost(what+": server CPU per send, 64 in flight", c.CPU, demand, "×", detailOf(c))
		}
	}
	return nil
}

func split(ctx context.Context, s *suite) (err error) {
	controller, err := s.start(ctx, "controller", "controller", "--etcd-embedded")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, controller.stop()) }()
	store, err := s.start(ctx, "storenode", "store", "--node", "store", "--controller", controller.addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.stop()) }()
	proxy, err := s.start(ctx, "proxy", "proxy", "--controller", controller.addr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, proxy.stop()) }()
	if err := proxy.topic(ctx, "sends", 8, controlv1.ReplyPoint_REPLY_POINT_COMMITTED); err != nil {
		return err
	}
	return s.sends(ctx, "proxy and store", proxy, map[int]float64{64: .38, 256: .38}, 3.5, proxy.pid(), store.pid())
}

func memory(ctx context.Context, s *suite) (err error) {
	p, err := s.start(ctx, "standalone", "memory")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	wait(ctx, s.measure.rss)
	const mb = 1e6
	s.atMost("one process: RSS idle", float64(bench.RSS([]int{p.pid()}))/mb, 80, "MB", fmt.Sprintf("%v after ready", s.measure.rss))
	if err := p.topic(ctx, "sends", 8, controlv1.ReplyPoint_REPLY_POINT_COMMITTED); err != nil {
		return err
	}
	o := s.options(p, "sends", 256, p.pid())
	o.Duration = s.measure.rss
	r, err := bench.E2E(ctx, o)
	if err != nil {
		return err
	}
	s.atMost("one process: RSS under 256 in flight", float64(r.RSSMax)/mb, 300, "MB",
		fmt.Sprintf("the most in %v of send, receive and ack, %.0f/s", s.measure.rss, r.PerSecond))
	return nil
}

func starts(ctx context.Context, s *suite) error {
	var empty, clean []float64
	for i := range s.measure.starts {
		p, err := s.start(ctx, "standalone", "start-"+strconv.Itoa(i))
		if err != nil {
			return err
		}
		empty = append(empty, p.ready.Sub(p.began).Seconds())
		if err := p.stop(); err != nil {
			return err
		}
		if err := p.run(ctx); err != nil {
			return err
		}
		clean = append(clean, p.ready.Sub(p.began).Seconds())
		if err := p.stop(); err != nil {
			return err
		}
	}
	detail := fmt.Sprintf("median of %d", s.measure.starts)
	s.atMost("one process: start to ready, empty", middle(empty), 1, "s", detail)
	s.atMost("one process: restart with a clean log", middle(clean), .5, "s", detail)
	return nil
}

func middle(v []float64) float64 { return slices.Sorted(slices.Values(v))[len(v)/2] }

// wait waits for d or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
