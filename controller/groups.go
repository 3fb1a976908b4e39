// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/controller/meta"
	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/controller/plan"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/names"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// createGroup makes a group and its dead-letter topic, or finds that it is there
// as asked.
func (r *reign) createGroup(ctx context.Context, request *controlv1.CreateGroupRequest) (*controlv1.Group, error) {
	group, err := meta.NewGroup(request, r.config.ConsumeFrom)
	if err != nil {
		return nil, err
	}
	free, err := r.names.take(ctx, "group "+group.GetName())
	if err != nil {
		return nil, err
	}
	defer free()
	have, err := r.readGroup(ctx, group.GetName())
	if err != nil {
		return nil, err
	}
	if have != nil {
		return have, meta.SameGroup(have, request, r.config.ConsumeFrom)
	}
	group, _, err = r.addGroup(ctx, group, nil)
	return group, err
}

// addGroup writes a group that does not exist, its dead-letter topic, and its
// start in a topic if there is one, in one commit. The caller has the turn of the
// group's name.
func (r *reign) addGroup(ctx context.Context, group *controlv1.Group, in *controlv1.Topic) (*controlv1.Group, *controlv1.Start, error) {
	letters, err := r.readTopic(ctx, names.DeadLetters(group.GetName()))
	if err != nil {
		return nil, nil, err
	}
	order := plan.Order(slices.Collect(r.table.Snapshot().Shards()))
	now := r.config.Now().UnixMilli()
	var start *controlv1.Start
	revision, err := r.book.CommitWithIDs(ctx, func(ids *metastore.Counters, draft *metastore.Draft) error {
		group.Id, group.CreatedMs, group.UpdatedMs = ids.Object(), now, now
		// Letters of an earlier group of that name stay readable: the new group takes them over.
		revision := letters.GetRevision()
		if letters == nil {
			letters = meta.NewDeadLetters(group.GetName())
			letters.Id, letters.CreatedMs = ids.Object(), now
			meta.AddQueues(letters, order, r.table.Snapshot().Revision())
			letters.FifoQueues = uint32(len(letters.GetQueues())) //nolint:gosec // one per shard
		}
		letters.DeadLettersOf, letters.UpdatedMs = group.GetId(), now
		group.DeadLetterTopic = letters.GetId()
		draft.Expect(r.book.Keys.Topic(letters.GetName()), revision)
		draft.Put(r.book.Keys.Topic(letters.GetName()), letters)
		draft.Expect(r.book.Keys.Group(group.GetName()), 0)
		draft.Put(r.book.Keys.Group(group.GetName()), group)
		if in != nil {
			start = r.draftStart(draft, group, in)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	group.Revision = revision
	if start != nil {
		start.Revision = revision
	}
	return group, start, r.table.WaitRevision(ctx, revision)
}

// draftStart adds a group's start in a topic to a commit.
func (r *reign) draftStart(draft *metastore.Draft, group *controlv1.Group, in *controlv1.Topic) *controlv1.Start {
	start := &controlv1.Start{
		Group: group.GetId(), Topic: in.GetId(), From: group.GetConsumeFrom(), SinceMs: r.config.Now().UnixMilli(),
	}
	key := r.book.Keys.Start(ident.Group(group.GetId()), ident.Topic(in.GetId()))
	draft.Expect(key, 0)
	draft.Put(key, start)
	return start
}

// addStart records that a group which exists begins in a topic.
func (r *reign) addStart(ctx context.Context, group *controlv1.Group, in *controlv1.Topic) (*controlv1.Start, error) {
	draft := &metastore.Draft{}
	start := r.draftStart(draft, group, in)
	// The group must not have changed meanwhile: what it says of its start counts. A topic that goes at the same
	// moment leaves a start behind, which the next sweep finds.
	draft.Expect(r.book.Keys.Group(group.GetName()), group.GetRevision())
	revision, err := r.book.Commit(ctx, draft)
	if err != nil {
		return nil, err
	}
	start.Revision = revision
	return start, r.table.WaitRevision(ctx, revision)
}

// readGroup reads a group from the store; nil when there is none.
func (r *reign) readGroup(ctx context.Context, name string) (*controlv1.Group, error) {
	group := &controlv1.Group{}
	revision, err := r.book.Read(ctx, r.book.Keys.Group(name), group)
	if err != nil || revision == 0 {
		return nil, err
	}
	return group, nil
}

func (r *reign) updateGroup(ctx context.Context, request *controlv1.UpdateGroupRequest) (*controlv1.Group, error) {
	free, err := r.names.take(ctx, "group "+request.GetName())
	if err != nil {
		return nil, err
	}
	defer free()
	have, err := r.readGroup(ctx, request.GetName())
	if err != nil {
		return nil, err
	}
	if have == nil {
		return nil, noGroup(request.GetName())
	}
	group := proto.CloneOf(have)
	if err := meta.UpdateGroup(group, request); err != nil {
		return nil, err
	}
	if proto.Equal(have, group) {
		return have, nil
	}
	group.UpdatedMs = r.config.Now().UnixMilli()
	draft := &metastore.Draft{}
	draft.Expect(r.book.Keys.Group(group.GetName()), have.GetRevision())
	draft.Put(r.book.Keys.Group(group.GetName()), group)
	group.Revision, err = r.book.Commit(ctx, draft)
	return group, err
}

// deleteGroup removes a group and its starts, and leaves its dead letters. It
// returns the revision, 0 when there was nothing to do.
func (r *reign) deleteGroup(ctx context.Context, request *controlv1.DeleteGroupRequest) (int64, error) {
	free, err := r.names.take(ctx, "group "+request.GetName())
	if err != nil {
		return 0, err
	}
	defer free()
	group, err := r.readGroup(ctx, request.GetName())
	if err != nil {
		return 0, err
	}
	if group == nil {
		if request.GetIfExists() {
			return 0, nil
		}
		return 0, noGroup(request.GetName())
	}
	draft := &metastore.Draft{}
	draft.Expect(r.book.Keys.Group(group.GetName()), group.GetRevision())
	draft.Delete(r.book.Keys.Group(group.GetName()))
	revision, err := r.book.Commit(ctx, draft)
	if err != nil {
		return 0, err
	}
	if err := r.table.WaitRevision(ctx, revision); err != nil {
		return 0, err
	}
	return revision, r.sweepStarts(ctx)
}

func noGroup(name string) error {
	return fault.Errorf("", fault.NotFound, "there is no group %q", name)
}
