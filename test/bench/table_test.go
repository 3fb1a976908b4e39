// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/mansiomq/mansio/internal/bench"
)

func TestVerdicts(t *testing.T) {
	s := &suite{}
	s.atLeast("good ratio", .5, .45, "×", "")
	s.atLeast("bad ratio", .4, .45, "×", "")
	s.atMost("good time", 1, 2, "s", "")
	s.atMost("bad time", 3, 2, "s", "")
	s.atMost("not measured", 0, 2, "s", "")
	s.atLeast("for information", .1, 0, "×", "")
	var b strings.Builder
	err := s.print(&b, time.Second)
	if err == nil || err.Error() != "missed: bad ratio; bad time; not measured" {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"≥ 0.45 ×", "≤ 2 s", "MISSED", "met", "–"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	s.rows = s.rows[:1]
	if err := s.print(&b, time.Second); err != nil {
		t.Error(err)
	}
}

func TestMiddle(t *testing.T) {
	if got := middle([]float64{3, 1, 2}); got != 2 {
		t.Errorf("%v", got)
	}
}

func TestDetail(t *testing.T) {
	c := &bench.Comparison{Connections: 4, Rounds: []bench.Round{{Echo: &bench.Result{PerSecond: 1}, Server: &bench.Result{}}, {
		Echo: &bench.Result{PerSecond: 200}, Server: &bench.Result{PerSecond: 100, Latency: bench.Latency{P50: 2}},
	}}}
	if got := detailOf(c); !strings.HasPrefix(got, "100/s to echo 200/s; p50 2.00 to 0.00 ms") || !strings.HasSuffix(got, "4 connections, TLS false, 2 rounds") {
		t.Error(got)
	}
}
