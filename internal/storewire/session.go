// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	storev1 "github.com/mansiomq/mansio/proto/mansio/store/v1"
)

// session is the store's end of one stream: a goroutine that receives and
// submits, and the handler's own that sends.
type session struct {
	server *Server
	stream grpc.ServerStream
	read   bool // this is the read lane: credit counts
	wake   chan struct{}

	// The sender's own.
	build   builder
	popped  []answer // taken from mu.out, about to be encoded
	unsent  []answer // in the message that is being built
	cutting []answer // being sent in parts, in the builder's order
	told    bool     // the proxy knows that the store is closing

	mu struct {
		sync.Mutex
		out      []answer
		parks    map[uint64]parked // by the proxy's number
		held     []*pending        // Takes that wait for room
		inFlight int               // with the target
		bytes    int               // of Appends with the target
		reserved int               // bytes of Takes with the target or not sent yet
		credit   int               // bytes that may be sent
		closing  bool              // tell the proxy to end
		ended    bool              // the proxy will send no more
		dead     bool              // nothing can be sent any more
	}
}

// parked is a Park that the target holds.
type parked struct {
	op     uint64 // id of the Op, under which the proxy waits
	target uint64 // number that the target knows
	shard  ident.Shard
}

// pending is an operation on its way through the target.
type pending struct {
	session  *session
	id       uint64
	op       storeapi.Op
	bytes    int // of an Append
	reserved int // by a Take
	park     uint64
}

// answer is a reply that waits to be sent.
type answer struct {
	id       uint64
	reply    storeapi.Reply
	reserved int
	// from is the operation when its undelivered answer must be undone.
	from *pending
}

func newSession(s *Server, stream grpc.ServerStream, h hello, credit int) *session {
	ss := &session{server: s, stream: stream, read: h.lane == storev1.Lane_LANE_READ, wake: make(chan struct{}, 1)}
	ss.build.pool = framePool
	ss.mu.parks = make(map[uint64]parked)
	ss.mu.credit = credit
	return ss
}

// serve runs the session to its end.
func (ss *session) serve() error {
	ctx, cancel := context.WithCancelCause(ss.stream.Context())
	defer cancel(nil)
	received := make(chan struct{})
	go func() {
		defer close(received)
		if err := ss.receive(); err != nil && !errors.Is(err, io.EOF) {
			cancel(err)
			return
		}
		ss.end()
	}()
	err := ss.send(ctx)
	if err != nil {
		ss.abandon()
	}
	<-received // it has met EOF, or failed itself, or fails since the stream is broken
	return err
}

// close makes the sender say that the store is stopping.
func (ss *session) close() {
	ss.mu.Lock()
	ss.mu.closing = true
	ss.mu.Unlock()
	signal(ss.wake)
}

// end notes that the proxy will send no more, and ends its Parks.
func (ss *session) end() {
	ss.mu.Lock()
	ss.mu.ended = true
	undo := ss.unparkAll(storeapi.Unavailable)
	ss.mu.Unlock()
	ss.submit(undo)
	signal(ss.wake)
}

// abandon gives up a broken stream: what the proxy has parked is ended, and what
// was found for it in vain goes back.
func (ss *session) abandon() {
	ss.mu.Lock()
	ss.mu.dead = true
	undo := ss.unparkAll(storeapi.Canceled)
	for _, list := range [][]answer{ss.unsent, ss.cutting, ss.mu.out} {
		for i := range list {
			undo = appendUndo(undo, &list[i])
		}
	}
	ss.mu.out, ss.mu.held = nil, nil
	ss.mu.Unlock()
	ss.build.drop()
	ss.submit(undo)
}

// unparkAll ends every Park with code and returns the operations that tell the
// target. The lock is held.
func (ss *session) unparkAll(code storeapi.Code) (undo []*storeapi.Op) {
	for _, p := range ss.mu.parks {
		undo = append(undo, order(p.shard, &storeapi.Unpark{ID: p.target}))
		ss.mu.out = append(ss.mu.out, answer{id: p.op, reply: storeapi.Reply{Code: code, Detail: "the stream ends"}})
	}
	clear(ss.mu.parks)
	return undo
}

func (ss *session) submit(ops []*storeapi.Op) {
	if len(ops) > 0 {
		ss.server.target.Submit(ops)
	}
}

// order makes an operation whose answer nobody awaits.
func order(shard ident.Shard, q storeapi.Request) *storeapi.Op {
	return &storeapi.Op{Shard: shard, Request: q, Done: func(storeapi.Reply) {}}
}

// appendUndo appends what takes an answer back that did not reach the proxy.
func appendUndo(undo []*storeapi.Op, a *answer) []*storeapi.Op {
	if a.from == nil {
		return undo
	}
	switch r := a.reply.Result.(type) {
	case *storeapi.ReadyResult:
		return append(undo, order(a.from.op.Shard, &storeapi.Decline{Ticket: r.Ticket}))
	case *storeapi.TakeResult:
		take, ok := a.from.op.Request.(*storeapi.Take)
		if !ok || len(r.Messages) == 0 {
			return undo
		}
		settle := &storeapi.Settle{Items: make([]storeapi.SettleItem, len(r.Messages))}
		for i := range r.Messages {
			settle.Items[i] = giveUp(take, r, &r.Messages[i])
		}
		op := order(a.from.op.Shard, settle)
		op.TopicRevision, op.GroupRevision = a.from.op.TopicRevision, a.from.op.GroupRevision
		return append(undo, op)
	}
	return undo
}

// giveUp releases one message that was leased in vain; the lease does not count
// as an attempt.
func giveUp(take *storeapi.Take, r *storeapi.TakeResult, m *storeapi.Taken) storeapi.SettleItem {
	grant := m.Grant
	if grant == 0 {
		grant = r.Grant
	}
	return storeapi.SettleItem{
		Delivery: storeapi.Delivery{
			Group: take.Group, Topic: take.Topic, Generation: r.Generation,
			Queue: m.Queue, Offset: m.Offset, Term: r.Term, Grant: grant,
		},
		Verdict: storeapi.Release,
		NoCount: true,
	}
}
