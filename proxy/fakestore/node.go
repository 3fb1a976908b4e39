// SPDX-License-Identifier: Apache-2.0

package fakestore

import (
	"slices"
	"sync"
	"time"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
)

// Term is the only term that a node knows.
const Term ident.Term = 1

// ticketTime is how long a Ready may go unanswered.
const ticketTime = 50 * time.Millisecond

// Node is a store node. Its methods may be called from any goroutine.
type Node struct {
	mu struct {
		sync.Mutex
		shards    map[ident.Shard]*shard
		intercept func(*storeapi.Op) bool
		log       []storeapi.Request
		signs     []storeapi.ClientSign
	}
}

type shard struct {
	lsn     ident.LSN
	queues  map[place][]*stored
	order   []*stored // by LSN
	seqs    map[[2]uint64]storeapi.Appended
	parks   []*waiter
	tickets map[uint64]*ticket
	ticket  uint64
	timer   *time.Timer
}

type place struct {
	topic ident.Topic
	queue ident.Queue
}

type stored struct {
	place
	lsn     ident.LSN
	offset  ident.Offset
	timeMS  int64
	payload message.Payload
	leases  map[ident.Group]*lease
}

type lease struct {
	grant    ident.LSN
	due      time.Time
	attempts int32
	done     bool
	buried   bool
}

type waiter struct {
	park *storeapi.Park
	done func(storeapi.Reply)
}

type ticket struct {
	group ident.Group
	topic ident.Topic
	due   time.Time
}

// completion is to be called without the lock.
type completion struct {
	done  func(storeapi.Reply)
	reply storeapi.Reply
}

// New makes a node without messages.
func New() *Node {
	n := &Node{}
	n.mu.shards = make(map[ident.Shard]*shard)
	return n
}

// Intercept has f see every operation first; true means that f has taken it over
// and completes it. nil ends that.
func (n *Node) Intercept(f func(*storeapi.Op) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.intercept = f
}

// Up says that operations reach it.
func (n *Node) Up() bool { return true }

// Submit serves operations.
func (n *Node) Submit(ops []*storeapi.Op) {
	for _, op := range ops {
		n.mu.Lock()
		intercept := n.mu.intercept
		n.mu.log = append(n.mu.log, op.Request)
		n.mu.Unlock()
		if intercept != nil && intercept(op) {
			continue
		}
		n.Serve(op)
	}
}

// Serve answers one operation as the store does, without asking Intercept.
func (n *Node) Serve(op *storeapi.Op) {
	now := time.Now()
	if !op.Deadline.IsZero() && !now.Before(op.Deadline) {
		op.Done(storeapi.Reply{Code: storeapi.Expired, Term: Term})
		return
	}
	n.mu.Lock()
	s := n.shard(op.Shard)
	out := n.serve(s, op, now)
	out = n.wake(op.Shard, s, now, out)
	n.mu.Unlock()
	complete(out)
}

func complete(out []completion) {
	for _, c := range out {
		c.reply.Term = Term
		c.done(c.reply)
	}
}

func (n *Node) shard(id ident.Shard) *shard {
	s := n.mu.shards[id]
	if s == nil {
		s = &shard{
			queues: make(map[place][]*stored), seqs: make(map[[2]uint64]storeapi.Appended), tickets: make(map[uint64]*ticket),
		}
		n.mu.shards[id] = s
	}
	return s
}

func (n *Node) serve(s *shard, op *storeapi.Op, now time.Time) (out []completion) {
	reply := storeapi.Reply{}
	switch q := op.Request.(type) {
	case *storeapi.Append:
		reply.Result = s.append(q, now)
	case *storeapi.Take:
		delete(s.tickets, q.Ticket)
		if r := s.take(q, now); r != nil {
			reply.Result = r
		} else {
			reply.Code = storeapi.None
		}
	case *storeapi.Settle:
		r := &storeapi.SettleResult{}
		for i := range q.Items {
			r.Codes = append(r.Codes, s.settle(&q.Items[i], now))
		}
		reply.Result = r
	case *storeapi.Park:
		s.parks = append(s.parks, &waiter{q, op.Done})
		return nil
	case *storeapi.Unpark:
		s.parks = slices.DeleteFunc(s.parks, func(w *waiter) bool {
			if w.park.ID == q.ID {
				out = append(out, completion{w.done, storeapi.Reply{Code: storeapi.Canceled}})
			}
			return w.park.ID == q.ID
		})
	case *storeapi.Decline:
		delete(s.tickets, q.Ticket)
	case *storeapi.Alive:
		n.mu.signs = append(n.mu.signs, q.Signs...)
	case *storeapi.Offsets:
		reply.Result = s.offsets(q, now)
	case *storeapi.Query:
		reply.Result = s.query(q)
	default:
		reply.Code = storeapi.Invalid
	}
	return append(out, completion{op.Done, reply})
}

// wake sends a Ready to the first waiter of each group and topic for which
// something is there and no ticket is under way.
func (n *Node) wake(id ident.Shard, s *shard, now time.Time, out []completion) []completion {
	for t, open := range s.tickets {
		if !now.Before(open.due) {
			delete(s.tickets, t)
		}
	}
	s.parks = slices.DeleteFunc(s.parks, func(w *waiter) bool {
		p := w.park
		for _, open := range s.tickets {
			if open.group == p.Group && open.topic == p.Topic {
				return false
			}
		}
		if !slices.ContainsFunc(s.order, func(m *stored) bool {
			return m.topic == p.Topic && m.free(p.Group, now) && m.matches(&p.Filter)
		}) {
			return false
		}
		s.ticket++
		s.tickets[s.ticket] = &ticket{p.Group, p.Topic, now.Add(ticketTime)}
		out = append(out, completion{w.done, storeapi.Reply{Code: storeapi.Ready, Result: &storeapi.ReadyResult{Ticket: s.ticket}}})
		return true
	})
	if len(s.parks) > 0 {
		n.arm(id, s, now)
	}
	return out
}

// arm looks at the waiters again when the next lease or ticket passes.
func (n *Node) arm(id ident.Shard, s *shard, now time.Time) {
	var due time.Time
	earlier := func(t time.Time) {
		if now.Before(t) && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	for _, m := range s.order {
		for _, l := range m.leases {
			if !l.done {
				earlier(l.due)
			}
		}
	}
	for _, t := range s.tickets {
		earlier(t.due)
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	if due.IsZero() {
		return
	}
	s.timer = time.AfterFunc(due.Sub(now), func() {
		n.mu.Lock()
		out := n.wake(id, s, time.Now(), nil)
		n.mu.Unlock()
		complete(out)
	})
}
