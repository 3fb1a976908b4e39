// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/controller/meta"
	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/controller/plan"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

const (
	// spreadEvery is how often topics are compared with the shards there are.
	spreadEvery = time.Second
	// spreadPace bounds the commits that a hundred thousand topics cause when a node is added.
	spreadPace = 5 * time.Millisecond
)

// spreadLoop gives topics queues on shards that came after them.
func (r *Reconciler) spreadLoop(ctx context.Context) {
	ticker := time.NewTicker(spreadEvery)
	defer ticker.Stop()
	pace := time.NewTimer(0)
	defer pace.Stop()
	var done []ident.Shard // the shards over which everything is spread
	for {
		order := r.settledOrder()
		if len(order) > 0 && !slices.Equal(order, done) {
			if r.spreadAll(ctx, order, pace) {
				done = order
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// settledOrder returns all shards once every one of them has had a leader; nil
// while some are only coming into being.
func (r *Reconciler) settledOrder() []ident.Shard {
	shards := slices.Collect(r.options.Table.Snapshot().Shards())
	if slices.ContainsFunc(shards, func(s *controlv1.Shard) bool { return s.GetTerm() == 0 }) {
		return nil
	}
	return plan.Order(shards)
}

// spreadAll returns whether every topic that may grow is spread over the order.
func (r *Reconciler) spreadAll(ctx context.Context, order []ident.Shard, pace *time.Timer) bool {
	complete := true
	for topic := range r.options.Table.Snapshot().Topics() {
		if !meta.Growable(topic) || len(plan.Spread(order, topic)) == 0 {
			continue
		}
		pace.Reset(spreadPace)
		select {
		case <-ctx.Done():
			return false
		case <-pace.C:
		}
		err := r.spread(ctx, order, topic.GetName())
		if err != nil && ctx.Err() == nil {
			complete = false
			if !fault.Is(err, fault.Conflict) {
				r.options.Log.WarnContext(ctx, "a topic gets no queue on new shards yet", "topic", topic.GetName(), "error", err)
			}
		}
	}
	return complete
}

// spread adds queues to one topic.
func (r *Reconciler) spread(ctx context.Context, order []ident.Shard, name string) error {
	book := r.options.Book
	topic := &controlv1.Topic{}
	revision, err := book.Read(ctx, book.Keys.Topic(name), topic)
	if err != nil || revision == 0 {
		return err
	}
	added := plan.Spread(order, topic)
	if len(added) == 0 || len(topic.GetQueues())+len(added) > meta.QueuesMax {
		return nil
	}
	grown := proto.CloneOf(topic)
	meta.AddQueues(grown, added, max(revision, r.options.Table.Snapshot().Revision()))
	grown.UpdatedMs = r.options.Now().UnixMilli()
	draft := &metastore.Draft{}
	draft.Expect(book.Keys.Topic(name), revision)
	draft.Put(book.Keys.Topic(name), grown)
	_, err = book.Commit(ctx, draft)
	return err
}
