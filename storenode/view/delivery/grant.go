// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

// Granted is one offset that a PopGrant delivered, with the number of the
// attempt.
type Granted struct {
	Queue    ident.Queue
	Offset   ident.Offset
	Attempts int
}

// GrantOutcome is what apply made of a PopGrant. Granted is in the order of the
// entry's items.
type GrantOutcome struct {
	Granted []Granted
	Refused int  // offsets of lease runs that could not be leased
	Stale   bool // of an old generation, or of an unknown group: nothing changed
}

// granting is the application of one PopGrant.
type granting struct {
	d      *Deliveries
	p      *pair
	out    *GrantOutcome
	grant  uint32
	owner  uint32
	owned  bool
	timeMS int64
	due    uint32
	bound  uint32
	passed bool
}

// ApplyGrant delivers every offset in the entry's lease runs that is fresh,
// available, or live with its due passed and attempts left; its skip runs make
// done what is not leased; its pass runs make fresh offsets available. out is
// overwritten, its memory used again.
func (d *Deliveries) ApplyGrant(h *record.Header, b *record.PopGrant, out *GrantOutcome) {
	*out = GrantOutcome{Granted: out.Granted[:0]}
	d.enter(h.TimeMS)
	k := Key{b.Group, b.Topic}
	if _, known := d.pairs[k]; !known && b.Generation != 0 {
		out.Stale = true
		return
	}
	p := d.open(k)
	if p == nil || p.generation != b.Generation || b.FIFO {
		out.Stale = true
		return
	}
	dueMS := later(h.TimeMS, b.InvisibleMS)
	a := granting{d: d, p: p, out: out, timeMS: h.TimeMS, due: d.dueAt(dueMS)}
	var g *grant
	a.grant, g = d.grants.get()
	*g = grant{lsn: h.LSN, term: h.Term, timeMS: h.TimeMS, attemptHash: b.AttemptHash, slots: 1}
	a.bound = a.due
	if b.Owner != "" {
		a.takeOwner(b.Owner)
		a.bound = d.dueAt(min(dueMS, h.TimeMS+LeaseCapMS))
	}
	for i := range b.Items {
		a.item(&b.Items[i])
	}
	a.close()
}

// takeOwner revives or makes the owner: receiving is a sign of life. It holds
// one lease of the owner, and the grant one slot, until close, so that neither
// is forgotten between the slots of an old delivery and of this one.
func (a *granting) takeOwner(id string) {
	a.owned, a.owner = true, a.d.intern(a.p, id)
	o := &a.p.owners[a.owner]
	o.leases++
	o.terminated = false
	o.untilMS = max(o.untilMS, a.timeMS+OwnerTTLMS)
}

func (a *granting) close() {
	g := a.d.grants.at(a.grant)
	g.slots--
	if g.slots == 0 {
		a.d.grants.put(a.grant)
	}
	if a.owned {
		a.d.release(a.p, a.owner)
	}
	if a.passed {
		a.d.wake(a.p)
	}
}

func (a *granting) item(it *record.GrantItem) {
	first := uint64(it.First)
	q := a.d.queueOf(a.p, it.Queue)
	if q == nil {
		q = a.d.addQueue(a.p, it.Queue, first)
	}
	if first > q.next { // a grant before this one was never logged
		a.pass(q, first)
	}
	for _, r := range it.Runs {
		end := first + r.Count
		switch r.Kind {
		case record.RunLease:
			a.leaseKnown(q, first, min(end, q.next))
			a.leaseFresh(q, end)
		case record.RunSkip:
			a.skipKnown(q, first, min(end, q.next))
			a.p.totals.Skipped += a.d.fill(q, end, true)
		case record.RunPass:
			a.pass(q, end)
		}
		first = end
	}
}

func (a *granting) pass(q *popQueue, end uint64) {
	if a.d.fill(q, end, false) > 0 {
		a.passed = true
	}
}

// leaseFresh leases [q.next, end).
func (a *granting) leaseFresh(q *popQueue, end uint64) {
	for q.next < end {
		id, c := a.d.tail(q)
		stop := min(end, c.base+chunkLen)
		for o := q.next; o < stop; o++ {
			s, j := a.d.makeSlot(q, c, o-c.base)
			a.deliver(q, s, j, o, 1)
		}
		q.next = stop
		a.d.lowerBound(id, c, a.bound)
	}
}

// leaseKnown leases what can be leased of [first, end), all below next.
func (a *granting) leaseKnown(q *popQueue, first, end uint64) {
	for o := first; o < end; o++ {
		id, c := a.d.chunkOf(q, o)
		if c == nil || c.done>>(o-c.base)&1 != 0 {
			a.out.Refused++
			continue
		}
		i := o - c.base
		if c.live>>i&1 == 0 {
			q.available--
			a.p.available--
			s, j := a.d.makeSlot(q, c, i)
			a.deliver(q, s, j, o, 1)
			a.d.lowerBound(id, c, a.bound)
			continue
		}
		s, j := a.d.slotOf(c, i)
		if a.d.effectiveMS(a.p, s, j) > a.timeMS || a.p.exhausted(s, j) {
			a.out.Refused++
			continue
		}
		attempt := nextAttempt(s, j)
		a.d.leave(a.p, s, j)
		a.deliver(q, s, j, o, uint8(attempt)) //nolint:gosec // bounded by attemptsMax
		a.d.lowerBound(id, c, a.bound)
	}
}

// deliver fills a slot that is tied to nothing.
func (a *granting) deliver(q *popQueue, s *slab, j, o uint64, attempt uint8) {
	s.grant[j], s.due[j], s.attempts[j], s.flags[j] = a.grant, a.due, attempt, 0
	a.d.grants.at(a.grant).slots++
	if a.owned {
		a.d.own(a.p, s, j, a.owner)
	}
	a.out.Granted = append(a.out.Granted, Granted{q.id, ident.Offset(o), int(attempt)})
}

// skipKnown makes done what is available in [first, end), and what is live and
// due: no subscription of the group wants it any more.
func (a *granting) skipKnown(q *popQueue, first, end uint64) {
	for first < end {
		id, c := a.d.chunkOf(q, first)
		stop := min(end, first&^(chunkLen-1)+chunkLen)
		if c == nil {
			first = stop
			continue
		}
		inside := c.below(stop) &^ c.below(first)
		mask := inside & (c.free(q.next) | a.d.expired(a.p, c, inside, a.timeMS))
		a.p.totals.Skipped += a.d.finish(q, id, c, mask)
		first = stop
	}
}
