// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mansiomq/mansio/internal/storeapi"
)

func protocolError(err error) error {
	return status.Error(codes.InvalidArgument, "store protocol: "+err.Error())
}

// send sends answers until the proxy has ended its side and all is answered. An
// error means that the stream is broken.
func (ss *session) send(ctx context.Context) (err error) {
	defer ss.server.contain(&err)
	for {
		finished, mayGo := ss.fill()
		if finished {
			return nil
		}
		if !mayGo {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-ss.wake:
			}
			continue
		}
		last := ss.build.addPart()
		frame := ss.build.take()
		n := len(*frame.buf)
		if err := ss.stream.SendMsg(frame); err != nil {
			return err
		}
		ss.sent(n, last)
	}
}

// fill moves answers into the message until it is full, and tells whether the
// session is over, else whether there is something that may be sent.
func (ss *session) fill() (finished, mayGo bool) {
	ss.mu.Lock()
	tell := ss.mu.closing && !ss.told
	popped := ss.pop()
	over := ss.mu.ended && ss.mu.inFlight == 0 && len(ss.mu.out) == 0
	mayGo = !ss.read || ss.mu.credit > 0 || ss.mu.ended // who has ended its side cannot give credit any more
	ss.mu.Unlock()

	if tell {
		ss.told = true
		ss.build.grow(firstFrame)
		ss.build.frame = putBool(ss.build.frame, 4, true)
	}
	for i := range popped {
		ss.encode(&popped[i])
	}
	if ss.build.empty() {
		return over, false
	}
	return false, mayGo
}

// pop takes about as many answers as fit the message. The lock is held.
func (ss *session) pop() []answer {
	room := frameFull - len(ss.build.frame)
	n := 0
	for ; n < len(ss.mu.out) && room > 0; n++ {
		room -= replyHint(&ss.mu.out[n].reply)
	}
	ss.popped = append(ss.popped[:0], ss.mu.out[:n]...)
	rest := copy(ss.mu.out, ss.mu.out[n:])
	clear(ss.mu.out[rest:])
	ss.mu.out = ss.mu.out[:rest]
	return ss.popped
}

// encode adds one answer to the message, or to the parts.
func (ss *session) encode(a *answer) {
	hint := replyHint(&a.reply)
	if hint > totalMax {
		ss.submit(appendUndo(nil, a))
		a.from, a.reply = nil, storeapi.Reply{Code: storeapi.Internal, Detail: "the answer is too large"}
		hint = 0
	}
	whole := ss.build.add(a.id, hint, func(b []byte) []byte {
		return appendReply(b, a.id, &a.reply)
	})
	switch {
	case !whole:
		ss.cutting = append(ss.cutting, *a)
	case a.from != nil:
		ss.unsent = append(ss.unsent, *a)
	}
	*a = answer{}
}

// sent takes note that a message of n bytes, maybe with the last part of a large
// answer, is with gRPC; and submits Takes that fit now.
func (ss *session) sent(n int, last bool) {
	released := 0
	for i := range ss.unsent {
		released += ss.unsent[i].reserved
	}
	clear(ss.unsent)
	ss.unsent = ss.unsent[:0]
	if last {
		released += ss.cutting[0].reserved
		ss.cutting[0] = answer{}
		ss.cutting = ss.cutting[1:]
	}
	ss.mu.Lock()
	ss.mu.credit -= n
	ss.mu.reserved -= released
	ops := ss.unhold(time.Now())
	ss.mu.Unlock()
	ss.submit(ops)
}

// unhold returns the held Takes for which there is room now. The lock is held.
func (ss *session) unhold(now time.Time) (ops []*storeapi.Op) {
	for len(ss.mu.held) > 0 {
		p := ss.mu.held[0]
		if d := p.op.Deadline; !d.IsZero() && !now.Before(d) {
			ss.mu.inFlight--
			ss.mu.out = append(ss.mu.out, answer{id: p.id, reply: storeapi.Reply{Code: storeapi.Expired}})
		} else if ss.reserve(p) {
			ops = append(ops, &p.op)
		} else {
			return ops
		}
		ss.mu.held[0] = nil
		ss.mu.held = ss.mu.held[1:]
	}
	return ops
}

// replyHint is about how long a reply becomes.
func replyHint(reply *storeapi.Reply) int {
	n := 64 + len(reply.Leader) + len(reply.Detail)
	switch r := reply.Result.(type) {
	case *storeapi.AppendResult:
		n += 32 * len(r.Entries)
	case *storeapi.SettleResult:
		n += len(r.Codes)
	case *storeapi.TakeResult:
		n += 80*len(r.Messages) + takenBytes(r)
	case *storeapi.OffsetsResult:
		n += 64 * len(r.Queues)
	case *storeapi.QueryResult:
		for i := range r.Messages {
			n += 64 + len(r.Messages[i].Payload)
		}
	}
	return n
}
