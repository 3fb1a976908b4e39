// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"iter"
	"math"
	"slices"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/invariant"
	"github.com/mansiomq/mansio/storenode/view/sealed"
)

const none = math.MaxUint32

// entry is one queue, 40 bytes. An entry of topic 0 is dead: its topic was
// dropped.
type entry struct {
	topic   ident.Topic
	queue   ident.Queue
	min     ident.Offset
	next    ident.Offset
	sibling uint32 // the topic's next queue in order of creation, or none
	touched uint32 // in the arena, or none
}

func (e *entry) dead() bool { return e.topic == 0 }

// topicQueues chains a topic's queues.
type topicQueues struct{ first, last uint32 }

// Queues is the fold: all queues of a shard, and the postings of its active
// segment. It is not safe for concurrent use.
type Queues struct {
	entries []entry // in order of creation, dead ones between
	topics  map[ident.Topic]topicQueues
	table   table
	dead    int
	active  *arena
	last    ident.LSN // of the last posting
}

// New makes an empty view whose active segment starts at base.
func New(base ident.LSN) *Queues {
	return &Queues{topics: map[ident.Topic]topicQueues{}, table: newTable(), active: newArena(base)}
}

// Append adds a posting to a queue, which comes to be if it is not there, and
// returns the offset: the posting's position, counted from the queue's first
// posting ever. timeMS is the log time of the posting's entry.
func (q *Queues) Append(t ident.Topic, qu ident.Queue, p Posting, timeMS int64) ident.Offset {
	if t == 0 || p.LSN <= q.last { // the operands of a check cost an allocation each
		invariant.Check(false, "queue: posting of topic %d at LSN %d after one at %d", t, p.LSN, q.last)
	}
	slot, ok := q.table.find(q.entries, t, qu)
	if !ok {
		slot = q.create(t, qu, 0, 0)
	}
	e := &q.entries[slot]
	if e.touched == none {
		e.touched = uint32(len(q.active.touched)) //nolint:gosec // fewer than slots
		q.active.touched = append(q.active.touched, touched{slot: slot})
	}
	q.active.add(e.touched, p)
	q.active.times.note(timeMS, p.LSN)
	q.last = p.LSN
	e.next++
	return e.next - 1
}

func (q *Queues) create(t ident.Topic, qu ident.Queue, minimum, next ident.Offset) uint32 {
	invariant.Check(len(q.entries) < none, "queue: %d queues on one shard", len(q.entries))
	slot := uint32(len(q.entries)) //nolint:gosec // checked above
	q.entries = append(q.entries, entry{topic: t, queue: qu, min: minimum, next: next, sibling: none, touched: none})
	q.table.insert(q.entries, slot)
	q.chain(t, slot)
	return slot
}

func (q *Queues) chain(t ident.Topic, slot uint32) {
	c, ok := q.topics[t]
	if ok {
		q.entries[c.last].sibling = slot
		c.last = slot
	} else {
		c = topicQueues{slot, slot}
	}
	q.topics[t] = c
}

func (q *Queues) find(t ident.Topic, qu ident.Queue) *entry {
	if slot, ok := q.table.find(q.entries, t, qu); ok {
		return &q.entries[slot]
	}
	return nil
}

// Next is the offset that the queue's next posting gets: 0 for an unknown queue.
func (q *Queues) Next(t ident.Topic, qu ident.Queue) ident.Offset {
	if e := q.find(t, qu); e != nil {
		return e.next
	}
	return 0
}

// Min is the queue's lowest offset that retention has left: Next when there is
// none, 0 for an unknown queue.
func (q *Queues) Min(t ident.Topic, qu ident.Queue) ident.Offset {
	if e := q.find(t, qu); e != nil {
		return e.min
	}
	return 0
}

// QueuesOf yields the topic's queues that ever had a posting, in order of their
// first one. The view must not change meanwhile.
func (q *Queues) QueuesOf(t ident.Topic) iter.Seq[State] {
	return func(yield func(State) bool) {
		c, ok := q.topics[t]
		if !ok {
			return
		}
		for slot := c.first; slot != none; slot = q.entries[slot].sibling {
			e := &q.entries[slot]
			if !yield(State{Queue: e.queue, Min: e.min, Next: e.next}) {
				return
			}
		}
	}
}

// Len is the number of queues.
func (q *Queues) Len() int { return len(q.entries) - q.dead }

// Postings is how many postings the active segment keeps in memory, possibly
// with those of topics that were dropped since.
func (q *Queues) Postings() int { return int(q.active.n) }

// ActiveBase is where the active segment starts.
func (q *Queues) ActiveBase() ident.LSN { return q.active.base }

// Active returns the posting of an offset if the active segment holds it.
func (q *Queues) Active(t ident.Topic, qu ident.Queue, o ident.Offset) (Posting, bool) {
	var one [1]Posting
	n := q.ActiveRange(t, qu, o, one[:])
	return one[0], n == 1
}

// ActiveRange fills dst with the postings of the active segment from an offset
// upward and returns how many there are: 0 also when from stands before the
// first of them.
func (q *Queues) ActiveRange(t ident.Topic, qu ident.Queue, from ident.Offset, dst []Posting) int {
	e := q.find(t, qu)
	if e == nil || e.touched == none {
		return 0
	}
	hot := &q.active.touched[e.touched]
	first := e.next - ident.Offset(hot.count)
	if from < first || from >= e.next {
		return 0
	}
	return q.active.read(hot, uint32(from-first), dst) //nolint:gosec // below count
}

// ActiveFirst is the queue's first offset in the active segment; Next when the
// segment has no posting of it.
func (q *Queues) ActiveFirst(t ident.Topic, qu ident.Queue) ident.Offset {
	e := q.find(t, qu)
	if e == nil {
		return 0
	}
	return q.first(e)
}

func (q *Queues) first(e *entry) ident.Offset {
	if e.touched == none {
		return e.next
	}
	return e.next - ident.Offset(q.active.touched[e.touched].count)
}

// OffsetAtTime returns the queue's first offset in the active segment whose log
// time is not before timeMS, exactly; false if there is none. Sealed segments
// are asked first, through Archive.OffsetAtTime.
func (q *Queues) OffsetAtTime(t ident.Topic, qu ident.Queue, timeMS int64) (ident.Offset, bool) {
	lsn, ok := q.active.times.since(timeMS)
	e := q.find(t, qu)
	if !ok || e == nil || e.touched == none {
		return 0, false
	}
	hot := &q.active.touched[e.touched]
	lo, hi := uint32(0), hot.count
	for lo < hi {
		mid := lo + (hi-lo)/2
		if q.active.posting(q.active.seek(hot, mid)).LSN < lsn {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return q.first(e) + ident.Offset(lo), lo < hot.count
}

// Since returns the LSN of the active segment's first posting whose log time is
// not before timeMS, or false if there is none.
func (q *Queues) Since(timeMS int64) (ident.LSN, bool) { return q.active.times.since(timeMS) }

// Freeze ends the active segment [base, end) at its Seal: it returns the run of
// its postings and starts an empty segment at end.
func (q *Queues) Freeze(base, end ident.LSN) *Run {
	invariant.Check(base == q.active.base && end >= base && (q.active.n == 0 || end > q.last),
		"queue: freezing [%d, %d), active from %d, last posting at %d", base, end, q.active.base, q.last)
	a := q.active
	r := &Run{seg: sealed.Segment{Base: base, End: end}, a: a, dir: make([]Span, 0, len(a.touched))}
	for i := range a.touched {
		hot := &a.touched[i]
		if hot.slot == none {
			continue
		}
		e := &q.entries[hot.slot]
		r.dir = append(r.dir, Span{
			Topic: e.topic, Queue: e.queue, Base: e.next - ident.Offset(hot.count),
			Count: hot.count, at: uint32(i),
		})
		e.touched = none
	}
	slices.SortFunc(r.dir, func(x, y Span) int { return compareKey(x, y.Topic, y.Queue) })
	q.active = newArena(end)
	return r
}

// Trimmed raises the minimum of every queue that had postings in a segment
// which retention retired: spans is that segment's directory. Queues that were
// dropped since are passed over. Segments are retired oldest first.
func (q *Queues) Trimmed(spans iter.Seq[Span]) {
	for s := range spans {
		if e := q.find(s.Topic, s.Queue); e != nil {
			e.min = max(e.min, min(s.End(), e.next))
		}
	}
}

// DropTopic forgets the topic's queues and their postings.
func (q *Queues) DropTopic(t ident.Topic) {
	c, ok := q.topics[t]
	if !ok {
		return
	}
	delete(q.topics, t)
	for slot := c.first; slot != none; {
		e := &q.entries[slot]
		if e.touched != none {
			q.active.touched[e.touched].slot = none
		}
		slot = e.sibling
		*e = entry{sibling: none, touched: none}
		q.dead++
	}
	if q.dead >= compactMin && 2*q.dead > len(q.entries) {
		q.compact()
	}
}

// compactMin keeps small views from being rebuilt at every dropped topic.
const compactMin = 1024

// compact removes dead entries and keeps the order of the others.
func (q *Queues) compact() {
	live := make([]entry, 0, len(q.entries)-q.dead)
	clear(q.topics)
	old := q.entries
	q.entries = live
	for i := range old {
		e := old[i]
		if e.dead() {
			continue
		}
		e.sibling = none
		slot := uint32(len(q.entries)) //nolint:gosec // fewer than before
		q.entries = append(q.entries, e)
		q.chain(e.topic, slot)
		if e.touched != none {
			q.active.touched[e.touched].slot = slot
		}
	}
	q.dead = 0
	q.table.rebuild(q.entries, tableMin)
}

// Resume tells an empty view where a queue stood when its active segment began:
// the next posting gets offset next. It serves to make a lost run again: New at
// the segment's base, Resume what is known of its queues, Append, Freeze.
func (q *Queues) Resume(t ident.Topic, qu ident.Queue, next ident.Offset) {
	invariant.Check(t != 0 && q.find(t, qu) == nil, "queue: resuming topic %d queue %d, which is there", t, qu)
	q.create(t, qu, next, next)
}

// All yields every queue, in order of creation. The view must not change
// meanwhile.
func (q *Queues) All() iter.Seq2[ident.Topic, State] {
	return func(yield func(ident.Topic, State) bool) {
		for i := range q.entries {
			e := &q.entries[i]
			if !e.dead() && !yield(e.topic, State{Queue: e.queue, Min: e.min, Next: e.next}) {
				return
			}
		}
	}
}
