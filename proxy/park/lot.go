// SPDX-License-Identifier: Apache-2.0

package park

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

const (
	// Max bounds the receives that wait in one proxy: each holds its caller's
	// goroutine and stream, about 10 KiB.
	Max = 65536
	// lingerTime is how long Parks outlive the last receive of their place: a
	// client that handled what it got comes back before.
	lingerTime = 2 * time.Second
	// retryFirst and retryMax bound the pause after a Park failed: the leader is
	// away, and will be back soon or not for a while.
	retryFirst = 50 * time.Millisecond
	retryMax   = time.Second
	// emptyFirst and emptyMax bound the pause after a turn found nothing although
	// the shard had said Ready twice in a row.
	emptyFirst = 5 * time.Millisecond
	emptyMax   = 500 * time.Millisecond
)

// Key says which receives may share a place: those that want the same.
type Key struct {
	Group  ident.Group
	Topic  ident.Topic
	Filter string // filter.Key
}

// Spot is what a receive waits for.
type Spot struct {
	Key    Key
	Filter storeapi.Filter
	Topic  *controlv1.Topic
	Group  *controlv1.Group
	Start  *controlv1.Start
	Shards []ident.Shard
	Client string
}

// Options says what a lot works with.
type Options struct {
	// Start hands an operation for a shard over and does not wait; done gets the
	// reply, possibly before Start returns.
	Start func(shard ident.Shard, s *Spot, r storeapi.Request, done func(storeapi.Reply))
	Now   func() time.Time
	Max   int // 0: Max
}

// Lot holds the waiting receives. All methods may be called from any goroutine.
type Lot struct {
	o    Options
	kick chan struct{} // capacity 1: an alarm became the earliest
	mu   struct {
		sync.Mutex
		places   map[Key]*place
		alarms   alarms
		lastID   uint64 // of Parks
		waiting  int
		draining bool
	}
}

// New makes an empty lot.
func New(o Options) *Lot {
	if o.Max == 0 {
		o.Max = Max
	}
	l := &Lot{o: o, kick: make(chan struct{}, 1)}
	l.mu.places = make(map[Key]*place)
	return l
}

// Turn is one receive's turn to take from a shard. Done or GiveBack must follow.
type Turn struct {
	Shard  ident.Shard
	Ticket uint64
	stall  *stall
}

// Waiting is how many receives wait.
func (l *Lot) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.waiting
}

// View is what a lot knows of a shard.
type View uint8

// The views.
const (
	Unseen View = iota // ask the shard
	Empty              // it has nothing for the place, else it would have said so
	Away               // it could not be asked a moment ago, and will be again
)

// View returns what a place knows of the shard.
func (l *Lot) View(k Key, shard ident.Shard) View {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.mu.places[k]
	if p == nil || p.stalls[shard] == nil {
		return Unseen
	}
	switch p.stalls[shard].state {
	case parked:
		return Empty
	case paused:
		return Away
	default:
		return Unseen
	}
}

// Wait waits until it is the receive's turn (Ready), its time is over or the lot
// is drained (None), the caller is gone (Canceled), or it cannot be served (the
// store's code, or Overloaded).
func (l *Lot) Wait(ctx context.Context, s *Spot, until time.Time) (Turn, storeapi.Code) {
	l.mu.Lock()
	if l.mu.draining || !l.o.Now().Before(until) {
		l.mu.Unlock()
		return Turn{}, storeapi.None
	}
	if l.mu.waiting >= l.o.Max {
		l.mu.Unlock()
		return Turn{}, storeapi.Overloaded
	}
	w := l.enter(s, until)
	p := w.place
	l.flush(p)
	select {
	case o := <-w.out:
		return o.turn, o.code
	case <-ctx.Done():
	}
	l.mu.Lock()
	if w.elem != nil {
		w.leave(outcome{code: storeapi.Canceled})
	}
	l.flush(p)
	o := <-w.out
	if o.code == storeapi.Ready { // the turn came while the caller went
		l.GiveBack(o.turn)
		o = outcome{code: storeapi.Canceled}
	}
	return o.turn, o.code
}

func (l *Lot) enter(s *Spot, until time.Time) *waiter {
	p := l.mu.places[s.Key]
	if p == nil {
		p = &place{lot: l, key: s.Key, stalls: make(map[ident.Shard]*stall), linger: alarm{index: -1}}
		p.linger.place = p
		l.mu.places[s.Key] = p
	}
	p.spot = *s
	w := &waiter{place: p, out: make(chan outcome, 1), alarm: alarm{index: -1}}
	w.alarm.waiter = w
	w.elem = p.waiters.PushBack(w)
	l.mu.waiting++
	l.mu.alarms.unset(&p.linger)
	l.set(&w.alarm, until)
	p.settle()
	return w
}

// Done ends a turn. found says whether the Take leased something.
func (l *Lot) Done(t Turn, found bool) {
	l.mu.Lock()
	s := t.stall
	s.state = idle
	switch {
	case found:
		s.failed = 0
	case s.failed > 0 && !s.place.gone:
		s.pause(emptyFirst, emptyMax)
	default:
		s.failed++
	}
	s.place.settle()
	l.flush(s.place)
}

// GiveBack ends a turn that nobody will use.
func (l *Lot) GiveBack(t Turn) {
	l.mu.Lock()
	t.stall.state = idle
	t.stall.tell(&storeapi.Decline{Ticket: t.Ticket})
	t.stall.place.settle()
	l.flush(t.stall.place)
}

// parkEnded takes the answer to a Park.
func (l *Lot) parkEnded(s *stall, id uint64, r storeapi.Reply) {
	l.mu.Lock()
	p := s.place
	if s.state != parked || s.park != id {
		l.mu.Unlock()
		return
	}
	s.state = idle
	ready, _ := r.Result.(*storeapi.ReadyResult)
	switch {
	case r.Code == storeapi.Ready && ready != nil:
		if front := p.waiters.Front(); front != nil {
			s.state = turn
			t := Turn{Shard: s.shard, Ticket: ready.Ticket, stall: s}
			front.Value.(*waiter).leave(outcome{t, storeapi.Ready}) //nolint:forcetypeassert // the list holds nothing else
		} else {
			s.tell(&storeapi.Decline{Ticket: ready.Ticket})
		}
	case p.gone:
	case passes(r.Code):
		s.pause(retryFirst, retryMax)
	default:
		p.end(r.Code)
	}
	l.flush(p)
}

// passes says which failures of a Park are over after a while.
func passes(c storeapi.Code) bool {
	switch c {
	case storeapi.NotLeader, storeapi.Unavailable, storeapi.Unknown, storeapi.Overloaded, storeapi.Expired,
		storeapi.NeedConfig, storeapi.Canceled, storeapi.None, storeapi.OK:
		return true
	default:
		return false
	}
}

// flush hands over the place's operations, in order, without the lock; whoever
// comes while that goes on leaves it to the one who does. It unlocks.
func (l *Lot) flush(p *place) {
	if p.flushing {
		l.mu.Unlock()
		return
	}
	p.flushing = true
	for len(p.queue) > 0 {
		queue := p.queue
		p.queue = nil
		l.mu.Unlock()
		for _, submit := range queue {
			submit()
		}
		l.mu.Lock()
	}
	p.flushing = false
	l.mu.Unlock()
}

func (l *Lot) set(a *alarm, at time.Time) {
	if l.mu.alarms.set(a, at) {
		select {
		case l.kick <- struct{}{}:
		default:
		}
	}
}

// Run keeps the deadlines until ctx is done, then ends all waiting and returns nil.
func (l *Lot) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			l.shut()
			return nil
		case <-timer.C:
		case <-l.kick:
		}
		if next, ok := l.ring(); ok {
			timer.Reset(next)
		}
	}
}

// ring does what is due and returns how long until the next alarm.
func (l *Lot) ring() (next time.Duration, ok bool) {
	for {
		l.mu.Lock()
		now := l.o.Now()
		a := l.mu.alarms.due(now)
		if a == nil {
			if len(l.mu.alarms) > 0 {
				next, ok = l.mu.alarms[0].at.Sub(now), true
			}
			l.mu.Unlock()
			return next, ok
		}
		var p *place
		switch {
		case a.waiter != nil:
			p = a.waiter.place
			a.waiter.leave(outcome{code: storeapi.None})
		case a.stall != nil:
			p = a.stall.place
			a.stall.state = idle
			p.settle()
		default:
			p = a.place
			if p.waiters.Len() == 0 {
				p.close()
			}
		}
		l.flush(p)
	}
}

// Drain lets no receive in any more and ends those that wait, spread evenly over
// the time given so that their clients do not all come back at once.
func (l *Lot) Drain(over time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.draining = true
	now := l.o.Now()
	for _, a := range l.mu.alarms {
		if a.waiter == nil {
			continue
		}
		soon := now
		if over > 0 {
			soon = now.Add(rand.N(over))
		}
		if soon.Before(a.at) {
			a.at = soon
		}
	}
	heap.Init(&l.mu.alarms)
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// shut ends everything: the process stops.
func (l *Lot) shut() {
	l.mu.Lock()
	l.mu.draining = true
	places := make([]*place, 0, len(l.mu.places))
	for _, p := range l.mu.places {
		places = append(places, p)
	}
	l.mu.Unlock()
	for _, p := range places {
		l.mu.Lock()
		p.end(storeapi.None)
		if !p.gone {
			p.close()
		}
		l.flush(p)
	}
}
