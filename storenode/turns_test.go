// SPDX-License-Identifier: Apache-2.0

package storenode

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	replicav1 "github.com/mansiomq/mansio/proto/mansio/replica/v1"
	"github.com/mansiomq/mansio/storenode/clock"
	"github.com/mansiomq/mansio/storenode/disk"
)

// TestAlive: a shard that hangs makes the process unfit; one that goes on, or is idle, or has stopped does not.
func TestAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pass := func(d time.Duration) {
			timer := time.NewTimer(d)
			<-timer.C
			synctest.Wait()
		}
		var gate atomic.Pointer[chan struct{}] // what the owner meets when it looks at the clock
		c := newController()
		cfg := config(t, disk.NewMemory(), c, 1)
		cfg.Clock = func() clock.Reading {
			if closed := gate.Load(); closed != nil {
				<-*closed
			}
			now := time.Now().UnixMilli()
			return clock.Reading{Mono: now, Wall: now}
		}
		h := start(t, cfg)
		h.joined(c)
		if _, err := h.Create(t.Context(), &replicav1.CreateRequest{Shard: 1, Incarnation: 5}); err != nil {
			t.Fatal(err)
		}
		pass(10 * turnMax)
		if h.find(1).turned.Load() == nil || h.Alive() != nil {
			t.Errorf("an idle shard: last turn %v, %v", h.find(1).turned.Load(), h.Alive())
		}
		closed := make(chan struct{})
		gate.Store(&closed)
		pass(turnMax + turnEvery)
		if err := h.Alive(); err == nil || !strings.Contains(err.Error(), "shard 1 has done nothing for") {
			t.Errorf("a shard that hangs: %v", err)
		}
		gate.Store(nil)
		close(closed)
		pass(turnEvery)
		if err := h.Alive(); err != nil {
			t.Errorf("a shard that goes on: %v", err)
		}
		h.stop(t)
		pass(2 * turnMax)
		if err := h.Alive(); err != nil {
			t.Errorf("a shard that has stopped: %v", err)
		}
	})
}
