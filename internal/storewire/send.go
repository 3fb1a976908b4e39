// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/internal/storeapi"
)

// creditStep is how many received bytes are given back at a time.
const creditStep = storeapi.BytesMax / 4

// outgoing is one operation that the sender is about to encode.
type outgoing struct {
	id uint64
	op *storeapi.Op
}

// sender is the one goroutine that sends on a stream.
type sender struct {
	l      *lane
	stream grpc.ClientStream
	build  builder
	batch  []outgoing
	credit int
}

// run sends what is queued until ctx ends, the stream breaks or the store says
// that it is closing, which is when closing is closed.
func (s *sender) run(ctx context.Context, closing <-chan struct{}) error {
	defer s.build.drop()
	for {
		more := s.gather()
		if len(s.batch) == 0 && s.credit == 0 && s.build.empty() {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-closing:
				return s.stream.CloseSend()
			case <-s.l.wake:
			}
			continue
		}
		if err := s.send(); err != nil {
			return err
		}
		if more {
			signal(s.l.wake)
		}
	}
}

// gather moves operations from the queue into the batch, as many as fit one
// message, and reports whether some are left.
func (s *sender) gather() (more bool) {
	l := s.l
	now := time.Now()
	var expired []completion
	l.mu.Lock()
	room := frameFull
	for l.mu.head < len(l.mu.queue) && room > 0 {
		id := l.mu.queue[l.mu.head]
		l.mu.head++
		slot := l.tableOf(id).get(id)
		if slot == nil {
			continue // completed while it waited
		}
		if d := slot.op.Deadline; !d.IsZero() && !now.Before(d) {
			expired = append(expired, completion{l.remove(id, slot), storeapi.Reply{Code: storeapi.Expired}})
			continue
		}
		slot.state = inHand
		s.batch = append(s.batch, outgoing{id, slot.op})
		room -= opHint(slot.op, slot.bytes)
	}
	more = l.mu.head < len(l.mu.queue)
	if l.mu.head > len(l.mu.queue)/2 { // so a queue that is never empty does not creep
		l.mu.queue, l.mu.head = append(l.mu.queue[:0], l.mu.queue[l.mu.head:]...), 0
	}
	if l.mu.credit >= creditStep {
		s.credit, l.mu.credit = l.mu.credit, 0
	}
	l.mu.Unlock()
	complete(expired)
	return more
}

// send encodes the batch into one message and hands it to the stream.
func (s *sender) send() error {
	now := time.Now()
	s.build.grow(firstFrame)
	s.build.frame = putCount(s.build.frame, 4, s.credit)
	s.credit = 0
	for i := range s.batch {
		o := &s.batch[i]
		bytes, _ := weigh(o.op)
		s.build.add(o.id, opHint(o.op, bytes), func(b []byte) []byte {
			return appendOp(b, o.id, o.op, o.op.Deadline.Sub(now))
		})
	}
	s.markWritten()
	s.build.addPart()
	return s.stream.SendMsg(s.build.take())
}

func (s *sender) markWritten() {
	l := s.l
	l.mu.Lock()
	for i := range s.batch {
		l.tableOf(s.batch[i].id).get(s.batch[i].id).state = written
	}
	l.mu.Unlock()
	clear(s.batch)
	s.batch = s.batch[:0]
}
