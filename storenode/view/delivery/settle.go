// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"github.com/mansiomq/mansio/storenode/record"
)

// Result is what became of one settlement.
type Result uint8

// The results. All but InvalidHandle are answered OK.
const (
	InvalidHandle Result = iota // names no current delivery, or one whose due has passed
	Settled                     // it took effect
	AlreadyDone                 // an ack of an offset that is done
	OldGeneration               // an ack from before a reset: nothing changes
)

// OK reports whether the client is told that all is well.
func (r Result) OK() bool { return r != InvalidHandle }

func (r Result) String() string {
	return [...]string{"invalid handle", "settled", "already done", "old generation"}[r&3]
}

// ApplySettle applies settlements in order and appends one result each to dst.
// A settlement of something unknown never creates state.
func (d *Deliveries) ApplySettle(h *record.Header, items []record.SettleItem, dst []Result) []Result {
	d.enter(h.TimeMS)
	var at cursor
	for i := range items {
		at.seek(d, Key{items[i].Group, items[i].Topic}, &items[i])
		dst = append(dst, d.settle(h.TimeMS, &at, &items[i]))
	}
	return dst
}

// Check says what ApplySettle would answer at timeMS, and changes nothing.
func (d *Deliveries) Check(item *record.SettleItem, timeMS int64) Result {
	var at cursor
	at.seek(d, Key{item.Group, item.Topic}, item)
	r, _ := d.judge(timeMS, &at, item)
	return r
}

// cursor remembers where the last item was: a batch mostly stays in one queue.
type cursor struct {
	key Key
	p   *pair
	q   *popQueue
}

func (at *cursor) seek(d *Deliveries, k Key, it *record.SettleItem) {
	if at.p == nil || at.key != k {
		at.key, at.p, at.q = k, d.pairs[k], nil
	}
	if at.p != nil && (at.q == nil || at.q.id != it.Queue) {
		at.q = d.queueOf(at.p, it.Queue)
	}
}

// place is a live slot.
type place struct {
	chunkID uint32
	c       *chunk
	i       uint64
}

// judge answers the item; the place counts only if the answer is Settled.
func (d *Deliveries) judge(timeMS int64, at *cursor, it *record.SettleItem) (Result, place) {
	p, q, o := at.p, at.q, uint64(it.Offset)
	ack := it.Verdict == record.VerdictAck
	switch {
	case p == nil || it.Generation > p.generation:
		return InvalidHandle, place{}
	case it.Generation < p.generation:
		return choose(ack, OldGeneration), place{}
	case q == nil || o >= q.next:
		return InvalidHandle, place{}
	}
	id, c := d.chunkOf(q, o)
	if c == nil || c.done>>(o-c.base)&1 != 0 {
		return choose(ack, AlreadyDone), place{}
	}
	i := o - c.base
	if c.live>>i&1 == 0 {
		return InvalidHandle, place{}
	}
	s, j := d.slotOf(c, i)
	if g := d.grants.at(s.grant[j]); g.lsn != it.Grant || g.term != it.Term {
		return InvalidHandle, place{}
	}
	if timeMS >= d.effectiveMS(p, s, j) && !(ack && p.config.LateAck) {
		return InvalidHandle, place{}
	}
	return Settled, place{id, c, i}
}

func choose(ok bool, r Result) Result {
	if ok {
		return r
	}
	return InvalidHandle
}

func (d *Deliveries) settle(timeMS int64, at *cursor, it *record.SettleItem) Result {
	r, w := d.judge(timeMS, at, it)
	if r != Settled {
		return r
	}
	if it.Verdict == record.VerdictAck {
		at.p.totals.Acked += d.finish(at.q, w.chunkID, w.c, 1<<w.i)
		return r
	}
	s, j := d.slotOf(w.c, w.i)
	d.disown(at.p, s, j)
	s.due[j] = d.dueAt(later(timeMS, it.MS))
	if it.Verdict == record.VerdictRelease {
		s.flags[j] &^= flagNoCount
		if it.NoCount {
			s.flags[j] |= flagNoCount
		}
	}
	d.lowerBound(w.chunkID, w.c, s.due[j])
	return r
}
