// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"sync/atomic"
	"testing"

	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/clock"
	"github.com/mansiomq/mansio/storenode/disk"
)

const minute = 60_000

// lagging is a shard that stood still for a quarter of an hour: its log time
// steps when the wall has been stable for a minute. mono is its machine's clock.
func lagging(t *testing.T, mono *atomic.Int64) *life {
	d := disk.NewMemory()
	l := begin(t, d, 0)
	l.send(0, 1)
	l.stop()
	return beginOn(t, setting{disk: d, dir: "s", segmentBytes: 64 << 10, clock: func() clock.Reading {
		return clock.Reading{Mono: mono.Load(), Wall: 1_000*hourMS + 15*minute + mono.Load()}
	}})
}

// TestLeaseOutlivesAStep: a shard that stood still for long believes the wall
// only after a minute. The leases given before that last as long as they were
// given for.
func TestLeaseOutlivesAStep(t *testing.T) {
	var mono atomic.Int64
	mono.Store(1)
	l := lagging(t, &mono)
	defer l.stop()
	mono.Store(55_000)
	first := l.take(1, 10*minute)
	mono.Store(61_000)
	l.do(&storeapi.Offsets{Topic: topicID}) // the step
	for _, at := range []int64{62_000, 55_000 + 10*minute - 1_000} {
		mono.Store(at)
		if again := l.take(1, 10*minute); len(again.Messages) != 0 {
			t.Fatalf("delivered again after %d of %d ms, as attempt %d", at-55_000, 10*minute, again.Messages[0].Attempt)
		}
	}
	if code := l.verdict(named(first, 0), storeapi.Extend, 10*minute); code != storeapi.OK {
		t.Fatalf("the lease cannot be extended: %v", code)
	}
	mono.Store(55_000 + 20*minute + 1_000)
	if again := l.take(1, 10*minute); len(again.Messages) != 1 || again.Messages[0].Attempt != 2 {
		t.Fatalf("a lease that has ended was delivered as %+v", again.Messages)
	}
}

// TestBuryDuringAStep: a delivery whose lease the clock steps over is still its
// client's to bury, also before the TimeShift is applied.
func TestBuryDuringAStep(t *testing.T) {
	var mono atomic.Int64
	mono.Store(1)
	l := lagging(t, &mono)
	defer l.stop()
	mono.Store(55_000)
	got := l.take(1, 10*minute)
	mono.Store(61_000) // the settlement brings the step
	if code := l.verdict(named(got, 0), storeapi.Bury, 0); code != storeapi.OK {
		t.Fatalf("the delivery cannot be buried: %v", code)
	}
}
