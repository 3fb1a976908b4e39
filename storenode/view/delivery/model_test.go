// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"cmp"
	"maps"
	"slices"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

// model is the same fold as Deliveries, written the dumb way: a map of offsets,
// nothing shared, nothing dropped, nothing clever.
type model struct {
	groups map[ident.Group]GroupConfig
	pairs  map[Key]*modelPair
}

type modelPair struct {
	generation ident.Generation
	start      Start
	queues     map[ident.Queue]*modelQueue
	owners     map[string]*modelOwner
	committed  map[ident.Queue]ident.Offset
	totals     Totals
}

type modelOwner struct {
	untilMS    int64
	terminated bool
}

type modelQueue struct {
	base, next ident.Offset
	offsets    map[ident.Offset]*modelOffset // all in [base, next)
}

type modelOffset struct {
	phase    Phase
	grant    ident.LSN
	term     ident.Term
	timeMS   int64
	dueMS    int64
	attempts int
	noCount  bool
	owner    string
}

func newModel() *model {
	return &model{groups: map[ident.Group]GroupConfig{}, pairs: map[Key]*modelPair{}}
}

func (m *model) open(k Key) *modelPair {
	if p := m.pairs[k]; p != nil {
		return p
	}
	if _, ok := m.groups[k.Group]; !ok {
		return nil
	}
	p := &modelPair{
		queues: map[ident.Queue]*modelQueue{}, owners: map[string]*modelOwner{}, committed: map[ident.Queue]ident.Offset{},
	}
	m.pairs[k] = p
	return p
}

func (m *model) config(k Key) GroupConfig { return m.groups[k.Group] }

func (p *modelPair) effective(o *modelOffset) int64 {
	if o.owner == "" {
		return o.dueMS
	}
	return min(o.timeMS+LeaseCapMS, max(o.dueMS, p.owners[o.owner].untilMS))
}

func (o *modelOffset) nextAttempt() int {
	if o.noCount {
		return o.attempts
	}
	return o.attempts + 1
}

// sweep forgets owners without leases.
func (p *modelPair) sweep() {
	used := map[string]bool{}
	for _, q := range p.queues {
		for _, o := range q.offsets {
			if o.phase == Live && o.owner != "" {
				used[o.owner] = true
			}
		}
	}
	maps.DeleteFunc(p.owners, func(id string, _ *modelOwner) bool { return !used[id] })
}

func (m *model) grant(h *record.Header, b *record.PopGrant) (granted []Granted, stale bool) {
	k := Key{b.Group, b.Topic}
	if m.pairs[k] == nil && b.Generation != 0 {
		return nil, true
	}
	p := m.open(k)
	if p == nil || p.generation != b.Generation {
		return nil, true
	}
	if b.Owner != "" {
		if p.owners[b.Owner] == nil {
			p.owners[b.Owner] = &modelOwner{}
		}
		p.owners[b.Owner].terminated = false
		p.owners[b.Owner].untilMS = max(p.owners[b.Owner].untilMS, h.TimeMS+OwnerTTLMS)
	}
	one := modelGrant{h, b, p, m.config(k).attemptsMax()}
	for _, it := range b.Items {
		q := p.queues[it.Queue]
		if q == nil {
			q = &modelQueue{base: it.First, next: it.First, offsets: map[ident.Offset]*modelOffset{}}
			p.queues[it.Queue] = q
		}
		at := it.First
		for _, r := range it.Runs {
			for range r.Count {
				for q.next < at {
					q.offsets[q.next] = &modelOffset{phase: Available}
					q.next++
				}
				if attempt, ok := one.grant(q, at, r.Kind); ok {
					granted = append(granted, Granted{it.Queue, at, attempt})
				}
				at++
			}
		}
	}
	p.sweep()
	return granted, false
}

type modelGrant struct {
	h           *record.Header
	b           *record.PopGrant
	p           *modelPair
	attemptsMax int
}

func (g *modelGrant) grant(q *modelQueue, at ident.Offset, kind record.RunKind) (int, bool) {
	h, b, p := g.h, g.b, g.p
	if at < q.base {
		return 0, false
	}
	o := q.offsets[at]
	fresh := o == nil
	if fresh {
		o = &modelOffset{phase: Available}
		q.offsets[at] = o
		q.next = at + 1
	}
	due := o.phase == Live && p.effective(o) <= h.TimeMS
	switch {
	case kind == record.RunSkip && (o.phase == Available || due):
		*o = modelOffset{phase: Done}
		p.totals.Skipped++
	case kind == record.RunLease && (o.phase == Available || due && o.nextAttempt() <= g.attemptsMax):
		attempts := 1
		if due {
			attempts = o.nextAttempt()
		}
		*o = modelOffset{
			phase: Live, grant: h.LSN, term: h.Term, timeMS: h.TimeMS, dueMS: h.TimeMS + b.InvisibleMS,
			attempts: attempts, owner: b.Owner,
		}
		return attempts, true
	}
	return 0, false
}

func (m *model) settle(h *record.Header, it *record.SettleItem) Result {
	p := m.pairs[Key{it.Group, it.Topic}]
	ack := it.Verdict == record.VerdictAck
	if p == nil || it.Generation > p.generation {
		return InvalidHandle
	}
	if it.Generation < p.generation {
		return choose(ack, OldGeneration)
	}
	q := p.queues[it.Queue]
	if q == nil || it.Offset >= q.next {
		return InvalidHandle
	}
	o := q.offsets[it.Offset]
	if o == nil || o.phase == Done {
		return choose(ack, AlreadyDone)
	}
	if o.phase != Live || o.grant != it.Grant || o.term != it.Term {
		return InvalidHandle
	}
	if h.TimeMS >= p.effective(o) && (!ack || !m.config(Key{it.Group, it.Topic}).LateAck) {
		return InvalidHandle
	}
	if ack {
		*o = modelOffset{phase: Done}
		p.totals.Acked++
	} else {
		o.owner = ""
		o.dueMS = h.TimeMS + it.MS
		if it.Verdict == record.VerdictRelease {
			o.noCount = it.NoCount
		}
	}
	p.sweep()
	return Settled
}

func (m *model) renew(h *record.Header, b *record.Renew) {
	for _, it := range b.Items {
		p := m.pairs[Key{it.Group, it.Topic}]
		if p == nil || p.owners[it.Owner] == nil || p.owners[it.Owner].terminated {
			continue
		}
		o := p.owners[it.Owner]
		if it.Terminated {
			o.terminated = true
			o.untilMS = min(o.untilMS, h.TimeMS+max(it.TTLMS, TerminatedTTLMS))
		} else {
			o.untilMS = max(o.untilMS, h.TimeMS+it.TTLMS)
		}
	}
}

func (m *model) termStart(h *record.Header, prevTimeMS int64) {
	for _, p := range m.pairs {
		for _, o := range p.owners {
			if !o.terminated && o.untilMS >= prevTimeMS {
				o.untilMS = max(o.untilMS, h.TimeMS+OwnerTTLMS)
			}
		}
	}
}

func (m *model) deadLetter(h *record.Header, b *record.DeadLetter) bool {
	k := Key{b.Group, b.Topic}
	p := m.pairs[k]
	if p == nil || p.generation != b.Generation || p.queues[b.Queue] == nil {
		return false
	}
	o := p.queues[b.Queue].offsets[b.Offset]
	if o == nil || o.phase != Live || o.grant != b.Grant {
		return false
	}
	if b.Reason == record.ReasonAttempts && (p.effective(o) > h.TimeMS || o.nextAttempt() <= m.config(k).attemptsMax()) {
		return false
	}
	*o = modelOffset{phase: Done}
	p.totals.DeadLettered++
	p.sweep()
	return true
}

func (m *model) reset(h *record.Header, b *record.GroupReset) bool {
	p := m.open(Key{b.Group, b.Topic})
	if p == nil || b.Generation <= p.generation {
		return false
	}
	totals := p.totals
	*p = modelPair{
		generation: b.Generation, start: Start{Kind: b.Kind, TimeMS: b.TimeMS}, totals: totals,
		queues: map[ident.Queue]*modelQueue{}, owners: map[string]*modelOwner{}, committed: map[ident.Queue]ident.Offset{},
	}
	if b.Kind == record.StartLatest {
		p.start.TimeMS = h.TimeMS
	}
	return true
}

func (m *model) trim(topic ident.Topic, queue ident.Queue, minimum ident.Offset) {
	for k, p := range m.pairs {
		q := p.queues[queue]
		if k.Topic != topic || q == nil {
			continue
		}
		for q.next < minimum {
			q.offsets[q.next] = &modelOffset{phase: Available}
			q.next++
		}
		for at, o := range q.offsets {
			if at < minimum && o.phase != Done {
				*o = modelOffset{phase: Done}
				p.totals.Expired++
			}
		}
		p.sweep()
	}
}

func (m *model) timeShift(delta int64) {
	for _, p := range m.pairs {
		for _, o := range p.owners {
			o.untilMS += delta
		}
		for _, q := range p.queues {
			for _, o := range q.offsets {
				o.timeMS += delta
				o.dueMS += delta
			}
		}
	}
}

func (m *model) drop(gone func(Key) bool) {
	maps.DeleteFunc(m.pairs, func(k Key, _ *modelPair) bool { return gone(k) })
}

// lookup is what Deliveries.Lookup must answer.
func (m *model) lookup(k Key, queue ident.Queue, at ident.Offset) Lease {
	p := m.pairs[k]
	if p == nil || p.queues[queue] == nil || at >= p.queues[queue].next {
		return Lease{}
	}
	o := p.queues[queue].offsets[at]
	if o == nil {
		return Lease{Phase: Done} // below the base
	}
	if o.phase != Live {
		return Lease{Phase: o.phase}
	}
	return Lease{
		Phase: Live, Grant: o.grant, Term: o.term, GrantedMS: o.timeMS, DueMS: p.effective(o),
		Attempts: o.attempts, NoCount: o.noCount, Owner: o.owner,
	}
}

// stats is what Deliveries.Stats must answer.
func (m *model) stats(k Key) Stats {
	p := m.pairs[k]
	s := Stats{Generation: p.generation, Queues: len(p.queues), Totals: p.totals}
	for _, q := range p.queues {
		for _, o := range q.offsets {
			switch o.phase {
			case Fresh: // not in the map
			case Live:
				s.InFlight++
			case Available:
				s.Available++
			case Done:
				s.Done++
			}
		}
	}
	return s
}

func (m *model) keys() []Key {
	return slices.SortedFunc(maps.Keys(m.pairs), compareKeys)
}

func (p *modelPair) queueIDs() []ident.Queue {
	return slices.SortedFunc(maps.Keys(p.queues), cmp.Compare[ident.Queue])
}
