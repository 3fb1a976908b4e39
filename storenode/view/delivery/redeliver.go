// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

// takeDue picks leases that have fallen due until the batch has want.
func (b *batch) takeDue(want int) {
	if b.p == nil || b.done(want) {
		return
	}
	selective := !b.req.Filter.All()
	seen := b.sight.dueSeen[b.req.Filter.key]
	id := b.p.due.head
	if selective { // the list is in the order of dueSeq
		id = 0
		for at := b.p.due.tail; at != 0 && b.d.chunks.at(at).dueSeq > seen; at = b.d.chunks.at(at).due.prev {
			id = at
		}
	}
	whole := true
	for id != 0 && !b.done(want) {
		c := b.d.chunks.at(id)
		next, seq := c.due.next, c.dueSeq
		whole = b.takeDueOf(id, c, want) && whole
		if selective && whole {
			b.sight.dueSeen[b.req.Filter.key] = seq
		}
		id = next
	}
}

// takeDueOf picks from one chunk and reports whether nothing in it is left for
// this filter.
func (b *batch) takeDueOf(id uint32, c *chunk, want int) bool {
	q := b.d.queues.at(c.queue)
	i, ok := b.walkOf(q)
	if !ok {
		return false
	}
	expired, _ := b.d.refresh(id, c, b.req.NowMS)
	left := expired
	for m := expired; m != 0 && !b.done(want); m &= m - 1 {
		o := c.base + uint64(bits.TrailingZeros64(m)) //nolint:gosec // 0…63
		kind, size, ok := record.RunSkip, uint32(0), true
		if o >= uint64(b.walks[i].state.Min) { // else retention took it: see trimmed
			kind, size, ok = b.judge(i, o)
		}
		switch {
		case !ok || kind == record.RunLease && b.over(size):
			b.full = b.full || ok
			return false
		case kind == record.RunPass || kind == record.RunSkip && b.dry:
			continue
		case b.dry:
			b.taken++
			return false
		}
		c.busy |= 1 << (o - c.base)
		left &^= 1 << (o - c.base)
		b.add(span{walk: i, kind: kind, was: wasDue, from: o, n: 1})
		if kind == record.RunLease {
			b.taken++
			b.bytes += int64(size)
		}
	}
	if left == 0 {
		b.d.unlist(&b.p.due, dueLink, id)
	}
	return !b.done(want)
}

// walkOf returns the walk of a queue, made now if there is none.
func (b *batch) walkOf(q *popQueue) (int, bool) {
	for i := range b.walks {
		if b.walks[i].q == q {
			return i, true
		}
	}
	at, ok := slices.BinarySearchFunc(b.req.Queues, q.id, func(s QueueState, id ident.Queue) int {
		return cmp.Compare(s.ID, id)
	})
	if !ok {
		return 0, false
	}
	ahead := max(q.next, b.sight.holds[q.id].next)
	b.walks = append(b.walks, walk{
		state: b.req.Queues[at], q: q, known: q.next, ahead: ahead, cover: ahead,
		held: b.sight.holds[q.id], read: postsReadMin, spent: true,
	})
	return len(b.walks) - 1, true
}
