// SPDX-License-Identifier: Apache-2.0

package index

import (
	"bytes"
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/keyindex"
	"github.com/mansiomq/mansio/storenode/view/producer"
	"github.com/mansiomq/mansio/storenode/view/queue"
)

// history is a log in memory and what a shard folds it into.
type history struct {
	log     []record.Entry
	end     ident.LSN
	ms      int64
	queues  *queue.Queues
	keys    *keyindex.Index
	windows *producer.Windows
	seq     [3]uint64
	letters uint64
	dropped map[ident.Topic]bool
	runs    []Runs
}

func newHistory() *history {
	return &history{
		end: 8, ms: 1000, queues: queue.New(8), keys: keyindex.New(), windows: producer.New(), dropped: map[ident.Topic]bool{},
	}
}

func (h *history) entry(typ record.Type, body []byte) *record.Entry {
	e := record.Entry{Header: record.Header{Type: typ, Version: record.Version, LSN: h.end, Term: 1, TimeMS: h.ms}, Body: body}
	e.Append(nil)
	h.end = e.End()
	h.log = append(h.log, e)
	return &h.log[len(h.log)-1]
}

func (h *history) place(e *record.Entry, m message.Payload) {
	h.queues.Append(m.Topic(), m.Queue(), queue.Posting{LSN: e.LSN, Bytes: e.Len, TagHash: m.TagHash(), GroupHash: m.GroupHash()}, e.TimeMS)
	h.keys.Add(e.LSN, m)
}

func (h *history) message(t *rapid.T) {
	h.ms += int64(rapid.IntRange(0, 2).Draw(t, "ms"))
	proxy := rapid.IntRange(0, 2).Draw(t, "proxy") // 0: not numbered
	head := message.Head{
		Topic: ident.Topic(rapid.IntRange(1, 3).Draw(t, "topic")), Queue: ident.Queue(rapid.IntRange(0, 1).Draw(t, "queue")),
		IDHash: rapid.Uint64Range(1, 9).Draw(t, "id"), KeyHashes: []uint32{rapid.Uint32Range(0, 3).Draw(t, "key")},
		TagHash: rapid.Uint32Range(0, 2).Draw(t, "tag"), Proxy: uint64(proxy),
	}
	if h.dropped[head.Topic] {
		return
	}
	if proxy != 0 {
		head.Seq = h.seq[proxy] + 1
		if h.seq[proxy] > 0 && rapid.IntRange(0, 3).Draw(t, "replay") == 0 {
			head.Seq = max(1, h.seq[proxy]-rapid.Uint64Range(0, 2).Draw(t, "back"))
		}
		h.seq[proxy] = max(h.seq[proxy], head.Seq)
	}
	m := message.Append(nil, &head, nil, []byte("body"))
	e := h.entry(record.TypeMessage, m)
	if h.windows.Seen(head.Proxy, head.Seq).Duplicate {
		return
	}
	h.place(e, m)
	h.windows.Apply(head.Proxy, head.Seq, e.LSN, 0, e.TimeMS)
}

// letter dead-letters a message, sometimes twice; only the first one counts.
func (h *history) letter(t *rapid.T) {
	head := message.Head{Topic: 9, Queue: 0, IDHash: 5}
	m := message.Append(nil, &head, nil, []byte("dead"))
	h.letters++
	b := record.DeadLetter{Group: 1, Topic: 1, Offset: ident.Offset(h.letters), Grant: 77, Reason: record.ReasonClient, Payload: m}
	h.place(h.entry(record.TypeDeadLetter, b.Append(nil)), m)
	if rapid.Bool().Draw(t, "twice") {
		h.entry(record.TypeDeadLetter, b.Append(nil))
	}
}

func (h *history) seal(*rapid.T) {
	base := h.queues.ActiveBase()
	e := h.entry(record.TypeSeal, nil)
	h.runs = append(h.runs, Runs{base, e.End(), e.CRC, h.queues.Freeze(base, e.End()), h.keys.Freeze(base, e.End())})
}

func (h *history) drop(t *rapid.T) {
	topic := ident.Topic(rapid.IntRange(1, 3).Draw(t, "topic"))
	h.queues.DropTopic(topic)
	h.dropped[topic] = true
}

// trim retires the oldest segment.
func (h *history) trim(*rapid.T) {
	if len(h.runs) < 2 {
		return
	}
	h.queues.Trimmed(func(yield func(queue.Span) bool) {
		for s := range h.runs[0].Queues.Directory() {
			if !yield(s) {
				return
			}
		}
	})
	h.runs = h.runs[1:]
}

func (h *history) scan(_ context.Context, from, to ident.LSN, visit func(*record.Entry) error) error {
	for i := range h.log {
		if e := &h.log[i]; e.LSN >= from && e.LSN < to {
			if err := visit(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// gap takes runs [from, to) away.
func (h *history) gap(from, to int) Gap {
	a := &queue.Archive{}
	for i, r := range h.runs {
		if i < from || i >= to {
			a.Add(r.Queues)
		}
	}
	g := Gap{Base: h.runs[from].Base, End: h.runs[to-1].End, Queues: h.queues, Archive: a, Scan: h.scan}
	g.From = g.Base
	if from > 0 {
		g.From = h.runs[from-1].Base
	}
	return g
}

// TestRemake takes runs away and makes them again: every queue that still exists
// has the same postings, and every run of a shard without dropped topics has the
// same bytes.
func TestRemake(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory()
		t.Repeat(map[string]func(*rapid.T){
			"message": h.message, "more": h.message, "yet more": h.message, "letter": h.letter,
			"seal": h.seal, "drop": h.drop, "trim": h.trim,
		})
		h.seal(t)
		from := rapid.IntRange(0, len(h.runs)-1).Draw(t, "from")
		to := rapid.IntRange(from+1, len(h.runs)).Draw(t, "to")
		g := h.gap(from, to)
		g.From = 8 // the oldest replay is known
		made, err := Remake(context.Background(), g)
		if err != nil {
			t.Fatal(err)
		}
		if len(made) != to-from {
			t.Fatalf("%d segments, want %d", len(made), to-from)
		}
		for i, got := range made {
			h.compare(t, h.runs[from+i], got)
		}
	})
}

func (h *history) compare(t *rapid.T, want, got Runs) {
	if got.Base != want.Base || got.End != want.End || got.LastCRC != want.LastCRC {
		t.Fatalf("segment %+v, want %+v", got, want)
	}
	for span := range want.Queues.Directory() {
		if h.dropped[span.Topic] {
			continue
		}
		s, _, err := got.Queues.Find(span.Topic, span.Queue)
		if err != nil || s.Base != span.Base || s.Count != span.Count {
			t.Fatalf("%+v, want %+v: %v", s, span, err)
		}
		a, b := make([]queue.Posting, span.Count), make([]queue.Posting, span.Count)
		_, _ = want.Queues.Read(span, span.Base, a)
		_, _ = got.Queues.Read(s, s.Base, b)
		if d := cmp.Diff(a, b); d != "" {
			t.Fatalf("%+v: %s", span, d)
		}
	}
	if len(h.dropped) > 0 {
		return
	}
	var a, b bytes.Buffer
	for _, w := range []struct {
		r *Runs
		b *bytes.Buffer
	}{{&want, &a}, {&got, &b}} {
		if w.r.Queues.WriteQueues(w.b) != nil || w.r.Queues.WriteTimes(w.b) != nil || w.r.Keys.WriteKeys(w.b) != nil || w.r.Keys.WriteIDs(w.b) != nil {
			t.Fatal("cannot write")
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Fatal("made again with other bytes")
	}
}

// TestRemakeKnowsReplays has messages replayed in the gap: once from before it,
// once from inside it.
func TestRemakeKnowsReplays(t *testing.T) {
	h := newHistory()
	send(h, 1, true)
	h.seal(nil)
	send(h, 2, true)
	send(h, 2, false)
	send(h, 1, false)
	send(h, 3, true)
	h.seal(nil)
	send(h, 4, true)
	made, err := Remake(context.Background(), h.gap(1, 2))
	if err != nil || len(made) != 1 || made[0].Queues.Postings() != 2 {
		t.Fatal(made, err)
	}
}

// TestRemakeUnknownType refuses what may place messages in a way of its own.
func TestRemakeUnknownType(t *testing.T) {
	h := newHistory()
	send(h, 1, true)
	h.entry(record.TypeTimerAdvance, nil)
	h.seal(nil)
	if _, err := Remake(context.Background(), h.gap(0, 1)); !fault.Is(err, fault.Unsupported) {
		t.Fatal(err)
	}
}

// send logs a numbered message, which the fold gives a place if it counts.
func send(h *history, seq uint64, counts bool) {
	head := message.Head{Topic: 1, IDHash: 1, Proxy: 7, Seq: seq}
	m := message.Append(nil, &head, nil, nil)
	if e := h.entry(record.TypeMessage, m); counts {
		h.place(e, m)
	}
}

// TestRemakeRefuses lists histories that the gap alone does not tell.
func TestRemakeRefuses(t *testing.T) {
	letter := func(h *history, grant ident.LSN, counts bool) {
		head := message.Head{Topic: 9, IDHash: 5}
		m := message.Append(nil, &head, nil, nil)
		b := record.DeadLetter{Group: 1, Topic: 1, Grant: grant, Reason: record.ReasonAttempts, Payload: m}
		if e := h.entry(record.TypeDeadLetter, b.Append(nil)); counts {
			h.place(e, m)
		}
	}
	for name, c := range map[string]struct {
		before, inside func(*history)
		from           func(*Gap)
	}{
		"a replay whose first one stands before the scan": {
			before: func(h *history) { send(h, 1, true) },
			inside: func(h *history) { send(h, 1, false); send(h, 2, true) },
			from:   func(g *Gap) { g.From = g.Base },
		},
		"a message that the fold refused": {
			before: func(h *history) { send(h, 1, true) },
			inside: func(h *history) { send(h, 2, false) },
			from:   func(*Gap) {},
		},
		"a dead letter that came too late, before one that counted": {
			before: func(h *history) { letter(h, 3, true) },
			inside: func(h *history) { letter(h, 5, false); letter(h, 6, true) },
			from:   func(g *Gap) { g.From = g.Base },
		},
		"a gap without its Seal": {
			before: func(h *history) { send(h, 1, true) },
			inside: func(h *history) { send(h, 2, true) },
			from:   func(g *Gap) { g.End -= 8 },
		},
	} {
		h := newHistory()
		c.before(h)
		h.seal(nil)
		c.inside(h)
		h.seal(nil)
		send(h, 100, true)
		h.seal(nil)
		g := h.gap(1, 2)
		c.from(&g)
		if made, err := Remake(context.Background(), g); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: %d segments, %v", name, len(made), err)
		}
	}
}
