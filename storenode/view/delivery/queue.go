// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"math/bits"
	"sort"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/invariant"
)

const (
	// refsCopyMax is the length up to which a queue's chunk list is shifted
	// down when its head goes, which keeps its memory; longer lists are
	// re-sliced.
	refsCopyMax = 32
	// refsHolesMin keeps short lists from being squeezed at every ack.
	refsHolesMin = 8
)

// below is the mask of the chunk's offsets that lie under limit.
func (c *chunk) below(limit uint64) uint64 {
	switch {
	case limit <= c.base:
		return 0
	case limit >= c.base+chunkLen:
		return ^uint64(0)
	}
	return 1<<(limit-c.base) - 1
}

// free is the mask of the chunk's available offsets.
func (c *chunk) free(next uint64) uint64 { return c.below(next) &^ c.done &^ c.live }

func (d *Deliveries) queueOf(p *pair, id ident.Queue) *popQueue {
	if i := p.queueOf[id]; i != 0 {
		return d.queues.at(i)
	}
	return nil
}

func (d *Deliveries) addQueue(p *pair, id ident.Queue, base uint64) *popQueue {
	i, q := d.queues.get()
	q.pair, q.id, q.base, q.next = p, id, base, base
	p.queueOf[id] = i
	p.order = append(p.order, i)
	return q
}

// find returns the place of chunk no in the list, or -1. Without holes in the
// numbering it is where the distance from the first says, with holes lower.
func (q *popQueue) find(no uint64) int {
	n := len(q.chunks)
	if n == 0 || no < q.chunks[0].no {
		return -1
	}
	i := n - 1
	if far := no - q.chunks[0].no; far < uint64(i) { //nolint:gosec // lengths are small
		i = int(far) //nolint:gosec // below a length
	}
	if q.chunks[i].no != no {
		i = sort.Search(i, func(k int) bool { return q.chunks[k].no >= no })
	}
	if q.chunks[i].no != no || q.chunks[i].id == 0 {
		return -1
	}
	return i
}

// chunkOf returns the chunk that holds offset o, or 0 and nil.
func (d *Deliveries) chunkOf(q *popQueue, o uint64) (uint32, *chunk) {
	i := q.find(o >> chunkBits)
	if i < 0 {
		return 0, nil
	}
	return q.chunks[i].id, d.chunks.at(q.chunks[i].id)
}

// tail returns the chunk of the queue's next offset, made now if there is none.
func (d *Deliveries) tail(q *popQueue) (uint32, *chunk) {
	no := q.next >> chunkBits
	if n := len(q.chunks); n > 0 && q.chunks[n-1].no == no {
		id := q.chunks[n-1].id
		return id, d.chunks.at(id)
	}
	id, c := d.chunks.get()
	c.base = no << chunkBits
	c.done = c.below(q.next)
	c.queue = q.pair.queueOf[q.id]
	q.chunks = append(q.chunks, chunkRef{no, id})
	return id, c
}

// settleDown drops the chunk if all of it that lies below next is done.
func (d *Deliveries) settleDown(q *popQueue, id uint32, c *chunk) {
	if c.done != c.below(q.next) {
		return
	}
	i := q.find(c.base >> chunkBits)
	invariant.Check(i >= 0 && c.live == 0, "chunk %d of queue %d: place %d, live %x", c.base, q.id, i, c.live)
	d.forget(id, c)
	q.remove(i)
}

// forget takes a chunk out of all lists and gives it back. Its slots must be
// free already.
func (d *Deliveries) forget(id uint32, c *chunk) {
	p := d.queues.at(c.queue).pair
	d.unlist(&p.due, dueLink, id)
	d.unlist(&d.dying, dyingLink, id)
	d.heapRemove(id)
	d.chunks.put(id)
}

func (q *popQueue) remove(i int) {
	q.chunks[i].id = 0
	q.holes++
	first, end := 0, len(q.chunks)
	for first < end && q.chunks[first].id == 0 {
		first++
	}
	for end > first && q.chunks[end-1].id == 0 {
		end--
	}
	q.holes -= first + len(q.chunks) - end
	switch {
	case first == end:
		q.chunks = q.chunks[:0]
		if cap(q.chunks) > refsCopyMax {
			q.chunks = nil
		}
	case first > 0 && end-first <= refsCopyMax:
		q.chunks = q.chunks[:copy(q.chunks, q.chunks[first:end])]
	default:
		q.chunks = q.chunks[first:end]
	}
	if q.holes >= refsHolesMin && q.holes > len(q.chunks)/2 {
		q.squeeze()
	}
}

func (q *popQueue) squeeze() {
	kept := q.chunks[:0]
	for _, r := range q.chunks {
		if r.id != 0 {
			kept = append(kept, r)
		}
	}
	q.chunks, q.holes = kept, 0
}

// fill moves next up to end: the offsets between become done or available. It
// returns their number.
func (d *Deliveries) fill(q *popQueue, end uint64, done bool) uint64 {
	first := q.next
	for q.next < end {
		if done && q.next&(chunkLen-1) == 0 && end-q.next >= chunkLen {
			q.next = end &^ (chunkLen - 1) // wholly done chunks are absent
			continue
		}
		id, c := d.tail(q)
		stop := min(end, c.base+chunkLen)
		mask := c.below(stop) &^ c.below(q.next)
		if done {
			c.done |= mask
		} else {
			n := stop - q.next
			q.available += n
			q.pair.available += n
		}
		q.next = stop
		d.settleDown(q, id, c)
	}
	return q.next - first
}

// finish marks the offsets of mask done that are live or available, and returns
// their number.
func (d *Deliveries) finish(q *popQueue, id uint32, c *chunk, mask uint64) uint64 {
	live := mask & c.live
	free := mask & c.free(q.next)
	for m := live; m != 0; m &= m - 1 {
		d.freeSlot(q, c, uint64(bits.TrailingZeros64(m))) //nolint:gosec // 0…63
	}
	n := uint64(bits.OnesCount64(free)) //nolint:gosec // 0…64
	q.available -= n
	q.pair.available -= n
	c.done |= live | free
	if n > 0 && q.pair.capped {
		d.wake(q.pair)
	}
	d.settleDown(q, id, c)
	return n + uint64(bits.OnesCount64(live)) //nolint:gosec // 0…64
}

// slotOf returns the slot of the chunk's offset i, which must be live.
func (d *Deliveries) slotOf(c *chunk, i uint64) (*slab, uint64) {
	return d.slabs.at(c.slabs[i>>slabBits]), i & (slabLen - 1)
}

// makeSlot makes the chunk's offset i live and returns its empty slot.
func (d *Deliveries) makeSlot(q *popQueue, c *chunk, i uint64) (*slab, uint64) {
	c.live |= 1 << i
	q.live++
	q.pair.live++
	at := &c.slabs[i>>slabBits]
	if *at == 0 {
		*at, _ = d.slabs.get()
	}
	return d.slabs.at(*at), i & (slabLen - 1)
}

// freeSlot makes the chunk's offset i not live.
func (d *Deliveries) freeSlot(q *popQueue, c *chunk, i uint64) {
	s, j := d.slotOf(c, i)
	d.leave(q.pair, s, j)
	c.live &^= 1 << i
	q.live--
	q.pair.live--
	k := i >> slabBits
	if c.live>>(k*slabLen)&(1<<slabLen-1) == 0 {
		d.slabs.put(c.slabs[k])
		c.slabs[k] = 0
	}
	if q.pair.capped {
		d.wake(q.pair)
	}
}

// leave ends the slot's ties to its grant and owner.
func (d *Deliveries) leave(p *pair, s *slab, j uint64) {
	d.disown(p, s, j)
	g := d.grants.at(s.grant[j])
	g.slots--
	if g.slots == 0 {
		d.grants.put(s.grant[j])
	}
}

// floor is the first offset that is not done.
func (d *Deliveries) floor(q *popQueue) uint64 {
	if len(q.chunks) == 0 {
		return q.next
	}
	c := d.chunks.at(q.chunks[0].id)
	return c.base + uint64(bits.TrailingZeros64(^c.done)) //nolint:gosec // a chunk in the list is not wholly done
}

// clearQueues forgets everything about the pair's offsets and owners.
func (d *Deliveries) clearQueues(p *pair) {
	for _, qi := range p.order {
		q := d.queues.at(qi)
		for _, r := range q.chunks {
			if r.id == 0 {
				continue
			}
			c := d.chunks.at(r.id)
			for m := c.live; m != 0; m &= m - 1 {
				d.freeSlot(q, c, uint64(bits.TrailingZeros64(m))) //nolint:gosec // 0…63
			}
			d.forget(r.id, c)
		}
		d.queues.put(qi)
	}
	invariant.Check(p.live == 0 && len(p.ownerOf) == 0, "cleared pair has %d live, %d owners", p.live, len(p.ownerOf))
	p.available = 0
	clear(p.queueOf)
	p.order = nil
	clear(p.committed)
}
