// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/clock"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/replica"
	"github.com/mansiomq/mansio/storenode/view/delivery"
)

// beginTerm makes the replica recovering: it writes the barrier. When that has
// been applied it leads.
func (s *Shard) beginTerm(term ident.Term, inSync []record.ReplicaID) {
	s.clock = clock.Start(s.views.applied.TimeMS, s.reading)
	s.tail.term, s.tail.timeMS = term, 0
	s.tail.timeMS = max(s.clock.Now(s.reading), s.views.applied.TimeMS)
	body := record.TermStart{InSync: inSync, PrevEnd: s.tail.end, Unclean: s.meta.Get().Unclean}
	s.scratch = body.Append(s.scratch[:0])
	s.put(record.TypeTermStart, waiter{}, s.scratch)
	if s.retrim != 0 {
		again := record.Trim{NewStart: s.retrim}
		s.scratch = again.Append(s.scratch[:0])
		s.put(record.TypeTrim, waiter{}, s.scratch)
	}
	s.logger.Info("begins a term", "term", term, "replica_role", s.machine.Role().String(), "log_end", s.tail.end)
}

// shift moves all dues by a step of the clock: a lease lasts as long as it was
// given for, and ends no sooner because the machine learned what time it is.
func (s *Shard) shift(stepMS int64) {
	if stepMS == 0 || s.failed() {
		return
	}
	s.logger.Warn("the clock stepped; all leases move with it", "step_ms", stepMS)
	s.shiftMS += stepMS
	body := record.TimeShift{DeltaMS: stepMS}
	s.scratch = body.Append(s.scratch[:0])
	s.put(record.TypeTimeShift, waiter{}, s.scratch)
}

// lead begins to serve: the barrier has been applied.
func (s *Shard) lead(term ident.Term) {
	s.machine.BarrierApplied(term)
	if s.retrim == 0 && s.meta.Get().Unclean { // said, for ever
		s.chore(func() error { return s.meta.Update(func(m *replica.Meta) { m.Unclean = false }) })
	}
	if !s.leads() {
		return
	}
	s.selector = delivery.NewSelector(s.views.deliveries)
	s.selector.Reset()
	s.subscriptions = delivery.NewSubscriptions(s.reading.Mono)
	s.renewedMS = s.reading.Mono
	s.forgetMissing()
	s.logger.Info("leads", "term", term, "replica_role", s.machine.Role().String())
}

// forgetMissing logs the end of what the log names and the metadata does not.
func (s *Shard) forgetMissing() {
	if s.existing == nil || !s.leads() {
		return
	}
	for key, told := range s.told {
		if !s.innerRoom(0) {
			return // housekeeping comes again
		}
		if !told.deleted && told.revision <= s.existingAt && !s.existing(key.kind, key.id) {
			s.putConfig(key.kind, storeapi.Config{ID: key.id, Revision: max(s.existingAt, told.revision+1)}, true)
		}
	}
}

// stepDown ends leadership: whoever waits is told that another one may lead.
// What is in the log already will be committed and answered: with one replica
// no other leader can disown it.
func (s *Shard) stepDown() {
	for _, w := range s.parking.clear() {
		reply(w.op, storeapi.NotLeader, s.machine.Term(), nil)
	}
	clear(s.signs)
	s.clock, s.shiftMS = nil, 0
}

// fail ends everything: the disk or the log can't be trusted any more. What was
// not answered yet has an unknown outcome.
func (s *Shard) fail(cause error) {
	if s.failed() {
		return
	}
	s.machine.Fail(cause.Error())
	s.logger.Error("replica failed", "error", cause, "replica_role", s.machine.Role().String())
	s.stepDown()
	s.abandon(s.syncing)
	s.abandon(s.filling)
	s.unsettled()
	s.filling.reset()
	s.answerFences()
}

// unsettled tells all that waits for settlements and grants which will not be
// applied any more that the outcome is unknown.
func (s *Shard) unsettled() {
	for _, waits := range s.settling {
		for _, w := range waits {
			s.settled(w, storeapi.Unknown)
		}
	}
	for _, w := range s.filling.settle.waits {
		s.settled(w, storeapi.Unknown)
	}
	for _, g := range s.granting {
		if g.op != nil {
			reply(g.op, storeapi.Unknown, s.machine.Term(), nil)
		}
	}
	s.settling, s.granting = nil, nil
}

// abandon tells the waiters of a batch's entries that the outcome is unknown.
func (s *Shard) abandon(b *batch) {
	if b == nil {
		return
	}
	for i := range b.entries {
		w := b.entries[i].waits
		b.entries[i].waits = waiter{}
		s.giveUp(w)
	}
}

// giveUp tells who waits for an entry that the outcome is unknown.
func (s *Shard) giveUp(w waiter) {
	switch {
	case w.op == nil:
	case w.op.append != nil:
		w.op.append.Entries[w.index].Code = storeapi.Unknown
		w.op.done(s.machine.Term())
	default:
		s.settled(w, storeapi.Unknown)
	}
}

// applyOne folds one committed entry and answers what waited for it.
func (s *Shard) applyOne(e *record.Entry, w waiter) {
	if err := s.views.apply(e, &s.out); err != nil {
		s.fail(err)
		s.giveUp(w)
		return
	}
	out := &s.out
	switch e.Type { //nolint:exhaustive // nobody waits for the others
	case record.TypeMessage:
		s.o.Counts.Messages.Add(1)
		s.o.Counts.Bytes.Add(uint64(len(e.Body)))
		if w.op != nil {
			w.op.append.Entries[w.index] = storeapi.Appended{Code: out.code, LSN: out.lsn, Offset: int64(out.offset)} //nolint:gosec // dense from 0
			w.op.done(e.Term)
		}
	case record.TypePopGrant:
		s.appliedGrant(&e.Header, out)
	case record.TypeSettle:
		s.appliedSettle(out.results)
	case record.TypeDeadLetter:
		s.appliedDeadLetter(out, w)
	case record.TypeTermStart:
		s.lead(e.Term)
	case record.TypeTimeShift:
		s.shiftMS = max(s.shiftMS-out.shiftMS, 0)
	case record.TypeConfig:
		if out.config.Kind == record.ConfigStart {
			s.appliedStart(&out.config)
		}
	case record.TypeSeal:
		s.appliedSeal(e)
	case record.TypeTrim:
		s.appliedTrim(out.trim, e.LSN)
	}
	if out.topic != 0 && len(s.parking.byTopic) > 0 && (len(s.touched) == 0 || s.touched[len(s.touched)-1] != out.topic) {
		s.touched = append(s.touched, out.topic)
	}
}

// answerFences answers the controller when all that was sequenced is durable
// and applied.
func (s *Shard) answerFences() {
	if !s.failed() && (s.syncing != nil || !s.filling.empty()) {
		return
	}
	for _, answer := range s.fences {
		answer()
	}
	s.fences = nil
}
