// SPDX-License-Identifier: Apache-2.0

package route

import (
	"context"
	"fmt"
	"time"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// Appended says how a send ended: OK with one entry per payload, or why nothing
// is known to be stored.
type Appended struct {
	Code    storeapi.Code
	Detail  string
	Shard   ident.Shard
	Queue   ident.Queue
	Entries []storeapi.Appended
}

// sending is one Append under way.
type sending struct {
	r        *Router
	topic    *controlv1.Topic
	payloads [][]byte
	deadline time.Time
	total    time.Duration

	queue  ident.Queue // chosen; its shard is in use while seq != 0
	shard  ident.Shard
	seq    uint64 // first number in use on the shard, 0: none
	stuck  bool   // an attempt on this shard has an unknown outcome
	tried  map[ident.Shard]bool
	told   bool // the configuration is attached
	last   storeapi.Reply
	pacing pacing
}

// Append stores the payloads, side by side in one queue of the topic, which it
// chooses. Place and source of the payloads are stamped; they belong to the
// router until it returns. There are at most storeapi.SeqWindow of them.
func (r *Router) Append(ctx context.Context, t *controlv1.Topic, payloads [][]byte, deadline time.Time) Appended {
	size := int64(0)
	for _, p := range payloads {
		size += int64(len(p))
	}
	if !r.admit(size) {
		r.counters.Overloads.Add(1)
		return Appended{Code: storeapi.Overloaded, Detail: fmt.Sprintf("this proxy has %d sends of %d bytes, at most %d of %d bytes are allowed",
			r.sends.Load(), r.sendBytes.Load(), r.o.SendsMax, r.o.SendBytesMax)}
	}
	defer r.done(size)
	if ctx.Err() != nil {
		return Appended{Code: storeapi.Canceled, Detail: "the caller is gone"}
	}
	now := r.o.Now()
	s := sending{r: r, topic: t, payloads: payloads, deadline: deadline, total: deadline.Sub(now)}
	defer s.release()
	for first := true; ; first = false {
		if !s.choose() {
			if !r.pause(ctx, &s.pacing, deadline) {
				return s.failed()
			}
			clear(s.tried)
			continue
		}
		peer := r.peer(s.shard)
		if peer == nil {
			s.noLeader()
			continue
		}
		if !first {
			r.counters.Retries.Add(1)
		}
		s.last = s.try(peer)
		if s.ended() {
			return s.answer()
		}
		if ctx.Err() != nil || !r.o.Now().Before(deadline) {
			return s.failed()
		}
	}
}

func (r *Router) admit(size int64) bool {
	sends, bytes := r.sends.Add(1), r.sendBytes.Add(size)
	alone := bytes == size // a send larger than the bound is still let in, by itself
	if sends > r.o.SendsMax || bytes > r.o.SendBytesMax && !alone {
		r.done(size)
		return false
	}
	return true
}

func (r *Router) done(size int64) {
	r.sends.Add(-1)
	r.sendBytes.Add(-size)
}

// choose picks the queue and reserves numbers on its shard. It keeps a shard on
// which the outcome is not known, and prefers shards whose leader is reached now:
// with another one an attempt would only wait. False: no shard can be tried now.
func (s *sending) choose() bool {
	if s.seq != 0 {
		return !s.tried[s.shard]
	}
	return s.chooseOf(true) || s.chooseOf(false)
}

// chooseOf picks among the shards whose leader is reached now, or among the others.
func (s *sending) chooseOf(up bool) bool {
	queues := s.topic.GetQueues()
	turn := s.r.topic(ident.Topic(s.topic.GetId())).turn.Add(1)
	for i := range uint32(len(queues)) { //nolint:gosec // few queues
		q := (turn + i) % uint32(len(queues)) //nolint:gosec // few queues
		shard := ident.Shard(queues[q].GetShard())
		if s.tried[shard] {
			continue
		}
		if peer := s.r.peer(shard); peer == nil || peer.Up() != up {
			continue
		}
		seq, ok := s.r.shard(shard).window.reserve(len(s.payloads))
		if !ok {
			s.last = storeapi.Reply{Code: storeapi.Overloaded, Detail: fmt.Sprintf("%d messages of this proxy on one shard are unanswered", storeapi.SeqWindow)}
			continue
		}
		s.queue, s.shard, s.seq = ident.Queue(q), shard, seq
		return true
	}
	return false
}

func (s *sending) noLeader() {
	s.r.counters.NoLeader.Add(1)
	if !s.stuck {
		s.last = storeapi.Reply{Code: storeapi.Unavailable, Detail: "no leader of the topic's shards can be reached"}
		s.release()
	}
	s.pass()
}

// pass leaves the shard out until the next pause.
func (s *sending) pass() {
	if s.tried == nil {
		s.tried = make(map[ident.Shard]bool)
	}
	s.tried[s.shard] = true
}

func (s *sending) release() {
	if s.seq != 0 {
		s.r.shard(s.shard).window.release(s.seq, len(s.payloads))
		s.seq, s.told = 0, false
	}
}

func (s *sending) try(peer Peer) storeapi.Reply {
	topic := ident.Topic(s.topic.GetId())
	seq := s.seq
	for _, p := range s.payloads {
		payload := message.Payload(p)
		payload.SetPlace(topic, s.queue)
		payload.SetSource(s.r.o.Incarnation, seq)
		seq++
	}
	c := s.r.newCall()
	defer s.r.free(c)
	c.op.Shard = s.shard
	c.op.TopicRevision = s.topic.GetRevision()
	c.op.Deadline = s.r.attempt(s.r.o.Now(), s.deadline, s.total)
	c.append = storeapi.Append{Topic: topic, Payloads: s.payloads}
	c.op.Request = &c.append
	if s.told {
		c.op.Attached = attach(s.topic, nil, nil)
	}
	s.r.counters.Attempts.Add(1)
	return c.submit(peer)
}

// ended judges an attempt: true when its reply is the answer.
func (s *sending) ended() bool {
	switch code := s.last.Code; {
	case code == storeapi.Unknown || s.doubtful():
		s.r.counters.Unknown.Add(1)
		s.stuck = true
		s.pass()
		return false
	case code == storeapi.NeedConfig && !s.told:
		s.told = true
		return false
	case code == storeapi.NotLeader && s.r.learn(s.shard, &s.last):
		return false // the same shard, where the reply says
	case moves(code):
		if !s.stuck {
			s.release()
		}
		s.pass()
		return false
	}
	return true
}

// doubtful reports that the term ended before the outcome of some of the messages
// was known. Sent again with their numbers, those that are stored are not stored twice.
func (s *sending) doubtful() bool {
	result, _ := s.last.Result.(*storeapi.AppendResult)
	if s.last.Code != storeapi.OK || result == nil {
		return false
	}
	for i := range result.Entries {
		if result.Entries[i].Code == storeapi.Unknown {
			return true
		}
	}
	return false
}

// moves says of which codes nothing was done and another shard may do better.
func moves(c storeapi.Code) bool {
	switch c {
	case storeapi.NotLeader, storeapi.NeedConfig, storeapi.Unavailable, storeapi.Overloaded, storeapi.DiskFull, storeapi.Expired:
		return true
	default:
		return false
	}
}

func (s *sending) answer() Appended {
	a := Appended{Code: s.last.Code, Detail: s.last.Detail, Shard: s.shard, Queue: s.queue}
	if a.Code != storeapi.OK {
		return a
	}
	result, ok := s.last.Result.(*storeapi.AppendResult)
	if !ok || len(result.Entries) != len(s.payloads) {
		return Appended{Code: storeapi.Internal, Detail: "the store answered an append with another number of entries"}
	}
	a.Entries = result.Entries
	return a
}

// failed is the answer when no attempt can be made any more.
func (s *sending) failed() Appended {
	a := Appended{Code: s.last.Code, Detail: s.last.Detail}
	switch {
	case s.stuck:
		a.Code = storeapi.Unknown
	case a.Code == storeapi.OK: // no attempt was made
		a.Code, a.Detail = storeapi.Unavailable, "no leader of the topic's shards can be reached"
	}
	return a
}
