// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"github.com/mansiomq/mansio/internal/ident"
)

// Stats are the counts of one group on one topic. In every queue that the group
// has read, and so in sum,
//
//	(visible − Next) + Available + InFlight + Done == visible − Base
//
// and without resets Done == Acked + Skipped + Expired + DeadLettered.
type Stats struct {
	Generation ident.Generation
	Queues     int
	InFlight   uint64 // leased, or given back: waiting for their due included
	Available  uint64 // passed over by one subscription, for others
	Done       uint64
	Totals
}

// Stats returns the counts, and false when nothing is known of the pair.
func (d *Deliveries) Stats(k Key) (Stats, bool) {
	p := d.pairs[k]
	if p == nil {
		return Stats{}, false
	}
	s := Stats{
		Generation: p.generation, Queues: len(p.order),
		InFlight: p.live, Available: p.available, Totals: p.totals,
	}
	for _, qi := range p.order {
		q := d.queues.at(qi)
		s.Done += q.next - q.base - q.live - q.available
	}
	return s, true
}

// Position is where a group stands in one queue.
type Position struct {
	Base      ident.Offset // where it began
	Floor     ident.Offset // the first offset that is not done
	Next      ident.Offset // the first that it never received
	InFlight  uint64
	Available uint64
}

// Position returns the group's position in a queue, and false when it never
// read it.
func (d *Deliveries) Position(k Key, queue ident.Queue) (Position, bool) {
	p := d.pairs[k]
	if p == nil {
		return Position{}, false
	}
	q := d.queueOf(p, queue)
	if q == nil {
		return Position{}, false
	}
	return Position{
		Base: ident.Offset(q.base), Floor: ident.Offset(d.floor(q)), Next: ident.Offset(q.next),
		InFlight: q.live, Available: q.available,
	}, true
}

// Committed returns the position that a consumer which keeps offsets stored.
func (d *Deliveries) Committed(k Key, queue ident.Queue) (ident.Offset, bool) {
	p := d.pairs[k]
	if p == nil {
		return 0, false
	}
	o, ok := p.committed[queue]
	return o, ok
}

// Opened returns the pair's generation and start, and false when nothing is
// known of it: then generation 0 and the earliest offset hold.
func (d *Deliveries) Opened(k Key) (ident.Generation, Start, bool) {
	p := d.pairs[k]
	if p == nil {
		return 0, Start{}, false
	}
	return p.generation, p.start, true
}

// Config returns what is known of the group, and false when it is unknown or
// deleted.
func (d *Deliveries) Config(group ident.Group) (GroupConfig, bool) {
	c, ok := d.groups[group]
	return c, ok
}

// Phase is the state of an offset.
type Phase uint8

// The phases.
const (
	Fresh Phase = iota
	Available
	Live
	Done
)

func (p Phase) String() string { return [...]string{"fresh", "available", "live", "done"}[p&3] }

// Lease is what is known of one offset. All but Phase is of a live one.
type Lease struct {
	Phase       Phase
	Grant       ident.LSN
	Term        ident.Term
	GrantedMS   int64
	DueMS       int64 // effective
	Attempts    int
	NoCount     bool // the next delivery is no further attempt
	Owner       string
	AttemptHash uint64
}

// Lookup says how one offset stands with a group. Offsets of queues that the
// group never read are fresh.
func (d *Deliveries) Lookup(k Key, queue ident.Queue, offset ident.Offset) Lease {
	p := d.pairs[k]
	if p == nil {
		return Lease{}
	}
	q := d.queueOf(p, queue)
	if q == nil || uint64(offset) >= q.next {
		return Lease{}
	}
	_, c := d.chunkOf(q, uint64(offset))
	if c == nil {
		return Lease{Phase: Done}
	}
	i := uint64(offset) - c.base
	switch {
	case c.done>>i&1 != 0:
		return Lease{Phase: Done}
	case c.live>>i&1 == 0:
		return Lease{Phase: Available}
	}
	s, j := d.slotOf(c, i)
	g := d.grants.at(s.grant[j])
	l := Lease{
		Phase: Live, Grant: g.lsn, Term: g.term, GrantedMS: g.timeMS, AttemptHash: g.attemptHash,
		DueMS: d.effectiveMS(p, s, j), Attempts: int(s.attempts[j]), NoCount: s.flags[j]&flagNoCount != 0,
	}
	if s.flags[j]&flagOwned != 0 {
		l.Owner = p.owners[s.owner[j]].id
	}
	return l
}
