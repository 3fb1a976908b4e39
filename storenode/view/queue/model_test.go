// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"bytes"
	"io"
	"iter"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mansiomq/mansio/internal/ident"
)

// model is the dumb truth: every posting of every queue, for ever.
type model struct {
	queues map[key]*modelQueue
	order  map[ident.Topic][]ident.Queue
}

type modelQueue struct {
	all []modelPosting
	min int
}

type modelPosting struct {
	Posting
	ms int64
}

// stage is the fold and what a shard keeps around it, beside the model.
type stage struct {
	q       *Queues
	archive Archive
	m       model
	lsn     ident.LSN
	ms      int64
	dropped map[ident.Topic]bool
}

const firstLSN = 8

func newStage() *stage {
	return &stage{
		q:   New(firstLSN),
		m:   model{queues: map[key]*modelQueue{}, order: map[ident.Topic][]ident.Queue{}},
		lsn: firstLSN, ms: 1_700_000_000_000, dropped: map[ident.Topic]bool{},
	}
}

func (s *stage) append(t *rapid.T) {
	k := key{ident.Topic(rapid.IntRange(1, 4).Draw(t, "topic")), ident.Queue(rapid.IntRange(0, 3).Draw(t, "queue"))}
	if s.dropped[k.topic] {
		return
	}
	if rapid.IntRange(0, 7).Draw(t, "lite") == 0 {
		k.queue |= 1 << 63
	}
	for range rapid.SampledFrom([]int{1, 1, 2, 20, 300}).Draw(t, "times") {
		s.ms += int64(rapid.SampledFrom([]int{0, 0, 0, 1, 7, 100000}).Draw(t, "ms"))
		p := Posting{
			LSN: s.lsn, Bytes: rapid.Uint32Range(48, 1<<24).Draw(t, "bytes"),
			TagHash:   rapid.SampledFrom([]uint32{0, 1, 0xffffffff}).Draw(t, "tag"),
			GroupHash: rapid.SampledFrom([]uint64{0, 0, 0, 1, 1 << 63}).Draw(t, "group"),
		}
		s.one(t, k, p)
	}
}

func (s *stage) one(t *rapid.T, k key, p Posting) {
	mq := s.m.queues[k]
	if mq == nil {
		mq = &modelQueue{}
		s.m.queues[k] = mq
		s.m.order[k.topic] = append(s.m.order[k.topic], k.queue)
	}
	if got := s.q.Append(k.topic, k.queue, p, s.ms); got != ident.Offset(len(mq.all)) {
		t.Fatalf("offset %d, want %d", got, len(mq.all))
	}
	mq.all = append(mq.all, modelPosting{p, s.ms})
	s.lsn += ident.LSN(rapid.SampledFrom([]int{8, 128, 1 << 20}).Draw(t, "gap"))
}

func (s *stage) seal(t *rapid.T) {
	end := s.lsn + 48
	run := s.q.Freeze(s.q.ActiveBase(), end)
	s.lsn = end
	s.archive.Add(run)
	if rapid.Bool().Draw(t, "stored") {
		s.archive.Replace(store(t, run))
	}
}

// store writes a run and opens it again.
func store(t interface{ Fatal(...any) }, run *Run) *Stored {
	queues, times := sections(t, run)
	got, err := Open(section(queues), section(times), nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func sections(t interface{ Fatal(...any) }, run *Run) (queues, times []byte) {
	var q, ts bytes.Buffer
	if err := run.WriteQueues(&q); err != nil {
		t.Fatal(err)
	}
	if err := run.WriteTimes(&ts); err != nil {
		t.Fatal(err)
	}
	return q.Bytes(), ts.Bytes()
}

func section(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}

func (s *stage) trim(t *rapid.T) {
	all := s.archive.Sources()
	if len(all) == 0 {
		return
	}
	newStart := all[rapid.IntRange(0, len(all)-1).Draw(t, "retired")].Segment().End
	for _, src := range s.archive.Retire(newStart) {
		s.q.Trimmed(spans(t, src))
	}
	for _, mq := range s.m.queues {
		for mq.min < len(mq.all) && mq.all[mq.min].LSN < newStart {
			mq.min++
		}
	}
}

func spans(t interface{ Fatal(...any) }, src Source) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		for s, err := range src.Directory() {
			if err != nil {
				t.Fatal(err)
			}
			if !yield(s) {
				return
			}
		}
	}
}

// drop drops a topic for good: its id is never used again.
func (s *stage) drop(t *rapid.T) {
	topic := ident.Topic(rapid.IntRange(1, 4).Draw(t, "topic"))
	s.q.DropTopic(topic)
	for k := range s.m.queues {
		if k.topic == topic {
			delete(s.m.queues, k)
		}
	}
	delete(s.m.order, topic)
	s.dropped[topic] = true
	for _, q := range []ident.Queue{0, 1, 2, 3} {
		if s.q.Next(topic, q) != 0 || s.q.ActiveRange(topic, q, 0, make([]Posting, 1)) != 0 {
			t.Fatalf("dropped topic %d still has queue %d", topic, q)
		}
	}
}

// restore puts a restored copy in the fold's place.
func (s *stage) restore(t *rapid.T) {
	var b bytes.Buffer
	if err := s.q.Checkpoint(&b); err != nil {
		t.Fatal(err)
	}
	q := New(0)
	if err := q.Restore(bytes.NewReader(b.Bytes())); err != nil {
		t.Fatal(err)
	}
	if q.Digest() != s.q.Digest() {
		t.Fatal("restored view has another digest")
	}
	s.q = q
}

func (s *stage) check(t *rapid.T) {
	for topic, order := range s.m.order {
		var want, got []State
		for _, q := range order {
			mq := s.m.queues[key{topic, q}]
			want = append(want, State{q, ident.Offset(mq.min), ident.Offset(len(mq.all))})
		}
		got = slices.Collect(s.q.QueuesOf(topic))
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("queues of topic %d: %s", topic, d)
		}
	}
	for k, mq := range s.m.queues {
		s.checkQueue(t, k, mq)
	}
}

func (s *stage) checkQueue(t *rapid.T, k key, mq *modelQueue) {
	if got := s.q.Next(k.topic, k.queue); got != ident.Offset(len(mq.all)) {
		t.Fatalf("next %d, want %d", got, len(mq.all))
	}
	if got := s.q.Min(k.topic, k.queue); got != ident.Offset(mq.min) {
		t.Fatalf("min %d, want %d", got, mq.min)
	}
	from := rapid.IntRange(0, len(mq.all)).Draw(t, "from")
	dst := make([]Posting, rapid.IntRange(1, 700).Draw(t, "len"))
	var want []Posting
	if from >= mq.min {
		for _, p := range mq.all[from:min(len(mq.all), from+len(dst))] {
			want = append(want, p.Posting)
		}
	}
	n, err := s.archive.Read(k.topic, k.queue, ident.Offset(from), dst)
	if err != nil {
		t.Fatal(err)
	}
	n += s.q.ActiveRange(k.topic, k.queue, ident.Offset(from+n), dst[n:])
	if d := cmp.Diff(want, append([]Posting(nil), dst[:n]...)); d != "" {
		t.Fatalf("postings of %v from %d: %s", k, from, d)
	}
	s.checkTime(t, k, mq)
}

func (s *stage) checkTime(t *rapid.T, k key, mq *modelQueue) {
	ms := s.ms
	if len(mq.all) > 0 {
		ms = mq.all[rapid.IntRange(0, len(mq.all)-1).Draw(t, "at")].ms + int64(rapid.IntRange(-1, 1).Draw(t, "off"))
	}
	want := mq.min
	for want < len(mq.all) && mq.all[want].ms < ms {
		want++
	}
	got, ok, err := s.archive.OffsetAtTime(k.topic, k.queue, ms)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		got, ok = s.q.OffsetAtTime(k.topic, k.queue, ms)
	}
	if ok != (want < len(mq.all)) || ok && got != ident.Offset(want) {
		t.Fatalf("offset of %v at %d: %d %v, want %d of %d", k, ms, got, ok, want, len(mq.all))
	}
}

// TestModel drives the fold, sealed runs in memory and in bytes, trims, dropped
// topics and restores at every boundary, against the dumb truth.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStage()
		t.Repeat(map[string]func(*rapid.T){
			"append": s.append, "more": s.append, "seal": s.seal, "trim": s.trim, "drop": s.drop,
			"restore": s.restore, "": s.check,
		})
	})
}
