// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"maps"
	"slices"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/delivery"
)

// ticketsMax bounds the Readys of one place under way at once: each of them
// takes a batch, and when it does the next waiter is looked at.
const ticketsMax = 4

// park lets a receive wait; it is answered at once if there is something.
func (s *Shard) park(op *storeapi.Op, r *storeapi.Park) {
	if len(r.Client) > clientBytesMax {
		reply(op, storeapi.Invalid, s.tail.term, nil)
		return
	}
	if _, known := s.views.topics[r.Topic]; !known && s.told[configKey{record.ConfigTopic, uint64(r.Topic)}].deleted {
		reply(op, storeapi.TopicNotFound, s.tail.term, nil)
		return
	}
	key := delivery.Key{Group: r.Group, Topic: r.Topic}
	if s.innerRoom(0) {
		s.tellStart(op, key) // if it is not known, the Take that follows will say so
	}
	f := filterOf(&r.Filter)
	if r.Client != "" {
		s.subscriptions.Subscribed(key, r.Client, f, s.reading.Mono)
	}
	if code := s.parking.add(op, r, f); code != storeapi.OK {
		reply(op, code, s.tail.term, nil)
		return
	}
	s.wake(place{r.Group, r.Topic})
}

// wakeTopic looks after the receives of every group that wait for a topic.
func (s *Shard) wakeTopic(t ident.Topic) {
	for _, g := range slices.Backward(s.parking.byTopic[t]) { // a place may go away under way
		s.wake(place{g, t})
	}
}

// wake calls waiting receives of a place as long as there is something for
// them: the longest waiting first, passing over those whose filter has nothing.
func (s *Shard) wake(at place) {
	if !s.innerRoom(takeMax * takenBytes) {
		s.starved = true // whoever came would be refused
		return
	}
	for s.parking.out[at] < ticketsMax {
		tried := map[uint64]bool(nil)
		w := s.parking.first(at, func(w *parked) bool {
			if nothing, known := tried[w.filter.Key()]; known {
				return !nothing
			}
			ready := s.matchable(at, w.filter)
			if !ready {
				if tried == nil {
					tried = map[uint64]bool{}
				}
				tried[w.filter.Key()] = true
			}
			return ready
		})
		if w == nil {
			return
		}
		reply(w.op, storeapi.Ready, s.tail.term, &storeapi.ReadyResult{Ticket: s.parking.issue(w, s.reading.Mono)})
		if s.parking.out[at] > 0 && !s.plenty(at) {
			return
		}
	}
}

// plenty reports whether more than one receive's worth is waiting, so that
// several may be called at once.
func (s *Shard) plenty(at place) bool {
	key := delivery.Key{Group: at.group, Topic: at.topic}
	return s.views.progress(key).ready > uint64(s.parking.out[at])*batchTypical //nolint:gosec // a small count
}

// batchTypical is what official clients ask for at once.
const batchTypical = 32

// matchable reports whether a Take with that filter would lease something, and
// logs a skip when far too much lies before it that nobody wants. When the replica
// fails over it, nobody waits any more.
func (s *Shard) matchable(at place, f delivery.Filter) bool {
	key := delivery.Key{Group: at.group, Topic: at.topic}
	m := s.selector.Matchable(s.selectRequest(key, f, 1))
	if s.failed() {
		return false
	}
	if m.Skip {
		s.skip(key, f)
	}
	if m.More && len(s.unscanned) < unscannedMax && !slices.Contains(s.unscanned, at) {
		s.unscanned = append(s.unscanned, at)
	}
	return m.Ready
}

// unscannedMax bounds the places whose backlog is being scanned a piece at a
// time; others are looked at when something happens there.
const unscannedMax = 1024

// scanOn goes on with scans that stopped at their limit, so that a filter which
// matches little keeps nobody waiting.
func (s *Shard) scanOn() {
	if len(s.unscanned) == 0 {
		return
	}
	places := s.unscanned
	s.unscanned = nil
	for _, at := range places {
		s.wake(at)
	}
}

// feed calls the receives that waited for room on the disk.
func (s *Shard) feed() {
	if !s.starved || !s.innerRoom(takeMax*takenBytes) {
		return
	}
	s.starved = false
	s.wakeAll()
}

// wakeAll looks after all waiting receives.
func (s *Shard) wakeAll() {
	for _, at := range slices.Collect(maps.Keys(s.parking.places)) { // places go away under way
		s.wake(at)
	}
}

// skip logs that offsets which no subscription wants are done.
func (s *Shard) skip(key delivery.Key, f delivery.Filter) {
	if !s.innerRoom(0) || s.tellStart(&storeapi.Op{}, key) != storeapi.OK {
		return
	}
	sel := s.selector.Select(s.selectRequest(key, f, 0))
	if sel.Empty() || s.failed() {
		return
	}
	s.putGrant(&record.PopGrant{Group: key.Group, Topic: key.Topic, Generation: sel.Generation, Items: sel.Items}, granting{selection: sel})
}

// followed ends a ticket; one that was declined wakes the next waiter.
func (s *Shard) followed(ticket uint64, declined bool) {
	if ticket == 0 {
		return
	}
	if t, ok := s.parking.answered(ticket); ok && declined {
		s.wake(t.place)
	}
}
