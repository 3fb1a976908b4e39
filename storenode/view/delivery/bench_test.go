// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

const (
	benchLeases = 1_000_000
	benchQueues = 1000
	benchBatch  = 32
)

type bench struct {
	d      *Deliveries
	s      *Selector
	lsn    ident.LSN
	nowMS  int64
	queues []QueueState
	owner  string
}

func newBench(queues int) *bench {
	b := &bench{d: New(), lsn: 8, nowMS: stageStartMS}
	b.s = NewSelector(b.d)
	b.d.ApplyGroupConfig(1, GroupConfig{})
	for q := range queues {
		b.queues = append(b.queues, QueueState{ID: ident.Queue(q), Next: 1 << 40})
	}
	return b
}

func (b *bench) receive(n int, out *GrantOutcome) ident.LSN {
	req := SelectRequest{
		Key: Key{1, 1}, Max: n, NowMS: b.nowMS, Queues: b.queues, InFlightMax: 1 << 30, QueueInFlightMax: 1 << 30,
	}
	sel := b.s.Select(&req)
	b.lsn += 64
	b.d.ApplyGrant(&record.Header{LSN: b.lsn, Term: 1, TimeMS: b.nowMS}, &record.PopGrant{
		Group: 1, Topic: 1, Generation: sel.Generation, InvisibleMS: 60_000, Items: sel.Items, Owner: b.owner,
	}, out)
	b.s.Applied(sel)
	return b.lsn
}

// lease grants n offsets in batches from one queue after the other.
func (b *bench) lease(n, batch int) {
	all := b.queues
	var out GrantOutcome
	for i := 0; n > 0; i++ {
		at := i % len(all)
		b.queues = all[at : at+1]
		b.receive(min(n, batch), &out)
		n -= batch
	}
	b.queues = all
}

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// leaseBytes is what one lease costs when so many are in flight.
func leaseBytes(leases, queues, batch int) float64 {
	before := heapBytes()
	b := newBench(queues)
	b.lease(leases, batch)
	after := heapBytes()
	runtime.KeepAlive(b)
	return float64(after-before) / float64(leases)
}

// TestMemory holds the cost of a lease to its bound, from dense to sparse.
func TestMemory(t *testing.T) {
	for _, c := range []struct {
		queues, batch int
		bytesMax      float64
	}{
		{200, 32, 20},
		{200, 8, 25},
		{8, 1, 70},
		{20_000, 10, 60},
	} {
		if got := leaseBytes(benchLeases/5, c.queues, c.batch); got > c.bytesMax {
			t.Errorf("%d queues, batches of %d: %.1f bytes a lease, at most %.0f", c.queues, c.batch, got, c.bytesMax)
		}
	}
}

func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct{ queues, batch int }{{1000, 32}, {1000, 1}, {1_000_000, 1}} {
		b.Run(fmt.Sprintf("queues=%d/batch=%d", c.queues, c.batch), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(leaseBytes(benchLeases, c.queues, c.batch), "B/lease")
			}
		})
	}
}

// BenchmarkReceive is one receive of 32 from 8 queues, and the ack of each.
func BenchmarkReceive(b *testing.B) {
	for _, n := range []int{1, benchBatch} {
		b.Run(fmt.Sprintf("max=%d", n), func(b *testing.B) {
			w := newBench(8)
			w.lease(100_000, 32)
			var out GrantOutcome
			var items []record.SettleItem
			var results []Result
			b.ReportAllocs()
			for b.Loop() {
				lsn := w.receive(n, &out)
				items = items[:0]
				for _, g := range out.Granted {
					items = append(items, record.SettleItem{Group: 1, Topic: 1, Queue: g.Queue, Offset: g.Offset, Term: 1, Grant: lsn})
				}
				results = w.d.ApplySettle(&record.Header{LSN: w.lsn, Term: 1, TimeMS: w.nowMS}, items, results[:0])
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/message")
		})
	}
}

// BenchmarkGrant and BenchmarkAck apply with a million leases in flight.
func BenchmarkGrant(b *testing.B) {
	w := newBench(benchQueues)
	var out GrantOutcome
	next := make([]ident.Offset, benchQueues)
	grant := record.PopGrant{Group: 1, Topic: 1, InvisibleMS: 60_000, Items: make([]record.GrantItem, 1)}
	runs := []record.Run{{Kind: record.RunLease, Count: benchBatch}}
	i := 0
	for b.Loop() {
		q := i % benchQueues
		grant.Items[0] = record.GrantItem{Queue: ident.Queue(q), First: next[q], Runs: runs}
		next[q] += benchBatch
		w.lsn += 64
		w.d.ApplyGrant(&record.Header{LSN: w.lsn, Term: 1, TimeMS: w.nowMS}, &grant, &out)
		i++
		if i%(benchLeases/benchBatch) == 0 {
			b.StopTimer()
			w = newBench(benchQueues)
			clear(next)
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchBatch), "ns/message")
}

func BenchmarkAck(b *testing.B) {
	for _, order := range []string{"one by one", "scattered"} {
		b.Run(order, func(b *testing.B) {
			step := uint64(1)
			if order == "scattered" {
				step = 7_919 // a prime that divides no count
			}
			var w *bench
			var results []Result
			item := make([]record.SettleItem, 1)
			h := &record.Header{LSN: 1 << 50, Term: 1, TimeMS: stageStartMS}
			i := uint64(benchLeases)
			for b.Loop() {
				if i == benchLeases {
					b.StopTimer()
					w = newBench(benchQueues)
					w.lease(benchLeases, 1000)
					i = 0
					b.StartTimer()
				}
				at := i * step % benchLeases
				i++
				item[0] = record.SettleItem{
					Group: 1, Topic: 1, Queue: ident.Queue(at / 1000), Offset: ident.Offset(at % 1000), Term: 1, Grant: ident.LSN(8 + 64*(at/1000+1)),
				}
				if results = w.d.ApplySettle(h, item, results[:0]); results[0] != Settled {
					b.Fatalf("%v", results[0])
				}
			}
		})
	}
}

// BenchmarkAdvance surveys a million expired leases, plain and owned.
func BenchmarkAdvance(b *testing.B) {
	for _, owner := range []string{"", "anna"} {
		b.Run("owner="+owner, func(b *testing.B) {
			w := newBench(benchQueues)
			w.owner = owner
			w.lease(benchLeases, benchBatch)
			for b.Loop() {
				w.d.reconsider(w.d.pairs[Key{1, 1}])
				for w.s.Advance(w.nowMS) {
					continue
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchLeases, "ns/lease")
		})
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	w := newBench(benchQueues)
	w.lease(benchLeases, benchBatch)
	var buf bytes.Buffer
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			buf.Reset()
			if err := w.d.Checkpoint(&buf); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(buf.Len())/benchLeases, "B/lease")
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			if err := New().Restore(bytes.NewReader(buf.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
}
