// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// TestAwayNode: a node that is gone is seen in both lists, in a metric and in one
// line of the log.
func TestAwayNode(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		var lines locked
		w := newWorld(t, func(c *Config) {
			c.Meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test")
			c.Log = slog.New(slog.NewTextHandler(io.MultiWriter(&lines, t.Output()), nil))
		})
		table := w.watch("proxy p1")
		n := w.node("n1", nil)
		await(t, table, "two led shards", allLed(2))
		joined := time.Now()
		pass(time.Minute)
		w.expectNodes(reader, []uint64{1}, joined, map[string]int64{"alive": 1, "away": 0})
		n.stop()
		pass(time.Second)
		left := time.Now()
		pass(time.Minute)
		w.expectNodes(reader, nil, left, map[string]int64{"alive": 0, "away": 1})
		if got := lines.count("level=WARN msg=\"a store node's session ended\""); got != 1 {
			t.Errorf("%d lines tell that the node is gone", got)
		}
	})
}

func (w *world) expectNodes(reader sdkmetric.Reader, live []uint64, since time.Time, states map[string]int64) {
	w.t.Helper()
	nodes, err := w.admin().ListNodes(w.t.Context(), &controlv1.ListNodesRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	shards, err := w.admin().ListShards(w.t.Context(), &controlv1.ListShardsRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	if diff := cmp.Diff([][]uint64{live, live}, [][]uint64{nodes.GetLive(), shards.GetLive()}); diff != "" {
		w.t.Error(diff)
	}
	if off := since.Sub(time.UnixMilli(nodes.GetSinceMs()[1])); off < 0 || off > 2*time.Second {
		w.t.Errorf("since %v, not %v", time.UnixMilli(nodes.GetSinceMs()[1]), since)
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(w.t.Context(), &all); err != nil {
		w.t.Fatal(err)
	}
	got := map[string]int64{}
	for _, m := range all.ScopeMetrics[0].Metrics {
		if m.Unit == "" {
			w.t.Errorf("%s has no unit", m.Name)
		}
		if m.Name != "mansio.controller.nodes" {
			continue
		}
		for _, p := range m.Data.(metricdata.Gauge[int64]).DataPoints {
			state, _ := p.Attributes.Value("state")
			got[state.AsString()] = p.Value
		}
	}
	if diff := cmp.Diff(states, got); diff != "" {
		w.t.Error(diff)
	}
}

// locked is a log that many write to.
type locked struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded
}

func (l *locked) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *locked) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}
