// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"cmp"
	"slices"
	"time"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/delivery"
	"github.com/mansiomq/mansio/storenode/view/queue"
)

const (
	// takeMax bounds the messages of one Take, whatever it asks for.
	takeMax = 1024
	// leaseMSMax is the longest lease, and the longest wait until what was given
	// back is visible: as long as clients may ask for.
	leaseMSMax = int64(12 * time.Hour / time.Millisecond)
	// clientBytesMax bounds a client id: it is written with every lease that its
	// owner keeps by signs of life, and with every sign.
	clientBytesMax = 255
)

// granting is a PopGrant on its way: what was selected, for whom.
type granting struct {
	op        *storeapi.Op
	take      *storeapi.Take
	selection *delivery.Selection
}

// sequenceTake leases what is visible now.
func (s *Shard) sequenceTake(op *storeapi.Op, r *storeapi.Take) {
	s.followed(r.Ticket, false)
	key := delivery.Key{Group: r.Group, Topic: r.Topic}
	if code := s.admitTake(op, r, key); code != storeapi.OK {
		s.refuseTake(op, r, code)
		return
	}
	f := filterOf(&r.Filter)
	if r.Client != "" {
		s.subscriptions.Subscribed(key, r.Client, f, s.reading.Mono)
	}
	req := s.selectRequest(key, f, min(r.Max, takeMax))
	req.BytesMax = int64(r.BytesMax)
	sel := s.selector.Select(req)
	switch {
	case s.failed(): // the selection read what cannot be mended
		reply(op, storeapi.NotLeader, s.machine.Term(), nil)
		return
	case sel.Empty() && sel.More:
		if n, code := s.inbox.put([]*storeapi.Op{op}); n == 0 { // the scan goes on after what else waits
			s.refuseTake(op, r, code)
		}
		return
	case sel.Empty():
		s.refuseTake(op, r, storeapi.None)
		return
	}
	grant := record.PopGrant{
		Group: r.Group, Topic: r.Topic, Generation: sel.Generation, InvisibleMS: r.InvisibleMS,
		AttemptHash: r.AttemptHash, Items: sel.Items,
	}
	if r.AutoRenew {
		grant.Owner = r.Client
	}
	s.putGrant(&grant, granting{op, r, sel})
}

// admitTake says whether a Take may choose, after the log holds all that its grant
// depends on.
func (s *Shard) admitTake(op *storeapi.Op, r *storeapi.Take, key delivery.Key) storeapi.Code {
	if !soundMS(r.InvisibleMS) || len(r.Client) > clientBytesMax {
		return storeapi.Invalid
	}
	switch {
	case r.RegrantOnly || r.Max <= 0:
		return storeapi.None
	case !s.innerRoom(min(r.Max, takeMax) * takenBytes):
		return storeapi.DiskFull
	}
	if code := s.tell(op, record.ConfigTopic, uint64(r.Topic), op.TopicRevision); code != storeapi.OK {
		return code
	}
	if code := s.tell(op, record.ConfigGroup, uint64(r.Group), op.GroupRevision); code != storeapi.OK {
		return code
	}
	return s.tellStart(op, key)
}

// soundMS reports whether a client may ask for so much time.
func soundMS(ms int64) bool { return ms >= 0 && ms <= leaseMSMax }

// refuseTake answers a Take that takes nothing: then the next waiter is called.
func (s *Shard) refuseTake(op *storeapi.Op, r *storeapi.Take, code storeapi.Code) {
	reply(op, code, s.tail.term, nil)
	s.wake(place{r.Group, r.Topic})
}

// putGrant lays a PopGrant out; grants are applied in order, so a queue finds
// what waits for one. One that is larger than a segment is given up; a selection
// is far smaller than any segment but those of tests.
func (s *Shard) putGrant(b *record.PopGrant, g granting) {
	s.scratch = b.Append(s.scratch[:0])
	if !s.fits(len(s.scratch)) {
		s.selector.Cancel(g.selection)
		if g.op != nil {
			reply(g.op, storeapi.Internal, s.tail.term, nil)
		}
		return
	}
	s.granting = append(s.granting, g)
	s.put(record.TypePopGrant, waiter{}, s.scratch)
}

// selectRequest describes the topic's queues on this shard to the selector. The
// result is valid until the next call.
func (s *Shard) selectRequest(key delivery.Key, f delivery.Filter, n int) *delivery.SelectRequest {
	s.queueStates = s.queueStates[:0]
	for q := range s.views.queues.QueuesOf(key.Topic) {
		s.queueStates = append(s.queueStates, delivery.QueueState{ID: q.Queue, Min: q.Min, Next: q.Next})
	}
	slices.SortFunc(s.queueStates, func(a, b delivery.QueueState) int { return cmp.Compare(a.ID, b.ID) })
	return &delivery.SelectRequest{
		Key: key, Max: n, Filter: f, Audience: s.subscriptions.Audience(key, s.reading.Mono), NowMS: s.tail.timeMS,
		Queues: s.queueStates, Start: s.starts[key],
		First: func(q ident.Queue, rule delivery.Start) (ident.Offset, bool) {
			return s.startOffset(key, q, rule)
		},
		Postings: func(q ident.Queue, from ident.Offset, dst []delivery.Posting) int {
			return s.postings(key.Topic, q, from, dst)
		},
		InFlightMax: int(s.views.groups[key.Group].GetInFlightMax()),
	}
}

// postings reads tag hashes and sizes for a selection that needs them.
func (s *Shard) postings(t ident.Topic, q ident.Queue, from ident.Offset, dst []delivery.Posting) int {
	s.postingRow = slices.Grow(s.postingRow[:0], len(dst))[:len(dst)]
	n := s.views.queues.ActiveRange(t, q, from, s.postingRow)
	if n == 0 {
		var err error
		if n, err = s.archive.Read(t, q, from, s.postingRow); err != nil {
			s.unread(err)
			return 0
		}
	}
	for i, p := range s.postingRow[:n] {
		dst[i] = delivery.Posting{TagHash: p.TagHash, Bytes: p.Bytes}
	}
	return n
}

// filterOf translates a filter to hashes.
func filterOf(f *storeapi.Filter) delivery.Filter {
	if f.Kind == storeapi.FilterAll {
		return delivery.Filter{}
	}
	return delivery.TagFilter(f.Tags)
}

// appliedGrant sends the bodies of what a PopGrant leased to its receive.
func (s *Shard) appliedGrant(h *record.Header, out *outcome) {
	g := s.granting[0]
	s.granting[0] = granting{}
	s.granting = s.granting[1:]
	s.selector.Applied(g.selection)
	if g.op == nil {
		return
	}
	if len(out.grant.Granted) == 0 {
		s.refuseTake(g.op, g.take, storeapi.None)
		return
	}
	d := &deliver{
		s: s, op: g.op, take: g.take, term: h.Term,
		result: storeapi.TakeResult{
			Grant: h.LSN, Term: h.Term, Generation: out.popped.Generation, DueMS: h.TimeMS + out.popped.InvisibleMS,
			Messages: make([]storeapi.Taken, len(out.grant.Granted)),
		},
		places: make([]queue.Posting, len(out.grant.Granted)),
	}
	for i, got := range out.grant.Granted {
		d.result.Messages[i] = storeapi.Taken{Queue: got.Queue, Offset: got.Offset, Attempt: int32(got.Attempts)} //nolint:gosec // ≤ 255
		d.places[i], _ = s.views.queues.Active(out.popped.Topic, got.Queue, got.Offset)
	}
	s.o.Counts.Leased.Add(uint64(len(out.grant.Granted)))
	s.read(d.run)
	s.wake(place{out.popped.Group, out.popped.Topic})
}

// deliver reads the bodies of one grant, away from the owner goroutine.
type deliver struct {
	s      *Shard
	op     *storeapi.Op
	take   *storeapi.Take
	term   ident.Term
	result storeapi.TakeResult
	places []queue.Posting // LSN 0: in a sealed segment

	back    []storeapi.SettleItem // what it gives back
	differs []storeapi.Taken      // of those: only the hash of the tag is wanted
}

func (d *deliver) run() {
	kept := d.result.Messages[:0]
	size := 0
	for i := range d.result.Messages {
		m := d.result.Messages[i]
		stored, err := d.s.stored(d.take.Topic, m.Queue, m.Offset, d.places[i])
		switch {
		case fault.Is(err, fault.NotFound):
			continue // retention took it meanwhile
		case err != nil:
			d.s.unreadable(err)
			d.release(&m, unreadAgainMS)
			continue
		case !wants(&d.take.Filter, stored.payload):
			d.differs = append(d.differs, m)
			d.release(&m, 0)
			continue
		case len(kept) > 0 && d.take.BytesMax > 0 && size+len(stored.payload) > d.take.BytesMax:
			d.release(&m, 0)
			continue
		}
		m.Payload, m.StoreMS = stored.payload, stored.timeMS
		size += len(m.Payload)
		kept = append(kept, m)
	}
	if len(d.back) > 0 {
		key, filter := delivery.Key{Group: d.take.Group, Topic: d.take.Topic}, filterOf(&d.take.Filter)
		d.s.later(func() { d.giveBack(key, filter) })
	}
	d.result.Messages = kept
	code := storeapi.OK
	if len(kept) == 0 {
		code = storeapi.None
	}
	reply(d.op, code, d.term, &d.result)
}

// release gives one message of the grant back: it could not be read, it did not
// fit, or its tag only has the hash of a wanted one.
func (d *deliver) release(m *storeapi.Taken, afterMS int64) {
	d.back = append(d.back, storeapi.SettleItem{
		Delivery: storeapi.Delivery{
			Group: d.take.Group, Topic: d.take.Topic, Generation: d.result.Generation, Queue: m.Queue, Offset: m.Offset,
			Term: d.result.Term, Grant: d.result.Grant,
		},
		Verdict: storeapi.Release, NoCount: true, MS: afterMS,
	})
}

// giveBack logs the releases, on the owner goroutine. Whoever is called for them
// later is not called for a tag of which only the hash is wanted. The operation may
// have been answered by then.
func (d *deliver) giveBack(key delivery.Key, filter delivery.Filter) {
	s := d.s
	if !s.leads() || s.ending() {
		return
	}
	for i := range d.differs {
		s.selector.Differs(key, filter, d.differs[i].Queue, d.differs[i].Offset)
	}
	s.sequenceSettle(&storeapi.Op{Done: func(storeapi.Reply) {}}, &storeapi.Settle{Items: d.back})
}

// wants compares the tag's text: hashes only find.
func wants(f *storeapi.Filter, p message.Payload) bool {
	if f.Kind == storeapi.FilterAll || len(f.Tags) == 0 {
		return true
	}
	tag, ok := message.Text(p.Sys(), message.FieldTag)
	return ok && slices.Contains(f.Tags, tag)
}
