// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mansiomq/mansio/internal/ident"
)

func post(q *Queues, t ident.Topic, qu ident.Queue) ident.Offset {
	lsn := max(q.last, q.ActiveBase()-8) + 8
	return q.Append(t, qu, Posting{LSN: lsn, Bytes: 64}, int64(lsn))
}

// TestDropManyTopics drops most of many topics, so that the view is compacted,
// and finds the others as they were, in order, with their postings.
func TestDropManyTopics(t *testing.T) {
	q := New(8)
	const topics, queues = 600, 5
	for round := range 3 {
		for i := range topics {
			for k := range queues {
				if o := post(q, ident.Topic(1+i), ident.Queue(k*7)); o != ident.Offset(round) {
					t.Fatalf("offset %d in round %d", o, round)
				}
			}
		}
	}
	for i := range topics {
		if i%10 != 0 {
			q.DropTopic(ident.Topic(1 + i))
			q.DropTopic(ident.Topic(1 + i))
		}
	}
	if q.Len() != topics/10*queues || len(q.entries) >= topics*queues/2 {
		t.Fatalf("%d queues in %d slots", q.Len(), len(q.entries))
	}
	want := []State{{0, 0, 3}, {7, 0, 3}, {14, 0, 3}, {21, 0, 3}, {28, 0, 3}}
	for i := range topics {
		topic := ident.Topic(1 + i)
		got := slices.Collect(q.QueuesOf(topic))
		if i%10 != 0 {
			if len(got) != 0 || q.Next(topic, 0) != 0 {
				t.Fatalf("topic %d: %v", topic, got)
			}
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("topic %d: %s", topic, d)
		}
		if p, ok := q.Active(topic, 7, 2); !ok || p.Bytes != 64 {
			t.Fatal(p, ok)
		}
	}
	var b bytes.Buffer
	if err := q.Checkpoint(&b); err != nil {
		t.Fatal(err)
	}
	restored := New(0)
	if err := restored.Restore(&b); err != nil || restored.Digest() != q.Digest() {
		t.Fatal(err)
	}
	run := q.Freeze(8, 1<<30)
	if run.Postings() != topics/10*queues*3 {
		t.Fatalf("%d postings", run.Postings())
	}
	same(t, run, restored.Freeze(8, 1<<30))
	if restored.Digest() != q.Digest() {
		t.Fatal("other states after the Seal")
	}
	if o := post(q, 1, 7); o != 3 {
		t.Fatalf("offset %d after the Seal", o)
	}
}

// TestTrimAgain retires a segment once more after a later one: replays do.
func TestTrimAgain(t *testing.T) {
	q := New(8)
	for range 9 {
		post(q, 1, 0)
	}
	trim := func(base ident.Offset, count uint32, want ident.Offset) {
		t.Helper()
		q.Trimmed(func(yield func(Span) bool) {
			_ = yield(Span{Topic: 1, Base: base, Count: count}) && yield(Span{Topic: 7, Count: 1})
		})
		if got := q.Min(1, 0); got != want {
			t.Fatalf("min %d, want %d", got, want)
		}
	}
	trim(0, 3, 3)
	trim(3, 2, 5)
	trim(0, 3, 5)
	trim(5, 4, 9)
	if q.Len() != 1 {
		t.Fatal("a trim made a queue")
	}
}

// TestRemake makes a lost run again from what is known of its queues.
func TestRemake(t *testing.T) {
	q := New(8)
	for i := range 40 {
		post(q, ident.Topic(1+i%3), ident.Queue(i%2))
	}
	q.Freeze(8, 512)
	again := New(512)
	var starts []State
	for topic := range ident.Topic(4) {
		for s := range q.QueuesOf(topic) {
			again.Resume(topic, s.Queue, s.Next)
			starts = append(starts, s)
		}
	}
	if len(starts) != 6 {
		t.Fatal(starts)
	}
	for i := range 50 {
		if a, b := post(q, ident.Topic(1+i%3), ident.Queue(i%4)), post(again, ident.Topic(1+i%3), ident.Queue(i%4)); a != b {
			t.Fatalf("offset %d, was %d", b, a)
		}
	}
	a, b := q.Freeze(512, 4096), again.Freeze(512, 4096)
	aq, at := sections(t, a)
	bq, bt := sections(t, b)
	if !bytes.Equal(aq, bq) || !bytes.Equal(at, bt) {
		t.Fatal("another run")
	}
}

// TestBrokenOrderCrashes lists what the log can never ask for.
func TestBrokenOrderCrashes(t *testing.T) {
	for name, f := range map[string]func(*Queues){
		"no topic":        func(q *Queues) { q.Append(0, 1, Posting{LSN: 64}, 0) },
		"same LSN":        func(q *Queues) { q.Append(1, 1, Posting{LSN: 32}, 0) },
		"below the base":  func(q *Queues) { q.Freeze(8, 64); q.Append(1, 1, Posting{LSN: 48}, 0) },
		"unaligned":       func(q *Queues) { q.Append(1, 1, Posting{LSN: 65}, 0) },
		"another base":    func(q *Queues) { q.Freeze(16, 64) },
		"end of postings": func(q *Queues) { q.Freeze(8, 32) },
		"resume again":    func(q *Queues) { q.Resume(1, 1, 5) },
	} {
		t.Run(name, func(t *testing.T) {
			q := New(8)
			q.Append(1, 1, Posting{LSN: 32}, 0)
			defer func() {
				if recover() == nil {
					t.Error("no crash")
				}
			}()
			f(q)
		})
	}
}

// TestArchiveGaps finds offsets of queues that only some segments hold.
func TestArchiveGaps(t *testing.T) {
	q := New(8)
	var a Archive
	const segments = 40
	for i := range segments {
		post(q, 1, 0)
		if i%7 == 0 {
			post(q, 1, 1)
		}
		if i == 13 {
			post(q, 1, 2)
		}
		end := q.last + 64
		a.Add(q.Freeze(q.ActiveBase(), end))
	}
	for qu, n := range map[ident.Queue]ident.Offset{0: segments, 1: 6, 2: 1, 3: 0} {
		for o := range n {
			p, ok, err := a.Lookup(1, qu, o)
			if err != nil || !ok {
				t.Fatalf("queue %d offset %d: %v %v", qu, o, ok, err)
			}
			src, span, ok, err := a.Locate(1, qu, o)
			if err != nil || !ok || span.Base > o || span.End() <= o || p.LSN < src.Segment().Base || p.LSN >= src.Segment().End {
				t.Fatalf("queue %d offset %d: %+v in %v", qu, o, p, src.Segment())
			}
		}
		if _, ok, err := a.Lookup(1, qu, n); ok || err != nil {
			t.Fatalf("queue %d has offset %d: %v", qu, n, err)
		}
		row := make([]Posting, 50)
		if got, err := a.Read(1, qu, 0, row); err != nil || got != int(n) {
			t.Fatalf("queue %d: %d postings, %v", qu, got, err)
		}
	}
}

// heap is what f's result keeps alive, in bytes.
func heap(f func() any) (kept uint64) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(x)
	return after.HeapAlloc - before.HeapAlloc
}

// TestMemory holds the costs that doc.go promises: per idle queue, and per
// posting of the active segment.
func TestMemory(t *testing.T) {
	const n = 200_000
	idle := heap(func() any {
		q := New(8)
		for i := range n {
			q.Resume(1, ident.Queue(i), 5)
		}
		return q
	}) / n
	if idle > 64 {
		t.Errorf("an idle queue costs %d bytes", idle)
	}
	for _, queues := range []int{1, 1000} {
		per := heap(func() any {
			q := New(8)
			for i := range n {
				post(q, 1, ident.Queue(i%queues))
			}
			q.active.times = nil
			return q
		}) / n
		if per > 18 {
			t.Errorf("a posting over %d queues costs %d bytes", queues, per)
		}
	}
	t.Logf("idle queue: %d bytes", idle)
}

func BenchmarkAppend(b *testing.B) {
	for _, queues := range []int{8, 1000, 100_000} {
		b.Run(fmt.Sprintf("queues=%d", queues), func(b *testing.B) {
			b.ReportAllocs()
			q := New(8)
			for i := 0; b.Loop(); i++ {
				lsn := ident.LSN(8 + i*1024)
				q.Append(ident.Topic(1+i%4), ident.Queue(i%queues), Posting{LSN: lsn, Bytes: 1024}, int64(i/100))
				if i%(1<<18) == 1<<18-1 {
					q.Freeze(q.ActiveBase(), lsn+1024)
				}
			}
		})
	}
}

// segment is 256 k messages, a busy segment of 256 MiB.
func segment(queues int) *Queues {
	q := New(8)
	for i := range 1 << 18 {
		q.Append(1, ident.Queue(i%queues), Posting{LSN: ident.LSN(8 + i*1024), Bytes: 1024, TagHash: uint32(i % 3)}, int64(i/100))
	}
	return q
}

const segmentEnd = 8 + 1<<28

func BenchmarkFreeze(b *testing.B) {
	for _, queues := range []int{8, 1000, 100_000} {
		b.Run(fmt.Sprintf("queues=%d", queues), func(b *testing.B) {
			q := segment(queues)
			entries, active := slices.Clone(q.entries), q.active
			for b.Loop() {
				copy(q.entries, entries)
				q.active = active
				q.Freeze(8, segmentEnd)
			}
		})
	}
}

func BenchmarkWriteRun(b *testing.B) {
	for _, queues := range []int{8, 1000, 100_000} {
		b.Run(fmt.Sprintf("queues=%d", queues), func(b *testing.B) {
			run := segment(queues).Freeze(8, segmentEnd)
			var size int
			for b.Loop() {
				q, t := sections(b, run)
				size = len(q) + len(t)
			}
			b.ReportMetric(float64(size)/(1<<18), "B/posting")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(1<<18), "ns/posting")
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	q := segment(1000)
	b.Run("active", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			q.Active(1, ident.Queue(i%1000), ident.Offset(i*7%262))
		}
	})
	run := q.Freeze(8, segmentEnd)
	for name, src := range map[string]Source{"run": run, "stored": store(b, run)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var a Archive
			a.Add(src)
			for i := 0; b.Loop(); i++ {
				if _, ok, err := a.Lookup(1, ident.Queue(i%1000), ident.Offset(i*7%262)); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	q := New(8)
	for i := range 1_000_000 {
		q.Resume(ident.Topic(1+i/1000), ident.Queue(i%1000), 5)
	}
	var buf bytes.Buffer
	for b.Loop() {
		buf.Reset()
		if err := q.Checkpoint(&buf); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(buf.Len()), "B")
}
