// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/internal/storeapi"
	storev1 "github.com/mansiomq/mansio/proto/mansio/store/v1"
)

// graceMS is how long after its deadline the store's own answer is awaited: it
// knows what happened, the lane only that it does not know.
const graceMS = 100

// link is what a lane knows of its stream.
type link uint8

const (
	connecting link = iota // an attempt is under way: operations wait
	up
	down   // the last attempt failed, or the store is stopping: refuse
	closed // for good
)

// lane carries one kind of operations over one stream at a time.
type lane struct {
	client storev1.StoreClient
	hello  hello
	log    *slog.Logger
	wake   chan struct{} // to the sender: there is something to do
	armed  chan struct{} // to watchDeadlines: there is a deadline again
	isUp   atomic.Bool   // mu.link == up, for those who only look

	mu struct {
		sync.Mutex
		link     link
		ops      table
		parks    table
		queue    []uint64 // ids, in order of submission
		head     int      // of queue
		bytes    int      // payload bytes in flight
		credit   int      // bytes received and not given back yet
		earliest time.Time
	}
}

func newLane(conn grpc.ClientConnInterface, o PeerOptions, kind storev1.Lane) *lane {
	l := &lane{
		client: storev1.NewStoreClient(conn),
		hello:  hello{proxy: o.Proxy, incarnation: o.Incarnation, lane: kind},
		log:    o.Logger.With("lane", kind.String()),
		wake:   make(chan struct{}, 1),
		armed:  make(chan struct{}, 1),
	}
	l.mu.ops = table{max: storeapi.OpsMax}
	l.mu.parks = table{max: storeapi.ParksMax, mark: parkMark}
	return l
}

func (l *lane) tableOf(id uint64) *table {
	if id&parkMark != 0 {
		return &l.mu.parks
	}
	return &l.mu.ops
}

// completion is an operation that left the table, with its answer.
type completion struct {
	op    *storeapi.Op
	reply storeapi.Reply
}

func complete(done []completion) {
	for i := range done {
		done[i].op.Done(done[i].reply)
	}
}

// submit queues operations or refuses them.
func (l *lane) submit(ops []*storeapi.Op) {
	var refused []completion
	now := time.Now()
	l.mu.Lock()
	accepted := false
	for _, op := range ops {
		if code := l.accept(op, now); code != storeapi.OK {
			refused = append(refused, completion{op, storeapi.Reply{Code: code, Detail: details[code]}})
		} else {
			accepted = true
		}
	}
	l.mu.Unlock()
	if accepted {
		signal(l.wake)
	}
	complete(refused)
}

var details = map[storeapi.Code]string{
	storeapi.Overloaded:  "too much is in flight between this proxy and the store node",
	storeapi.Unavailable: "no stream to the store node",
	storeapi.Invalid:     "an operation of unknown kind, too large, or with too many elements",
	storeapi.Expired:     "the deadline had passed when it was submitted",
}

// accept queues one operation, or says why not. The lock is held.
func (l *lane) accept(op *storeapi.Op, now time.Time) storeapi.Code {
	bytes, sound := weigh(op)
	t := &l.mu.ops
	if _, ok := op.Request.(*storeapi.Park); ok {
		t = &l.mu.parks
	}
	switch {
	case !sound:
		return storeapi.Invalid
	case l.mu.link >= down:
		return storeapi.Unavailable
	case !op.Deadline.IsZero() && !now.Before(op.Deadline):
		return storeapi.Expired
	case t.full(), bytes > 0 && l.mu.bytes+bytes > storeapi.BytesMax:
		return storeapi.Overloaded
	}
	l.mu.queue = append(l.mu.queue, t.put(op, bytes))
	l.mu.bytes += bytes
	if !op.Deadline.IsZero() && (l.mu.earliest.IsZero() || op.Deadline.Before(l.mu.earliest)) {
		l.mu.earliest = op.Deadline
		signal(l.armed)
	}
	return storeapi.OK
}

// remove takes an operation out of the table. The lock is held.
func (l *lane) remove(id uint64, s *slot) *storeapi.Op {
	op := s.op
	l.mu.bytes -= s.bytes
	l.tableOf(id).drop(id)
	return op
}

// endAll removes each operation in one of the states, answering it with code.
// The lock is not held.
func (l *lane) endAll(states []state, code storeapi.Code, why string) {
	var done []completion
	l.mu.Lock()
	for _, t := range []*table{&l.mu.ops, &l.mu.parks} {
		t.all(func(id uint64, s *slot) {
			if slices.Contains(states, s.state) {
				done = append(done, completion{l.remove(id, s), storeapi.Reply{Code: code, Detail: why}})
			}
		})
	}
	l.mu.Unlock()
	complete(done)
}

// The states that an operation can be in when nobody sends.
var (
	notSent = []state{queued}
	sent    = []state{inHand, written}
)

func (l *lane) set(s link) {
	l.mu.Lock()
	l.mu.link = s
	l.isUp.Store(s == up)
	l.mu.Unlock()
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
