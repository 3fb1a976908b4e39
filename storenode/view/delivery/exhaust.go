// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"math/bits"

	"github.com/mansiomq/mansio/internal/ident"
)

// Exhaustion is an offset whose last attempt has passed without a settlement.
// It becomes a DeadLetter entry with these fields.
type Exhaustion struct {
	Key        Key
	Generation ident.Generation
	Queue      ident.Queue
	Offset     ident.Offset
	Grant      ident.LSN
	Attempts   int
}

// Exhausted appends at most limit offsets, found by Advance, whose last attempt
// has passed. Each is reported once: until its DeadLetter has been applied, or
// Retry. Fewer than limit means that there are no more.
func (s *Selector) Exhausted(dst []Exhaustion, nowMS int64, limit int) []Exhaustion {
	d := s.d
	for full := len(dst) + limit; len(dst) < full && d.dying.head != 0; {
		id := d.dying.head
		c := d.chunks.at(id)
		q := d.queues.at(c.queue)
		expired, exhausted := d.refresh(id, c, nowMS)
		if expired != 0 && !c.due.in {
			d.listDue(id, c)
		}
		for ; exhausted != 0 && len(dst) < full; exhausted &= exhausted - 1 {
			i := uint64(bits.TrailingZeros64(exhausted)) //nolint:gosec // 0…63
			slot, j := d.slotOf(c, i)
			c.busy |= 1 << i
			dst = append(dst, Exhaustion{
				Key: q.pair.key, Generation: q.pair.generation, Queue: q.id, Offset: ident.Offset(c.base + i),
				Grant: d.grants.at(slot.grant[j]).lsn, Attempts: int(slot.attempts[j]),
			})
		}
		if exhausted == 0 {
			d.unlist(&d.dying, dyingLink, id)
		}
	}
	return dst
}

// Retry says that no DeadLetter entry was written for e. It is reported again,
// if it still is exhausted then, at about atMS.
func (s *Selector) Retry(e Exhaustion, atMS int64) {
	p := s.d.pairs[e.Key]
	if p == nil || p.generation != e.Generation {
		return
	}
	q := s.d.queueOf(p, e.Queue)
	if q == nil {
		return
	}
	id, c := s.d.chunkOf(q, uint64(e.Offset))
	if c == nil {
		return
	}
	c.busy &^= 1 << (uint64(e.Offset) - c.base)
	s.d.lowerBound(id, c, s.d.dueAt(atMS))
}
