// SPDX-License-Identifier: Apache-2.0

package delivery

import "math/bits"

// heapItem is a chunk in the heap of bounds, least first.
type heapItem struct {
	bound uint32
	chunk uint32
}

// lowerBound says that an offset of the chunk may fall due at bound.
func (d *Deliveries) lowerBound(id uint32, c *chunk, bound uint32) {
	switch {
	case c.heapAt == 0:
		d.heap = append(d.heap, heapItem{})
		c.bound = bound
		d.siftUp(len(d.heap)-1, heapItem{bound, id})
	case bound < c.bound:
		c.bound = bound
		d.siftUp(int(c.heapAt)-1, heapItem{bound, id})
	}
}

func (d *Deliveries) siftUp(at int, it heapItem) {
	for at > 0 {
		up := (at - 1) / 2
		if d.heap[up].bound <= it.bound {
			break
		}
		d.heapSet(at, d.heap[up])
		at = up
	}
	d.heapSet(at, it)
}

func (d *Deliveries) siftDown(at int, it heapItem) {
	for {
		kid := 2*at + 1
		if kid >= len(d.heap) {
			break
		}
		if kid+1 < len(d.heap) && d.heap[kid+1].bound < d.heap[kid].bound {
			kid++
		}
		if d.heap[kid].bound >= it.bound {
			break
		}
		d.heapSet(at, d.heap[kid])
		at = kid
	}
	d.heapSet(at, it)
}

func (d *Deliveries) heapSet(at int, it heapItem) {
	d.heap[at] = it
	d.chunks.at(it.chunk).heapAt = uint32(at + 1) //nolint:gosec // below the number of chunks
}

func (d *Deliveries) heapRemove(id uint32) {
	c := d.chunks.at(id)
	if c.heapAt == 0 {
		return
	}
	at := int(c.heapAt) - 1
	c.heapAt = 0
	last := d.heap[len(d.heap)-1]
	d.heap = d.heap[:len(d.heap)-1]
	if at == len(d.heap) {
		return
	}
	if at > 0 && last.bound < d.heap[(at-1)/2].bound {
		d.siftUp(at, last)
	} else {
		d.siftDown(at, last)
	}
}

// link is a chunk's place in a list; list is a doubly linked list of chunks.
type link struct {
	prev, next uint32
	in         bool
}

type list struct{ head, tail uint32 }

func dueLink(c *chunk) *link   { return &c.due }
func dyingLink(c *chunk) *link { return &c.dying }

// enlist puts the chunk at the end of the list, from wherever it was in it.
func (d *Deliveries) enlist(l *list, of func(*chunk) *link, id uint32) {
	d.unlist(l, of, id)
	at := of(d.chunks.at(id))
	*at = link{prev: l.tail, in: true}
	if l.tail != 0 {
		of(d.chunks.at(l.tail)).next = id
	} else {
		l.head = id
	}
	l.tail = id
}

func (d *Deliveries) unlist(l *list, of func(*chunk) *link, id uint32) {
	at := of(d.chunks.at(id))
	if !at.in {
		return
	}
	if at.prev != 0 {
		of(d.chunks.at(at.prev)).next = at.next
	} else {
		l.head = at.next
	}
	if at.next != 0 {
		of(d.chunks.at(at.next)).prev = at.prev
	} else {
		l.tail = at.prev
	}
	*at = link{}
}

// ownedLookMS is how far ahead the bound of an owned lease may lie beyond the
// slot's own due. An owner's farewell leaves it TerminatedTTLMS from the entry's
// time on; the entry may have been written some time before the survey.
const ownedLookMS = TerminatedTTLMS / 2

// survey looks at all live offsets of a chunk that are not promised: which can
// be leased again, which have had their last attempt, and before when no other
// falls due, if there is another.
func (d *Deliveries) survey(p *pair, c *chunk, nowMS int64) (expired, exhausted uint64, nextMS int64, more bool) {
	for m := c.live &^ c.busy; m != 0; m &= m - 1 {
		i := uint64(bits.TrailingZeros64(m)) //nolint:gosec // 0…63
		s, j := d.slotOf(c, i)
		due := d.effectiveMS(p, s, j)
		switch {
		case due > nowMS:
			if s.flags[j]&flagOwned != 0 {
				due = min(due, max(d.epochMS+int64(s.due[j]), nowMS+ownedLookMS))
			}
			if !more || due < nextMS {
				nextMS, more = due, true
			}
		case p.exhausted(s, j):
			exhausted |= 1 << i
		default:
			expired |= 1 << i
		}
	}
	return expired, exhausted, nextMS, more
}

// expired is the mask of those offsets within mask that are live and due.
func (d *Deliveries) expired(p *pair, c *chunk, mask uint64, nowMS int64) (due uint64) {
	for m := c.live & mask; m != 0; m &= m - 1 {
		i := uint64(bits.TrailingZeros64(m)) //nolint:gosec // 0…63
		if s, j := d.slotOf(c, i); d.effectiveMS(p, s, j) <= nowMS {
			due |= 1 << i
		}
	}
	return due
}

// advance surveys the chunks whose bound has passed, at most budget of them,
// and lists those with something to lease again or to dead-letter. It reports
// whether more are left.
func (d *Deliveries) advance(nowMS int64, budget int) bool {
	for len(d.heap) > 0 && d.epochMS+int64(d.heap[0].bound) <= nowMS {
		if budget == 0 {
			return true
		}
		budget--
		d.resurvey(d.heap[0].chunk, nowMS)
	}
	return false
}

func (d *Deliveries) resurvey(id uint32, nowMS int64) {
	c := d.chunks.at(id)
	if expired, _ := d.refresh(id, c, nowMS); expired != 0 {
		d.listDue(id, c)
	}
}

// listDue puts the chunk at the end of its pair's list of expired leases.
func (d *Deliveries) listDue(id uint32, c *chunk) {
	p := d.queues.at(c.queue).pair
	d.enlist(&p.due, dueLink, id)
	d.dueSeq++
	c.dueSeq = d.dueSeq
	d.wake(p)
}

// refresh surveys the chunk, renews its bound, lists it if it has exhausted
// leases and returns which offsets can be leased again and which are exhausted.
func (d *Deliveries) refresh(id uint32, c *chunk, nowMS int64) (expired, exhausted uint64) {
	expired, exhausted, nextMS, more := d.survey(d.queues.at(c.queue).pair, c, nowMS)
	d.heapRemove(id)
	if more {
		d.lowerBound(id, c, d.dueAt(nextMS))
	}
	if exhausted != 0 && !c.dying.in {
		d.enlist(&d.dying, dyingLink, id)
	}
	return expired, exhausted
}

// unpromise takes back the promise of the offsets in mask. Those that are live
// come under the chunk's bound again.
func (d *Deliveries) unpromise(q *popQueue, id uint32, c *chunk, mask uint64) {
	mask &= c.busy
	c.busy &^= mask
	for m := mask & c.live; m != 0; m &= m - 1 {
		s, j := d.slotOf(c, uint64(bits.TrailingZeros64(m))) //nolint:gosec // 0…63
		d.lowerBound(id, c, d.dueAt(d.effectiveMS(q.pair, s, j)))
	}
}

// reconsider has all leases of the pair looked at anew.
func (d *Deliveries) reconsider(p *pair) {
	for _, qi := range p.order {
		for _, r := range d.queues.at(qi).chunks {
			if r.id != 0 {
				d.lowerBound(r.id, d.chunks.at(r.id), 0)
			}
		}
	}
}

// wake notes that a receive which found nothing may find something now.
func (d *Deliveries) wake(p *pair) {
	p.capped = false
	if !p.awake {
		p.awake = true
		d.woken = append(d.woken, p)
	}
}
