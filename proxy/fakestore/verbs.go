// SPDX-License-Identifier: Apache-2.0

package fakestore

import (
	"slices"
	"time"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
)

func (s *shard) append(q *storeapi.Append, now time.Time) *storeapi.AppendResult {
	r := &storeapi.AppendResult{}
	for _, b := range q.Payloads {
		p, err := message.Parse(slices.Clone(b))
		if err != nil || p.Topic() != q.Topic {
			r.Entries = append(r.Entries, storeapi.Appended{Code: storeapi.Invalid})
			continue
		}
		source := [2]uint64{p.Proxy(), p.Seq()}
		if first, repeated := s.seqs[source]; repeated && p.Proxy() != 0 {
			r.Entries = append(r.Entries, first)
			continue
		}
		s.lsn += 8
		at := place{q.Topic, p.Queue()}
		m := &stored{
			place: at, lsn: s.lsn, offset: ident.Offset(len(s.queues[at])), timeMS: now.UnixMilli(),
			payload: p, leases: make(map[ident.Group]*lease),
		}
		s.queues[at] = append(s.queues[at], m)
		s.order = append(s.order, m)
		s.seqs[source] = storeapi.Appended{LSN: m.lsn, Offset: int64(m.offset)} //nolint:gosec // small
		r.Entries = append(r.Entries, s.seqs[source])
	}
	return r
}

func (m *stored) matches(f *storeapi.Filter) bool {
	tag, tagged := message.Text(m.payload.Sys(), message.FieldTag)
	return f.Kind == storeapi.FilterAll || tagged && slices.Contains(f.Tags, tag)
}

func (m *stored) free(g ident.Group, now time.Time) bool {
	l := m.leases[g]
	return l == nil || !l.done && !now.Before(l.due)
}

func (s *shard) take(q *storeapi.Take, now time.Time) *storeapi.TakeResult {
	due := now.Add(time.Duration(q.InvisibleMS) * time.Millisecond)
	r := &storeapi.TakeResult{Grant: s.lsn + 8, Term: Term, Generation: 1, DueMS: due.UnixMilli()}
	bytes := 0
	for _, m := range s.order {
		if len(r.Messages) == q.Max || len(r.Messages) > 0 && q.BytesMax > 0 && bytes+len(m.payload) > q.BytesMax {
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
			Queue: m.queue, Offset: m.offset, Attempt: l.attempts, StoreMS: m.timeMS, Payload: slices.Clone(m.payload),
		})
	}
	if len(r.Messages) == 0 {
		return nil
	}
	s.lsn = r.Grant
	return r
}

func (s *shard) settle(i *storeapi.SettleItem, now time.Time) storeapi.Code {
	queue := s.queues[place{i.Topic, i.Queue}]
	if i.Offset >= ident.Offset(len(queue)) {
		return storeapi.InvalidHandle
	}
	l := queue[i.Offset].leases[i.Group]
	switch {
	case l == nil:
		return storeapi.InvalidHandle
	case l.done && i.Verdict == storeapi.Ack, l.buried && i.Verdict == storeapi.Bury:
		return storeapi.OK
	case l.done || l.grant != i.Grant || i.Term != Term || i.Generation != 1 || !now.Before(l.due):
		return storeapi.InvalidHandle
	}
	switch i.Verdict {
	case storeapi.Ack:
		l.done = true
	case storeapi.Bury:
		l.done, l.buried = true, true
	case storeapi.Extend:
		l.due = now.Add(time.Duration(i.MS) * time.Millisecond)
	case storeapi.Release:
		l.due = now.Add(time.Duration(i.MS) * time.Millisecond)
		if i.NoCount {
			l.attempts--
		}
	}
	return storeapi.OK
}

func (s *shard) offsets(q *storeapi.Offsets, now time.Time) *storeapi.OffsetsResult {
	r := &storeapi.OffsetsResult{}
	for at, queue := range s.queues {
		if at.topic != q.Topic {
			continue
		}
		st := storeapi.QueueState{Queue: at.queue, Next: ident.Offset(len(queue))}
		for _, m := range queue {
			switch l := m.leases[q.Group]; {
			case m.free(q.Group, now):
				st.Ready++
			case l.done:
				st.Done++
			default:
				st.InFlight++
			}
		}
		r.Queues = append(r.Queues, st)
	}
	slices.SortFunc(r.Queues, func(a, b storeapi.QueueState) int { return int(a.Queue) - int(b.Queue) }) //nolint:gosec // small
	return r
}

func (s *shard) query(q *storeapi.Query) *storeapi.QueryResult {
	r := &storeapi.QueryResult{}
	for _, m := range s.order {
		if m.topic != q.Topic || m.lsn <= q.After || !m.found(q) {
			continue
		}
		if len(r.Messages) == q.Max && q.Max > 0 {
			r.More = true
			break
		}
		r.Messages = append(r.Messages, storeapi.Found{
			LSN: m.lsn, Queue: m.queue, Offset: int64(m.offset), StoreMS: m.timeMS, Payload: slices.Clone(m.payload), //nolint:gosec // small
		})
	}
	return r
}

func (m *stored) found(q *storeapi.Query) bool {
	switch {
	case q.MessageID != "":
		id, _ := message.Text(m.payload.Sys(), message.FieldMessageID)
		return id == q.MessageID
	case q.Key != "":
		return slices.ContainsFunc(message.Texts(m.payload.Sys(), message.FieldKeys), func(k []byte) bool { return string(k) == q.Key })
	default:
		return q.FromMS <= m.timeMS && m.timeMS < q.ToMS
	}
}
