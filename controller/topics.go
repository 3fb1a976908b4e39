// SPDX-License-Identifier: Apache-2.0

package controller

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
	// shardsWait is how long a creation waits for the first shard of a cluster that is just starting.
	shardsWait = 2 * time.Second
	// sweepMax bounds the deletions of one commit.
	sweepMax = 100
)

// createTopic makes a topic, or finds that it is there as asked.
func (r *reign) createTopic(ctx context.Context, request *controlv1.CreateTopicRequest) (*controlv1.Topic, error) {
	topic, queues, err := meta.NewTopic(request)
	if err != nil {
		return nil, err
	}
	free, err := r.names.take(ctx, "topic "+topic.GetName())
	if err != nil {
		return nil, err
	}
	defer free()
	have, err := r.readTopic(ctx, topic.GetName())
	if err != nil {
		return nil, err
	}
	if have != nil {
		return have, meta.SameTopic(have, request)
	}
	return r.addTopic(ctx, topic, queues)
}

// addTopic writes a topic that does not exist; the caller has its name's turn.
func (r *reign) addTopic(ctx context.Context, topic *controlv1.Topic, queues int) (*controlv1.Topic, error) {
	order, err := r.awaitShards(ctx)
	if err != nil {
		return nil, err
	}
	key := r.book.Keys.Topic(topic.GetName())
	now := r.config.Now().UnixMilli()
	revision, err := r.book.CommitWithIDs(ctx, func(ids *metastore.Counters, draft *metastore.Draft) error {
		topic.Id, topic.CreatedMs, topic.UpdatedMs = ids.Object(), now, now
		meta.AddQueues(topic, plan.Place(order, topic, queues), r.table.Snapshot().Revision())
		topic.FifoQueues = uint32(len(topic.GetQueues())) //nolint:gosec // at most meta.QueuesMax
		draft.Expect(key, 0)
		draft.Put(key, topic)
		return nil
	})
	if err != nil {
		return nil, err
	}
	topic.Revision = revision
	return topic, r.table.WaitRevision(ctx, revision)
}

// awaitShards returns the shards for new queues; in a cluster that is just
// starting it waits a little for the first ones.
func (r *reign) awaitShards(ctx context.Context) ([]ident.Shard, error) {
	ctx, cancel := context.WithTimeout(ctx, shardsWait)
	defer cancel()
	for {
		changed := r.table.Changed()
		if order := plan.Order(slices.Collect(r.table.Snapshot().Shards())); len(order) > 0 {
			return order, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fault.Errorf("create topic", fault.Unavailable,
				"there is no shard to put it on: start a store node, or wait until it has joined")
		}
	}
}

// readTopic reads a topic from the store; nil when there is none.
func (r *reign) readTopic(ctx context.Context, name string) (*controlv1.Topic, error) {
	topic := &controlv1.Topic{}
	revision, err := r.book.Read(ctx, r.book.Keys.Topic(name), topic)
	if err != nil || revision == 0 {
		return nil, err
	}
	return topic, nil
}

func (r *reign) updateTopic(ctx context.Context, request *controlv1.UpdateTopicRequest) (*controlv1.Topic, error) {
	free, err := r.names.take(ctx, "topic "+request.GetName())
	if err != nil {
		return nil, err
	}
	defer free()
	have, err := r.readTopic(ctx, request.GetName())
	if err != nil {
		return nil, err
	}
	if have == nil {
		return nil, noTopic(request.GetName())
	}
	topic := proto.CloneOf(have)
	added, err := meta.UpdateTopic(topic, request)
	if err != nil {
		return nil, err
	}
	if added > 0 {
		order, err := r.awaitShards(ctx)
		if err != nil {
			return nil, err
		}
		meta.AddQueues(topic, plan.Place(order, topic, added), r.table.Snapshot().Revision())
	}
	if proto.Equal(have, topic) {
		return have, nil
	}
	topic.UpdatedMs = r.config.Now().UnixMilli()
	draft := &metastore.Draft{}
	draft.Expect(r.book.Keys.Topic(topic.GetName()), have.GetRevision())
	draft.Put(r.book.Keys.Topic(topic.GetName()), topic)
	topic.Revision, err = r.book.Commit(ctx, draft)
	return topic, err
}

// deleteTopic removes a topic and returns the revision, 0 when there was nothing
// to do.
func (r *reign) deleteTopic(ctx context.Context, request *controlv1.DeleteTopicRequest) (int64, error) {
	free, err := r.names.take(ctx, "topic "+request.GetName())
	if err != nil {
		return 0, err
	}
	defer free()
	topic, err := r.readTopic(ctx, request.GetName())
	if err != nil {
		return 0, err
	}
	if topic == nil {
		if request.GetIfExists() {
			return 0, nil
		}
		return 0, noTopic(request.GetName())
	}
	if group := r.table.Snapshot().GroupByID(ident.Group(topic.GetDeadLettersOf())); group != nil {
		return 0, fault.Errorf("delete topic", fault.Invalid,
			"%s takes the dead letters of group %s: delete the group first", topic.GetName(), group.GetName())
	}
	draft := &metastore.Draft{}
	draft.Expect(r.book.Keys.Topic(topic.GetName()), topic.GetRevision())
	draft.Delete(r.book.Keys.Topic(topic.GetName()))
	revision, err := r.book.Commit(ctx, draft)
	if err != nil {
		return 0, err
	}
	if err := r.table.WaitRevision(ctx, revision); err != nil {
		return 0, err
	}
	return revision, r.sweepStarts(ctx)
}

// sweepStarts deletes the starts of groups or topics that are gone. Whatever it
// leaves undone the next one does.
func (r *reign) sweepStarts(ctx context.Context) error {
	snapshot := r.table.Snapshot()
	draft := &metastore.Draft{}
	count := 0
	flush := func() error {
		_, err := r.book.Commit(ctx, draft)
		draft, count = &metastore.Draft{}, 0
		return err
	}
	for start := range snapshot.Starts() {
		group, topic := ident.Group(start.GetGroup()), ident.Topic(start.GetTopic())
		if snapshot.GroupByID(group) != nil && snapshot.TopicByID(topic) != nil {
			continue
		}
		draft.Delete(r.book.Keys.Start(group, topic))
		count++
		if count == sweepMax {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if count == 0 {
		return nil
	}
	return flush()
}

func noTopic(name string) error {
	return fault.Errorf("", fault.NotFound, "there is no topic %q", name)
}
