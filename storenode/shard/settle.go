// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/delivery"
)

// settleItemsMax bounds one Settle entry, as its bytes do; a round may hold several.
const settleItemsMax = 4096

// openSettle gathers the settlements of a round: they become one entry when the
// round leaves, whoever sent them.
type openSettle struct {
	items []record.SettleItem
	waits []waiter
}

func (o *openSettle) reset() {
	o.items = o.items[:0]
	clear(o.waits)
	o.waits = o.waits[:0]
}

// sequenceSettle takes a client's settlements into the round. Buried messages
// need their bodies first and settle by an entry of their own.
func (s *Shard) sequenceSettle(op *storeapi.Op, r *storeapi.Settle) {
	p := newSettling(op, len(r.Items))
	if p.left == 0 {
		reply(op, storeapi.OK, s.tail.term, p.settle)
		return
	}
	if !s.innerRoom(p.left * settledBytes) {
		reply(op, storeapi.DiskFull, s.tail.term, nil)
		return
	}
	for i := range r.Items {
		it := &r.Items[i]
		item := record.SettleItem{
			Group: it.Group, Topic: it.Topic, Generation: it.Generation, Queue: it.Queue, Offset: it.Offset,
			Term: it.Term, Grant: it.Grant, NoCount: it.NoCount, MS: it.MS,
		}
		if !soundMS(it.MS) {
			s.settled(waiter{p, i}, storeapi.Invalid)
			continue
		}
		switch it.Verdict {
		case storeapi.Ack:
			item.Verdict = record.VerdictAck
		case storeapi.Extend:
			item.Verdict = record.VerdictExtend
		case storeapi.Release:
			item.Verdict = record.VerdictRelease
		case storeapi.Bury:
			s.sequenceBury(item, waiter{p, i})
			continue
		default:
			s.settled(waiter{p, i}, storeapi.Invalid)
			continue
		}
		s.addSettle(item, waiter{p, i})
	}
}

func (s *Shard) addSettle(item record.SettleItem, w waiter) {
	o := &s.filling.settle
	o.items, o.waits = append(o.items, item), append(o.waits, w)
	if n := len(o.items); n >= settleItemsMax || !s.fits((n+2)*settledBytes) { // the next one, and the head
		s.closeSettle()
	}
}

// closeSettle lays the gathered settlements out as an entry.
func (s *Shard) closeSettle() {
	o := &s.filling.settle
	if len(o.items) == 0 {
		return
	}
	body := record.Settle{Items: o.items}
	s.scratch = body.Append(s.scratch[:0])
	waits := s.takeWaits(o.waits)
	o.reset()
	s.put(record.TypeSettle, waiter{index: waits}, s.scratch)
}

// takeWaits keeps the waiters of a Settle entry until it is applied and returns
// where: entries are applied in order, so a queue is enough.
func (s *Shard) takeWaits(w []waiter) int {
	s.settling = append(s.settling, append([]waiter(nil), w...))
	return len(s.settling)
}

// settled finishes one settlement.
func (s *Shard) settled(w waiter, code storeapi.Code) {
	if w.op == nil {
		return
	}
	w.op.settle.Codes[w.index] = code
	w.op.done(s.tail.term)
}

// appliedSettle answers the settlements of an applied entry. What was given back
// the selector finds when it is due.
func (s *Shard) appliedSettle(results []delivery.Result) {
	waits := s.settling[0]
	s.settling[0] = nil
	s.settling = s.settling[1:]
	for i, r := range results {
		code := storeapi.OK
		if r.OK() {
			s.o.Counts.Settled.Add(1)
		} else {
			code = storeapi.InvalidHandle
			s.o.Counts.Refused.Add(1)
		}
		s.settled(waits[i], code)
	}
}

// sequenceBury forwards one delivery to the dead letters at its client's word. The
// dues that it looks at have not moved by the steps that are on their way.
func (s *Shard) sequenceBury(item record.SettleItem, w waiter) {
	switch r := s.views.deliveries.Check(&item, s.tail.timeMS-s.shiftMS); {
	case !r.OK():
		s.settled(w, storeapi.InvalidHandle)
	case r != delivery.Settled:
		s.settled(w, storeapi.OK)
	default:
		s.bury(deadLetter{
			group: item.Group, topic: item.Topic, generation: item.Generation, queue: item.Queue, offset: item.Offset,
			grant: item.Grant, reason: record.ReasonClient,
		}, w)
	}
}
