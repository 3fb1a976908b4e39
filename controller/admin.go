// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"slices"
	"time"

	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// adminWait is how long an administrator's change waits for the watchers.
const adminWait = 3 * time.Second

// adminService answers administrators.
type adminService struct {
	controlv1.UnimplementedAdminServer
	c *Controller
}

// applied waits until every watcher has applied a change, and names those that
// have not in time.
func (r *reign) applied(ctx context.Context, revision int64) (laggards []string) {
	ctx, cancel := context.WithTimeout(ctx, adminWait)
	defer cancel()
	return r.hub.await(ctx, revision)
}

// topic runs a change of a topic and waits for it.
func (s *adminService) topic(
	ctx context.Context, change func(ctx context.Context, r *reign) (*controlv1.Topic, error),
) (*controlv1.TopicResponse, error) {
	response := &controlv1.TopicResponse{}
	err := s.c.during(ctx, func(ctx context.Context, r *reign) (err error) {
		if response.Topic, err = change(ctx, r); err != nil {
			return err
		}
		response.Revision = response.GetTopic().GetRevision()
		response.Laggards = r.applied(ctx, response.GetRevision())
		return nil
	})
	return response, err
}

// group is topic for groups.
func (s *adminService) group(
	ctx context.Context, change func(ctx context.Context, r *reign) (*controlv1.Group, error),
) (*controlv1.GroupResponse, error) {
	response := &controlv1.GroupResponse{}
	err := s.c.during(ctx, func(ctx context.Context, r *reign) (err error) {
		if response.Group, err = change(ctx, r); err != nil {
			return err
		}
		response.Revision = response.GetGroup().GetRevision()
		response.Laggards = r.applied(ctx, response.GetRevision())
		return nil
	})
	return response, err
}

// deletion is topic for deletions.
func (s *adminService) deletion(
	ctx context.Context, change func(ctx context.Context, r *reign) (int64, error),
) (*controlv1.DeleteResponse, error) {
	response := &controlv1.DeleteResponse{}
	err := s.c.during(ctx, func(ctx context.Context, r *reign) (err error) {
		if response.Revision, err = change(ctx, r); err != nil {
			return err
		}
		response.Laggards = r.applied(ctx, response.GetRevision())
		return nil
	})
	return response, err
}

// CreateTopic implements controlv1.AdminServer.
func (s *adminService) CreateTopic(ctx context.Context, request *controlv1.CreateTopicRequest) (*controlv1.TopicResponse, error) {
	return s.topic(ctx, func(ctx context.Context, r *reign) (*controlv1.Topic, error) { return r.createTopic(ctx, request) })
}

// UpdateTopic implements controlv1.AdminServer.
func (s *adminService) UpdateTopic(ctx context.Context, request *controlv1.UpdateTopicRequest) (*controlv1.TopicResponse, error) {
	return s.topic(ctx, func(ctx context.Context, r *reign) (*controlv1.Topic, error) { return r.updateTopic(ctx, request) })
}

// DeleteTopic implements controlv1.AdminServer.
func (s *adminService) DeleteTopic(ctx context.Context, request *controlv1.DeleteTopicRequest) (*controlv1.DeleteResponse, error) {
	return s.deletion(ctx, func(ctx context.Context, r *reign) (int64, error) { return r.deleteTopic(ctx, request) })
}

// GetTopic implements controlv1.AdminServer.
func (s *adminService) GetTopic(ctx context.Context, request *controlv1.GetTopicRequest) (*controlv1.TopicResponse, error) {
	response := &controlv1.TopicResponse{}
	err := s.c.during(ctx, func(_ context.Context, r *reign) error {
		if response.Topic = r.table.Snapshot().TopicByName(request.GetName()); response.GetTopic() == nil {
			return noTopic(request.GetName())
		}
		response.Revision = response.GetTopic().GetRevision()
		return nil
	})
	return response, err
}

// CreateGroup implements controlv1.AdminServer.
func (s *adminService) CreateGroup(ctx context.Context, request *controlv1.CreateGroupRequest) (*controlv1.GroupResponse, error) {
	return s.group(ctx, func(ctx context.Context, r *reign) (*controlv1.Group, error) { return r.createGroup(ctx, request) })
}

// UpdateGroup implements controlv1.AdminServer.
func (s *adminService) UpdateGroup(ctx context.Context, request *controlv1.UpdateGroupRequest) (*controlv1.GroupResponse, error) {
	return s.group(ctx, func(ctx context.Context, r *reign) (*controlv1.Group, error) { return r.updateGroup(ctx, request) })
}

// DeleteGroup implements controlv1.AdminServer.
func (s *adminService) DeleteGroup(ctx context.Context, request *controlv1.DeleteGroupRequest) (*controlv1.DeleteResponse, error) {
	return s.deletion(ctx, func(ctx context.Context, r *reign) (int64, error) { return r.deleteGroup(ctx, request) })
}

// GetGroup implements controlv1.AdminServer.
func (s *adminService) GetGroup(ctx context.Context, request *controlv1.GetGroupRequest) (*controlv1.GroupResponse, error) {
	response := &controlv1.GroupResponse{}
	err := s.c.during(ctx, func(_ context.Context, r *reign) error {
		if response.Group = r.table.Snapshot().GroupByName(request.GetName()); response.GetGroup() == nil {
			return noGroup(request.GetName())
		}
		response.Revision = response.GetGroup().GetRevision()
		return nil
	})
	return response, err
}

// ListShards implements controlv1.AdminServer.
func (s *adminService) ListShards(ctx context.Context, request *controlv1.ListShardsRequest) (*controlv1.ListShardsResponse, error) {
	response := &controlv1.ListShardsResponse{}
	err := s.c.during(ctx, func(_ context.Context, r *reign) error {
		snapshot := r.table.Snapshot()
		response.Shards = slices.Collect(snapshot.Shards())
		if name := request.GetTopic(); name != "" {
			topic := snapshot.TopicByName(name)
			if topic == nil {
				return noTopic(name)
			}
			on := make(map[uint32]bool)
			for _, q := range topic.GetQueues() {
				on[q.GetShard()] = true
			}
			response.Shards = slices.DeleteFunc(response.GetShards(), func(sh *controlv1.Shard) bool { return !on[sh.GetId()] })
		}
		slices.SortFunc(response.GetShards(), func(a, b *controlv1.Shard) int { return int(int64(a.GetId()) - int64(b.GetId())) })
		response.Blocked, response.Live = r.blocked(response.GetShards()), r.sessions.liveIDs()
		named := make(map[uint64]bool)
		for _, shard := range response.GetShards() {
			for _, replica := range shard.GetReplicas() {
				if node := snapshot.Node(ident.Node(replica.GetNode())); node != nil && !named[node.GetId()] {
					named[node.GetId()] = true
					response.Nodes = append(response.Nodes, node)
				}
			}
		}
		return nil
	})
	return response, err
}

// ListNodes implements controlv1.AdminServer.
func (s *adminService) ListNodes(ctx context.Context, _ *controlv1.ListNodesRequest) (*controlv1.ListNodesResponse, error) {
	response := &controlv1.ListNodesResponse{}
	err := s.c.during(ctx, func(_ context.Context, r *reign) error {
		response.Nodes = slices.SortedFunc(r.table.Snapshot().Nodes(), func(a, b *controlv1.Node) int {
			return int(int64(a.GetId()) - int64(b.GetId())) //nolint:gosec // ids are counted from 1
		})
		response.Live, response.SinceMs = r.sessions.liveIDs(), make(map[uint64]int64)
		for _, node := range response.GetNodes() {
			response.SinceMs[node.GetId()] = r.sessions.since(ident.Node(node.GetId())).UnixMilli()
		}
		return nil
	})
	return response, err
}
