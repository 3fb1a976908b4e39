// SPDX-License-Identifier: Apache-2.0

package route

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/metadata"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// Peer is a store node to which operations can be handed, in this process or
// far away, under the contract of package storeapi.
type Peer interface {
	// Submit takes the operations over. It does not keep the slice.
	Submit(ops []*storeapi.Op)
	// Up reports whether operations reach it now, as far as is known; it is quick.
	Up() bool
}

const (
	// attemptMin is the shortest time that one attempt gets: less than a disk's
	// worst flush would only multiply the load of a slow store.
	attemptMin = 500 * time.Millisecond
	// pauseFirst and pauseMax bound the pause before the next attempt when
	// nobody leads: a new leader is found soon after it is elected, and waiting
	// requests do not wear the stores down.
	pauseFirst = 20 * time.Millisecond
	pauseMax   = 200 * time.Millisecond
)

// Options says what a router works with.
type Options struct {
	Table *metadata.Table
	// Peers gives the peer of a store node; nil when there is none. It is called
	// for every attempt and must be quick.
	Peers func(*controlv1.Node) Peer
	// Incarnation is this proxy's number: random, new with every start, not 0.
	Incarnation uint64
	Now         func() time.Time
	// SendsMax and SendBytesMax bound the sends under way; 0: the defaults.
	SendsMax     int64
	SendBytesMax int64
}

// Defaults of Options.
const (
	SendsMax     = 16384
	SendBytesMax = 64 << 20
)

// Router brings operations to shards. All methods may be called from any goroutine.
type Router struct {
	o      Options
	topics sync.Map  // ident.Topic → *topicState
	shards sync.Map  // ident.Shard → *shardState
	calls  sync.Pool // of *call

	sends     atomic.Int64
	sendBytes atomic.Int64
	counters  Counters
}

// Counters count what a router met.
type Counters struct {
	Attempts  atomic.Uint64 // operations handed to a peer
	Retries   atomic.Uint64 // of those, not the first for their request
	Unknown   atomic.Uint64 // attempts whose outcome is not known
	NoLeader  atomic.Uint64 // times that no leader of a shard could be reached
	Overloads atomic.Uint64 // sends refused at a bound
}

// topicState is what a router remembers of a topic beside the metadata.
type topicState struct {
	turn   atomic.Uint32 // of sends
	take   atomic.Uint32 // of receives
	shards atomic.Pointer[shardList]
}

type shardList struct {
	revision int64
	ids      []ident.Shard
}

// shardState is what a router remembers of a shard beside the metadata.
type shardState struct {
	window window
	hint   atomic.Pointer[hint]
}

// hint is a leader that a store named before the metadata did.
type hint struct {
	term    ident.Term
	address string
}

// New makes a router and has it listen to the table, which must not be fed yet.
func New(o Options) *Router {
	if o.SendsMax == 0 {
		o.SendsMax = SendsMax
	}
	if o.SendBytesMax == 0 {
		o.SendBytesMax = SendBytesMax
	}
	r := &Router{o: o}
	r.calls.New = makeCall
	o.Table.OnApply(func(d metadata.Delta) {
		for _, t := range d.DeletedTopics {
			r.topics.Delete(ident.Topic(t.GetId()))
		}
		for _, s := range d.DeletedShards {
			r.shards.Delete(ident.Shard(s.GetId()))
		}
	})
	return r
}

// Counters returns the router's counters.
func (r *Router) Counters() *Counters { return &r.counters }

// InFlight returns how many sends, and bytes of them, are under way.
func (r *Router) InFlight() (sends, bytes int64) { return r.sends.Load(), r.sendBytes.Load() }

func (r *Router) topic(id ident.Topic) *topicState {
	if s, ok := r.topics.Load(id); ok {
		return s.(*topicState) //nolint:forcetypeassert // the map holds nothing else
	}
	s, _ := r.topics.LoadOrStore(id, new(topicState))
	return s.(*topicState) //nolint:forcetypeassert // the map holds nothing else
}

func (r *Router) shard(id ident.Shard) *shardState {
	if s, ok := r.shards.Load(id); ok {
		return s.(*shardState) //nolint:forcetypeassert // the map holds nothing else
	}
	s, _ := r.shards.LoadOrStore(id, new(shardState))
	return s.(*shardState) //nolint:forcetypeassert // the map holds nothing else
}

// Shards returns the topic's shards, each once, in the order of its queues.
// Nobody may change the result.
func (r *Router) Shards(t *controlv1.Topic) []ident.Shard {
	state := r.topic(ident.Topic(t.GetId()))
	if l := state.shards.Load(); l != nil && l.revision == t.GetRevision() && l.revision != 0 {
		return l.ids
	}
	l := &shardList{revision: t.GetRevision()}
	seen := make(map[uint32]bool, len(t.GetQueues()))
	for _, q := range t.GetQueues() {
		if !seen[q.GetShard()] {
			seen[q.GetShard()] = true
			l.ids = append(l.ids, ident.Shard(q.GetShard()))
		}
	}
	state.shards.Store(l)
	return l.ids
}

// Turn returns a number that grows with each receive of the topic: where in its
// shards the receive begins.
func (r *Router) Turn(t *controlv1.Topic) int {
	return int(r.topic(ident.Topic(t.GetId())).take.Add(1))
}

// peer returns the peer of the shard's leader, or nil.
func (r *Router) peer(id ident.Shard) Peer {
	snap := r.o.Table.Snapshot()
	node := snap.LeaderOf(id)
	if h := r.shard(id).hint.Load(); h != nil && h.term > ident.Term(snap.Shard(id).GetTerm()) {
		for n := range snap.Nodes() {
			if n.GetAddress() == h.address {
				node = n
			}
		}
	}
	if node == nil {
		return nil
	}
	return r.o.Peers(node)
}

// learn remembers a leader that a store named. It reports whether that is news.
func (r *Router) learn(id ident.Shard, reply *storeapi.Reply) bool {
	if reply.Leader == "" {
		return false
	}
	s := r.shard(id)
	old := s.hint.Load()
	if old != nil && (old.term > reply.Term || old.term == reply.Term && old.address == reply.Leader) {
		return false
	}
	return s.hint.CompareAndSwap(old, &hint{reply.Term, reply.Leader})
}

// Leaders returns how many shards there are and how many of them have a leader
// that this proxy reaches.
func (r *Router) Leaders() (led, all int) {
	for s := range r.o.Table.Snapshot().Shards() {
		all++
		if peer := r.peer(ident.Shard(s.GetId())); peer != nil && peer.Up() {
			led++
		}
	}
	return led, all
}

// attempt is the deadline of one attempt: a third of the time is left for each
// of at least two more.
func (r *Router) attempt(now, deadline time.Time, total time.Duration) time.Time {
	at := now.Add(max(total/3, attemptMin))
	if at.After(deadline) {
		return deadline
	}
	return at
}

// pause waits until the metadata changes or a while has passed; false when the
// deadline or the caller's end came first.
func (r *Router) pause(ctx context.Context, p *pacing, deadline time.Time) bool {
	p.wait = min(max(2*p.wait, pauseFirst), pauseMax)
	wait := min(p.wait, deadline.Sub(r.o.Now()))
	if wait <= 0 {
		return false
	}
	changed := r.o.Table.Changed()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-changed:
	case <-timer.C:
	}
	return ctx.Err() == nil && r.o.Now().Before(deadline)
}

type pacing struct{ wait time.Duration }
