// SPDX-License-Identifier: Apache-2.0

package route

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// Request is an operation for one shard.
type Request struct {
	Shard   ident.Shard
	Topic   *controlv1.Topic
	Group   *controlv1.Group // nil: none
	Start   *controlv1.Start // nil: none
	Request storeapi.Request
	// Repeatable: doing it twice is the same as doing it once, so it is tried
	// again when the outcome of an attempt is not known.
	Repeatable bool
	// Hasty: do not wait for a leader.
	Hasty    bool
	Deadline time.Time
}

// Do brings the operation to the shard's leader and returns its reply. Codes of
// failed attempts are returned only when nothing can be tried any more.
func (r *Router) Do(ctx context.Context, q *Request) storeapi.Reply {
	if ctx.Err() != nil {
		return storeapi.Reply{Code: storeapi.Canceled, Detail: "the caller is gone"}
	}
	total := q.Deadline.Sub(r.o.Now())
	last := storeapi.Reply{Code: storeapi.Unavailable, Detail: "no leader of the shard can be reached"}
	var pacing pacing
	told := false
	for first := true; ; first = false {
		peer := r.peer(q.Shard)
		again := false // at once
		if peer == nil {
			r.counters.NoLeader.Add(1)
		} else {
			if !first {
				r.counters.Retries.Add(1)
			}
			last = r.try(q, peer, r.attempt(r.o.Now(), q.Deadline, total), told)
			switch {
			case last.Code == storeapi.NeedConfig && !told:
				told, again = true, true
			case last.Code == storeapi.NotLeader && r.learn(q.Shard, &last):
				again = true
			case last.Code == storeapi.Unknown:
				r.counters.Unknown.Add(1)
				if !q.Repeatable {
					return last
				}
			case !moves(last.Code):
				return last
			}
		}
		switch {
		case again && ctx.Err() == nil && r.o.Now().Before(q.Deadline):
		case q.Hasty, !r.pause(ctx, &pacing, q.Deadline):
			return last
		}
	}
}

func (r *Router) try(q *Request, peer Peer, deadline time.Time, told bool) storeapi.Reply {
	c := r.newCall()
	defer r.free(c)
	q.fill(&c.op)
	c.op.Deadline = deadline
	if told {
		c.op.Attached = attach(q.Topic, q.Group, q.Start)
	}
	r.counters.Attempts.Add(1)
	return c.submit(peer)
}

func (q *Request) fill(op *storeapi.Op) {
	op.Shard = q.Shard
	op.TopicRevision = q.Topic.GetRevision()
	op.GroupRevision = q.Group.GetRevision()
	op.Request = q.Request
}

// Start hands the operation to the shard's leader, once, and does not wait: done
// gets the reply, possibly before Start returns. Without a leader it is
// Unavailable. The operation is sent with its configuration, since nobody is
// there to send it again.
func (r *Router) Start(q *Request, done func(storeapi.Reply)) {
	peer := r.peer(q.Shard)
	if peer == nil {
		r.counters.NoLeader.Add(1)
		done(storeapi.Reply{Code: storeapi.Unavailable, Detail: "no leader of the shard can be reached"})
		return
	}
	op := &storeapi.Op{Deadline: q.Deadline, Done: done}
	q.fill(op)
	op.TopicRevision, op.GroupRevision = 0, 0
	r.counters.Attempts.Add(1)
	peer.Submit([]*storeapi.Op{op})
}

// attach encodes the configuration that a request names.
func attach(t *controlv1.Topic, g *controlv1.Group, s *controlv1.Start) []storeapi.Config {
	var configs []storeapi.Config
	add := func(kind uint8, id uint64, revision int64, m proto.Message) {
		if b, err := proto.Marshal(m); err == nil {
			configs = append(configs, storeapi.Config{Kind: kind, ID: id, Revision: revision, Bytes: b})
		}
	}
	if t != nil {
		add(storeapi.ConfigTopic, t.GetId(), t.GetRevision(), t)
	}
	if g != nil {
		add(storeapi.ConfigGroup, g.GetId(), g.GetRevision(), g)
	}
	if s != nil {
		add(storeapi.ConfigStart, s.GetGroup(), s.GetRevision(), s)
	}
	return configs
}
