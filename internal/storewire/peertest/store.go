// SPDX-License-Identifier: Apache-2.0

package peertest

import (
	"slices"
	"sync"
	"time"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
)

// term is the only one that a Store knows.
const term ident.Term = 1

// Store is a store in memory: every topic has queue 0 only, every group begins
// at the start. It forgets everything when it goes.
type Store struct {
	mu struct {
		sync.Mutex
		lsn      ident.LSN
		messages []*stored
		parks    []*waiter
		tickets  map[uint64]bool // open turns
		ticket   uint64
		timer    *time.Timer // wakes parks when a lease passes
	}
}

// stored is a message; leases hold what each group does with it.
type stored struct {
	lsn     ident.LSN
	topic   ident.Topic
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
}

type waiter struct {
	park *storeapi.Park
	done func(storeapi.Reply)
}

// answered is a completion to be called without the lock.
type answered struct {
	done  func(storeapi.Reply)
	reply storeapi.Reply
}

// NewStore makes an empty store.
func NewStore() *Store {
	s := &Store{}
	s.mu.tickets = make(map[uint64]bool)
	return s
}

// Submit answers every operation at once, from this goroutine, except Parks.
func (s *Store) Submit(ops []*storeapi.Op) {
	var out []answered
	now := time.Now()
	s.mu.Lock()
	for _, op := range ops {
		if !op.Deadline.IsZero() && !now.Before(op.Deadline) {
			out = append(out, answered{op.Done, storeapi.Reply{Code: storeapi.Expired}})
			continue
		}
		out = s.serve(op, now, out)
	}
	out = s.wake(now, out)
	s.mu.Unlock()
	call(out)
}

func call(out []answered) {
	for _, a := range out {
		a.reply.Term = term
		a.done(a.reply)
	}
}

func (s *Store) serve(op *storeapi.Op, now time.Time, out []answered) []answered {
	reply := storeapi.Reply{}
	switch q := op.Request.(type) {
	case *storeapi.Append:
		reply.Result = s.append(q, now)
	case *storeapi.Take:
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
		s.mu.parks = append(s.mu.parks, &waiter{q, op.Done})
		return out
	case *storeapi.Unpark:
		s.mu.parks = slices.DeleteFunc(s.mu.parks, func(w *waiter) bool {
			if w.park.ID == q.ID {
				out = append(out, answered{w.done, storeapi.Reply{Code: storeapi.Canceled}})
			}
			return w.park.ID == q.ID
		})
	case *storeapi.Decline:
		delete(s.mu.tickets, q.Ticket)
	case *storeapi.Offsets:
		reply.Result = s.offsets(q, now)
	case *storeapi.Query:
		reply.Result = s.query(q)
	}
	return append(out, answered{op.Done, reply})
}

func (s *Store) append(q *storeapi.Append, now time.Time) *storeapi.AppendResult {
	r := &storeapi.AppendResult{}
	for _, p := range q.Payloads {
		payload, err := message.Parse(slices.Clone(p))
		if err != nil {
			r.Entries = append(r.Entries, storeapi.Appended{Code: storeapi.Invalid})
			continue
		}
		s.mu.lsn += 8
		m := &stored{
			lsn: s.mu.lsn, topic: q.Topic, offset: s.next(q.Topic), timeMS: now.UnixMilli(),
			payload: payload, leases: make(map[ident.Group]*lease),
		}
		s.mu.messages = append(s.mu.messages, m)
		r.Entries = append(r.Entries, storeapi.Appended{LSN: m.lsn, Offset: int64(m.offset)}) //nolint:gosec // small
	}
	return r
}

func (s *Store) next(topic ident.Topic) (n ident.Offset) {
	for _, m := range s.mu.messages {
		if m.topic == topic {
			n++
		}
	}
	return n
}

func (m *stored) matches(f *storeapi.Filter) bool {
	tag, _ := message.Text(m.payload.Sys(), message.FieldTag)
	return f.Kind == storeapi.FilterAll || slices.Contains(f.Tags, tag)
}

func (m *stored) free(g ident.Group, now time.Time) bool {
	l := m.leases[g]
	return l == nil || !l.done && !now.Before(l.due)
}

func (s *Store) take(q *storeapi.Take, now time.Time) *storeapi.TakeResult {
	delete(s.mu.tickets, q.Ticket)
	due := now.Add(time.Duration(q.InvisibleMS) * time.Millisecond)
	r := &storeapi.TakeResult{Grant: s.mu.lsn + 8, Term: term, Generation: 1, DueMS: due.UnixMilli()}
	bytes := 0
	for _, m := range s.mu.messages {
		if len(r.Messages) == q.Max || len(r.Messages) > 0 && bytes+len(m.payload) > q.BytesMax {
			break
		}
		if m.topic != q.Topic || !m.free(q.Group, now) || !m.matches(&q.Filter) {
			continue
		}
		l := m.leases[q.Group]
		if l == nil {
			l = &lease{}
			m.leases[q.Group] = l
		}
		l.grant, l.due, l.attempts = r.Grant, due, l.attempts+1
		bytes += len(m.payload)
		r.Messages = append(r.Messages, storeapi.Taken{
			Offset: m.offset, Attempt: l.attempts, StoreMS: m.timeMS, Payload: slices.Clone(m.payload),
		})
	}
	if len(r.Messages) == 0 {
		return nil
	}
	s.mu.lsn = r.Grant
	return r
}

func (s *Store) settle(i *storeapi.SettleItem, now time.Time) storeapi.Code {
	for _, m := range s.mu.messages {
		if m.topic != i.Topic || m.offset != i.Offset {
			continue
		}
		l := m.leases[i.Group]
		switch {
		case l == nil:
			return storeapi.InvalidHandle
		case l.done && i.Verdict == storeapi.Ack:
			return storeapi.OK
		case l.done || l.grant != i.Grant || i.Term != term || !now.Before(l.due):
			return storeapi.InvalidHandle
		}
		switch i.Verdict {
		case storeapi.Ack, storeapi.Bury:
			l.done = true
		case storeapi.Extend:
			l.due = now.Add(time.Duration(i.MS) * time.Millisecond)
		case storeapi.Release:
			l.grant, l.due = 0, now.Add(time.Duration(i.MS)*time.Millisecond)
			if i.NoCount {
				l.attempts--
			}
		}
		return storeapi.OK
	}
	return storeapi.InvalidHandle
}

// wake gives a turn to the first waiter of each group for which something is
// free, and arms the timer for the next lease that passes.
func (s *Store) wake(now time.Time, out []answered) []answered {
	s.mu.parks = slices.DeleteFunc(s.mu.parks, func(w *waiter) bool {
		if len(s.mu.tickets) > 0 || !slices.ContainsFunc(s.mu.messages, func(m *stored) bool {
			return m.topic == w.park.Topic && m.free(w.park.Group, now) && m.matches(&w.park.Filter)
		}) {
			return false
		}
		s.mu.ticket++
		s.mu.tickets[s.mu.ticket] = true
		out = append(out, answered{w.done, storeapi.Reply{Code: storeapi.Ready, Result: &storeapi.ReadyResult{Ticket: s.mu.ticket}}})
		return true
	})
	if len(s.mu.parks) > 0 {
		s.arm(now)
	}
	return out
}

func (s *Store) arm(now time.Time) {
	var due time.Time
	for _, m := range s.mu.messages {
		for _, l := range m.leases {
			if !l.done && now.Before(l.due) && (due.IsZero() || l.due.Before(due)) {
				due = l.due
			}
		}
	}
	if due.IsZero() {
		return
	}
	if s.mu.timer != nil {
		s.mu.timer.Stop()
	}
	s.mu.timer = time.AfterFunc(due.Sub(now), func() { s.Submit(nil) })
}

func (s *Store) offsets(q *storeapi.Offsets, now time.Time) *storeapi.OffsetsResult {
	st := storeapi.QueueState{Next: s.next(q.Topic)}
	for _, m := range s.mu.messages {
		if m.topic != q.Topic {
			continue
		}
		switch l := m.leases[q.Group]; {
		case l == nil || !l.done && !now.Before(l.due):
			st.Ready++
		case l.done:
			st.Done++
		default:
			st.InFlight++
		}
	}
	return &storeapi.OffsetsResult{Queues: []storeapi.QueueState{st}}
}

func (s *Store) query(q *storeapi.Query) *storeapi.QueryResult {
	r := &storeapi.QueryResult{}
	for _, m := range s.mu.messages {
		id, _ := message.Text(m.payload.Sys(), message.FieldMessageID)
		keyed := slices.ContainsFunc(message.Texts(m.payload.Sys(), message.FieldKeys), func(k []byte) bool { return string(k) == q.Key })
		if m.topic == q.Topic && m.lsn > q.After && (id == q.MessageID && id != "" || keyed && q.Key != "") {
			r.Messages = append(r.Messages, storeapi.Found{LSN: m.lsn, Offset: int64(m.offset), StoreMS: m.timeMS, Payload: m.payload}) //nolint:gosec // small
		}
	}
	return r
}

// Parked is the number of waiters.
func (s *Store) Parked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.parks)
}

// Leased is the number of messages that some group holds a lease on.
func (s *Store) Leased() (n int) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mu.messages {
		for _, l := range m.leases {
			if !l.done && now.Before(l.due) {
				n++
			}
		}
	}
	return n
}
