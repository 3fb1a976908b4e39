// SPDX-License-Identifier: Apache-2.0

package park

import (
	"container/list"
	"time"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/invariant"
	"github.com/mansiomq/mansio/internal/storeapi"
)

// place is where receives of one key wait. All of it is guarded by the lot.
type place struct {
	lot     *Lot
	key     Key
	spot    Spot // of the newest receive: what to park with
	waiters list.List
	stalls  map[ident.Shard]*stall
	linger  alarm
	gone    bool // taken out of the lot; a receive that comes makes a new one

	queue    []func() // operations to hand over, in order
	flushing bool
}

type waiter struct {
	place *place
	elem  *list.Element // nil: it has left
	out   chan outcome  // capacity 1; gets one value when it leaves
	alarm alarm
}

type outcome struct {
	turn Turn
	code storeapi.Code
}

type state uint8

const (
	idle   state = iota
	parked       // a Park is under way
	turn         // a receive is taking
	paused       // waits for its alarm
)

// stall is a place's side of one shard.
type stall struct {
	place  *place
	shard  ident.Shard
	state  state
	park   uint64 // number of the Park under way
	failed int    // attempts in a row that brought nothing
	alarm  alarm
}

func (p *place) stall(shard ident.Shard) *stall {
	s := p.stalls[shard]
	if s == nil {
		s = &stall{place: p, shard: shard, alarm: alarm{index: -1}}
		s.alarm.stall = s
		p.stalls[shard] = s
	}
	return s
}

// settle parks on every shard that is idle, as long as somebody waits.
func (p *place) settle() {
	if p.waiters.Len() == 0 || p.gone {
		return
	}
	for _, shard := range p.spot.Shards {
		if s := p.stall(shard); s.state == idle {
			s.sendPark()
		}
	}
}

func (s *stall) sendPark() {
	p, l := s.place, s.place.lot
	l.mu.lastID++
	s.state, s.park = parked, l.mu.lastID
	id, spot := s.park, p.spot
	p.queue = append(p.queue, func() {
		l.o.Start(s.shard, &spot, &storeapi.Park{
			ID: id, Group: spot.Key.Group, Topic: spot.Key.Topic, Filter: spot.Filter, Client: spot.Client,
		}, func(r storeapi.Reply) { l.parkEnded(s, id, r) })
	})
}

// tell hands over an operation whose answer nobody waits for.
func (s *stall) tell(r storeapi.Request) {
	p, l := s.place, s.place.lot
	spot := p.spot
	p.queue = append(p.queue, func() { l.o.Start(s.shard, &spot, r, func(storeapi.Reply) {}) })
}

// leave takes a receive out of the place and tells it why.
func (w *waiter) leave(o outcome) {
	p := w.place
	invariant.Check(w.elem != nil, "a receive leaves its place twice")
	p.waiters.Remove(w.elem)
	w.elem = nil
	p.lot.mu.alarms.unset(&w.alarm)
	p.lot.mu.waiting--
	w.out <- o
	if p.waiters.Len() == 0 && !p.gone {
		p.lot.set(&p.linger, p.lot.o.Now().Add(lingerTime))
	}
}

// close gives up the place: nobody came for a while.
func (p *place) close() {
	p.gone = true
	delete(p.lot.mu.places, p.key)
	p.lot.mu.alarms.unset(&p.linger)
	for _, s := range p.stalls {
		p.lot.mu.alarms.unset(&s.alarm)
		if s.state == parked {
			s.tell(&storeapi.Unpark{ID: s.park})
		}
	}
}

// end ends all receives of the place with a code.
func (p *place) end(code storeapi.Code) {
	for e := p.waiters.Front(); e != nil; e = p.waiters.Front() {
		e.Value.(*waiter).leave(outcome{code: code}) //nolint:forcetypeassert // the list holds nothing else
	}
}

// pause keeps the stall from parking for a while that grows with each failure.
func (s *stall) pause(first, most time.Duration) {
	wait := first << min(s.failed, 10)
	s.failed++
	s.state = paused
	s.place.lot.set(&s.alarm, s.place.lot.o.Now().Add(min(wait, most)))
}
