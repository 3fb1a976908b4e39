// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"container/list"
	"slices"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/view/delivery"
)

// ticketMS is how long a Ready may go unanswered before the next waiter gets it.
const ticketMS = 50

// place is where receives of one group on one topic wait.
type place struct {
	group ident.Group
	topic ident.Topic
}

// parked is one waiting receive.
type parked struct {
	op     *storeapi.Op
	park   *storeapi.Park
	filter delivery.Filter // of park, as hashes
	place  place
}

// ticket is a Ready that was sent and not followed yet.
type ticket struct {
	id    uint64
	place place
	dueMS int64 // monotonic
}

// parking holds waiting receives, first come first served per place, and the
// tickets under way. It grants nothing: whoever is woken must come and Take.
// Owned by the owner goroutine.
type parking struct {
	places  map[place]*list.List // of *parked
	byID    map[uint64]*list.Element
	byTopic map[ident.Topic][]ident.Group // groups that have a place, sorted
	tickets map[uint64]*ticket
	order   []uint64 // tickets by due time; answered ones stay until they are due
	out     map[place]int
	nextID  uint64
}

func newParking() *parking {
	return &parking{
		places: map[place]*list.List{}, byID: map[uint64]*list.Element{}, byTopic: map[ident.Topic][]ident.Group{},
		tickets: map[uint64]*ticket{}, out: map[place]int{},
	}
}

// add parks a receive. Two Parks with one id are the sender's bug: the second
// is refused.
func (p *parking) add(op *storeapi.Op, park *storeapi.Park, f delivery.Filter) storeapi.Code {
	if len(p.byID) >= storeapi.ParksMax {
		return storeapi.Overloaded
	}
	if _, taken := p.byID[park.ID]; taken {
		return storeapi.Invalid
	}
	at := place{park.Group, park.Topic}
	l := p.places[at]
	if l == nil {
		l = list.New()
		p.places[at] = l
		groups := p.byTopic[at.topic]
		i, _ := slices.BinarySearch(groups, at.group)
		p.byTopic[at.topic] = slices.Insert(groups, i, at.group)
	}
	p.byID[park.ID] = l.PushBack(&parked{op: op, park: park, filter: f, place: at})
	return storeapi.OK
}

// remove takes a waiter out; nil when there is none of that id.
func (p *parking) remove(id uint64) *parked {
	e := p.byID[id]
	if e == nil {
		return nil
	}
	w := e.Value.(*parked) //nolint:forcetypeassert // the lists hold nothing else
	delete(p.byID, id)
	l := p.places[w.place]
	l.Remove(e)
	if l.Len() == 0 {
		delete(p.places, w.place)
		groups := p.byTopic[w.place.topic]
		if i, ok := slices.BinarySearch(groups, w.place.group); ok {
			groups = slices.Delete(groups, i, i+1)
		}
		if p.byTopic[w.place.topic] = groups; len(groups) == 0 {
			delete(p.byTopic, w.place.topic)
		}
	}
	return w
}

// first returns the longest waiting receive of the place that pick accepts, and
// takes it out.
func (p *parking) first(at place, pick func(*parked) bool) *parked {
	l := p.places[at]
	if l == nil {
		return nil
	}
	for e := l.Front(); e != nil; e = e.Next() {
		if w := e.Value.(*parked); pick(w) { //nolint:forcetypeassert // see remove
			return p.remove(w.park.ID)
		}
	}
	return nil
}

// issue makes the ticket that goes with a Ready.
func (p *parking) issue(w *parked, monoMS int64) uint64 {
	p.nextID++
	p.tickets[p.nextID] = &ticket{id: p.nextID, place: w.place, dueMS: monoMS + ticketMS}
	p.order = append(p.order, p.nextID)
	p.out[w.place]++
	return p.nextID
}

// answered ends a ticket; false when it had run out.
func (p *parking) answered(id uint64) (*ticket, bool) {
	t := p.tickets[id]
	if t == nil {
		return nil, false
	}
	delete(p.tickets, id)
	p.out[t.place]--
	if p.out[t.place] == 0 {
		delete(p.out, t.place)
	}
	return t, true
}

// overdue ends and returns the tickets that nobody answered in time.
func (p *parking) overdue(monoMS int64) (due []*ticket) {
	for len(p.order) > 0 {
		t := p.tickets[p.order[0]]
		if t != nil && t.dueMS > monoMS {
			break
		}
		if t != nil {
			due = append(due, t)
			p.answered(t.id)
		}
		p.order = p.order[1:]
	}
	return due
}

// nextDueMS is when the oldest ticket runs out; 0 without one.
func (p *parking) nextDueMS() int64 {
	for len(p.order) > 0 {
		if t := p.tickets[p.order[0]]; t != nil {
			return t.dueMS
		}
		p.order = p.order[1:]
	}
	return 0
}

// clear takes all waiters out and forgets all tickets.
func (p *parking) clear() (waiting []*parked) {
	for _, l := range p.places {
		for e := l.Front(); e != nil; e = e.Next() {
			waiting = append(waiting, e.Value.(*parked)) //nolint:forcetypeassert // see remove
		}
	}
	nextID := p.nextID
	*p = *newParking()
	p.nextID = nextID
	return waiting
}
