// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/mansiomq/mansio/controller/meta"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/rpc"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// ensureWait is how long an automatic creation waits for the watchers.
const ensureWait = time.Second

// EnsureTopic implements controlv1.MetadataServer.
func (s *metadataService) EnsureTopic(ctx context.Context, request *controlv1.EnsureTopicRequest) (*controlv1.EnsureTopicResponse, error) {
	response := &controlv1.EnsureTopicResponse{}
	err := s.c.during(ctx, func(ctx context.Context, r *reign) (err error) {
		if response.Topic, err = r.ensureTopic(ctx, request.GetName()); err != nil {
			return err
		}
		response.Revision = response.GetTopic().GetRevision()
		r.settle(ctx, response.GetRevision())
		return nil
	})
	return response, err
}

// EnsureGroup implements controlv1.MetadataServer.
func (s *metadataService) EnsureGroup(ctx context.Context, request *controlv1.EnsureGroupRequest) (*controlv1.EnsureGroupResponse, error) {
	response := &controlv1.EnsureGroupResponse{}
	err := s.c.during(ctx, func(ctx context.Context, r *reign) (err error) {
		if response.Group, response.Start, err = r.ensureGroup(ctx, request); err != nil {
			return err
		}
		response.Revision = max(response.GetGroup().GetRevision(), response.GetStart().GetRevision())
		r.settle(ctx, response.GetRevision())
		return nil
	})
	return response, err
}

// settle waits a little until every watcher knows of a revision; most do already.
func (r *reign) settle(ctx context.Context, revision int64) {
	ctx, cancel := context.WithTimeout(ctx, ensureWait)
	defer cancel()
	r.hub.await(ctx, revision)
}

func (r *reign) ensureTopic(ctx context.Context, name string) (*controlv1.Topic, error) {
	if topic := r.table.Snapshot().TopicByName(name); topic != nil {
		return topic, nil
	}
	topic, queues, err := meta.AutoTopic(name)
	if err != nil {
		return nil, err
	}
	if !r.config.AutoCreateTopics {
		return nil, rpc.StatusAs(codes.FailedPrecondition,
			fault.Errorf("", fault.NotFound, "there is no topic %q, and topics are not made by themselves (--auto-create-topics)", name))
	}
	free, err := r.names.take(ctx, "topic "+name)
	if err != nil {
		return nil, err
	}
	defer free()
	have, err := r.readTopic(ctx, name)
	if err != nil || have != nil {
		return have, err
	}
	return r.addTopic(ctx, topic, queues)
}

func (r *reign) ensureGroup(ctx context.Context, request *controlv1.EnsureGroupRequest) (*controlv1.Group, *controlv1.Start, error) {
	if group, start, ok := r.knownGroup(request); ok {
		return group, start, nil
	}
	group, err := meta.NewGroup(&controlv1.CreateGroupRequest{Group: &controlv1.Group{Name: request.GetName()}}, r.config.ConsumeFrom)
	if err != nil {
		return nil, nil, err
	}
	var topic *controlv1.Topic
	if request.GetTopic() != "" {
		if topic = r.table.Snapshot().TopicByName(request.GetTopic()); topic == nil {
			return nil, nil, noTopic(request.GetTopic())
		}
	}
	free, err := r.names.take(ctx, "group "+request.GetName())
	if err != nil {
		return nil, nil, err
	}
	defer free()
	// Somebody may have made both while this call waited for its turn.
	if group, start, ok := r.knownGroup(request); ok {
		return group, start, nil
	}
	have, err := r.readGroup(ctx, request.GetName())
	if err != nil {
		return nil, nil, err
	}
	if have != nil && topic == nil {
		return have, nil, nil
	}
	if have != nil {
		start, err := r.addStart(ctx, have, topic)
		return have, start, err
	}
	if !r.config.AutoCreateGroups {
		return nil, nil, rpc.StatusAs(codes.FailedPrecondition,
			fault.Errorf("", fault.NotFound, "there is no group %q, and groups are not made by themselves (--auto-create-groups)", request.GetName()))
	}
	return r.addGroup(ctx, group, topic)
}

// knownGroup returns the group and its start when there is nothing to be made.
func (r *reign) knownGroup(request *controlv1.EnsureGroupRequest) (*controlv1.Group, *controlv1.Start, bool) {
	snapshot := r.table.Snapshot()
	group := snapshot.GroupByName(request.GetName())
	if group == nil || request.GetTopic() == "" {
		return group, nil, group != nil
	}
	topic := snapshot.TopicByName(request.GetTopic())
	start := snapshot.StartOf(ident.Group(group.GetId()), ident.Topic(topic.GetId()))
	return group, start, topic != nil && start != nil
}
