// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"cmp"
	"slices"

	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/delivery"
	"github.com/mansiomq/mansio/storenode/view/queue"
)

const (
	// queryMax bounds the messages of one answer, whatever is asked for.
	queryMax = 256
	// queryBytesMax bounds their bodies.
	queryBytesMax = 8 << 20
)

// progress is how far a group is in a topic on this shard.
type progress struct{ ready, inFlight, done uint64 }

func (v *views) progressIn(key delivery.Key, q queue.State) progress {
	at, ok := v.deliveries.Position(key, q.Queue)
	if !ok {
		return progress{ready: uint64(q.Next - q.Min)}
	}
	fresh := uint64(max(q.Next, at.Next) - max(at.Next, q.Min))
	return progress{
		ready: fresh + at.Available, inFlight: at.InFlight,
		done: uint64(at.Next-at.Base) - at.InFlight - at.Available,
	}
}

func (v *views) progress(key delivery.Key) (sum progress) {
	for q := range v.queues.QueuesOf(key.Topic) {
		p := v.progressIn(key, q)
		sum.ready += p.ready
		sum.inFlight += p.inFlight
		sum.done += p.done
	}
	return sum
}

// offsets answers with the topic's queues and, if asked, a group's progress.
func (s *Shard) offsets(r *storeapi.Offsets) *storeapi.OffsetsResult {
	out := &storeapi.OffsetsResult{}
	for q := range s.views.queues.QueuesOf(r.Topic) {
		st := storeapi.QueueState{Queue: q.Queue, Min: q.Min, Next: q.Next}
		if r.Group != 0 {
			p := s.views.progressIn(delivery.Key{Group: r.Group, Topic: r.Topic}, q)
			st.Ready, st.InFlight, st.Done = p.ready, p.inFlight, p.done
		}
		out.Queues = append(out.Queues, st)
	}
	slices.SortFunc(out.Queues, func(a, b storeapi.QueueState) int { return cmp.Compare(a.Queue, b.Queue) })
	return out
}

// query finds messages; it reads on a reader goroutine.
func (s *Shard) query(op *storeapi.Op, r *storeapi.Query) {
	if s.views.topics[r.Topic] == nil {
		reply(op, storeapi.OK, s.tail.term, &storeapi.QueryResult{})
		return
	}
	term, limit := s.tail.term, s.views.applied.End()
	active := activePart{s.views.keys.Snapshot(), limit}
	if lsn, ok := s.views.queues.Since(r.FromMS); ok {
		active.since = lsn
	}
	s.read(func() {
		found, err := s.search(r, active, limit)
		if err != nil {
			s.unreadable(err)
			reply(op, storeapi.Unavailable, term, nil)
			return
		}
		reply(op, storeapi.OK, term, found)
	})
}

// matches compares the texts that the hashes stand for.
func matches(r *storeapi.Query, p message.Payload) bool {
	if p.Topic() != r.Topic {
		return false
	}
	switch {
	case r.MessageID != "":
		id, _ := message.Text(p.Sys(), message.FieldMessageID)
		return id == r.MessageID
	case r.Key != "":
		return slices.ContainsFunc(message.Texts(p.Sys(), message.FieldKeys), func(k []byte) bool { return string(k) == r.Key })
	}
	return true
}

// found collects an answer up to its limits.
type found struct {
	result storeapi.QueryResult
	max    int
	bytes  int
}

// add reports whether there is room for more.
func (f *found) add(m *stored) bool {
	if len(f.result.Messages) >= f.max || f.bytes >= queryBytesMax {
		f.result.More = true
		return false
	}
	f.bytes += len(m.payload)
	f.result.Messages = append(f.result.Messages, storeapi.Found{
		LSN: m.lsn, Queue: m.payload.Queue(), Offset: -1, StoreMS: m.timeMS, Payload: m.payload,
	})
	return true
}

// payloadOf returns the message that an entry carries, if it carries one.
func payloadOf(e *record.Entry) (message.Payload, bool) {
	body := e.Body
	switch e.Type {
	case record.TypeMessage:
	case record.TypeDeadLetter:
		d, err := record.DecodeDeadLetter(e.Body)
		if err != nil {
			return nil, false
		}
		body = d.Payload
	default:
		return nil, false
	}
	p, err := message.Parse(body)
	return p, err == nil
}
