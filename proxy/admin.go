// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"

	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/internal/rpc"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/listen"
)

// adminServer forwards administration to the controller. Who may is decided here;
// nothing of the caller's headers is passed on.
type adminServer struct {
	controlv1.UnimplementedAdminServer
	p *Proxy
}

// mayAdmin lets administrators in. A PROXY header cannot make a caller local.
func (p *Proxy) mayAdmin(ctx context.Context) error {
	return rpc.Status(p.o.CheckAdmin(listen.Honest(ctx)))
}

func forward[Req, Resp any](
	ctx context.Context, s *adminServer, req Req, call func(context.Context, Req, ...grpc.CallOption) (Resp, error),
) (Resp, error) {
	if err := s.p.mayAdmin(ctx); err != nil {
		var none Resp
		return none, err
	}
	resp, err := call(ctx, req)
	return resp, rpc.Status(err)
}

// CreateTopic implements controlv1.AdminServer.
func (s *adminServer) CreateTopic(ctx context.Context, r *controlv1.CreateTopicRequest) (*controlv1.TopicResponse, error) {
	return forward(ctx, s, r, s.p.admin.CreateTopic)
}

// UpdateTopic implements controlv1.AdminServer.
func (s *adminServer) UpdateTopic(ctx context.Context, r *controlv1.UpdateTopicRequest) (*controlv1.TopicResponse, error) {
	return forward(ctx, s, r, s.p.admin.UpdateTopic)
}

// DeleteTopic implements controlv1.AdminServer.
func (s *adminServer) DeleteTopic(ctx context.Context, r *controlv1.DeleteTopicRequest) (*controlv1.DeleteResponse, error) {
	return forward(ctx, s, r, s.p.admin.DeleteTopic)
}

// GetTopic implements controlv1.AdminServer.
func (s *adminServer) GetTopic(ctx context.Context, r *controlv1.GetTopicRequest) (*controlv1.TopicResponse, error) {
	return forward(ctx, s, r, s.p.admin.GetTopic)
}

// ListTopics implements controlv1.AdminServer.
func (s *adminServer) ListTopics(ctx context.Context, r *controlv1.ListTopicsRequest) (*controlv1.ListTopicsResponse, error) {
	return forward(ctx, s, r, s.p.admin.ListTopics)
}

// CreateGroup implements controlv1.AdminServer.
func (s *adminServer) CreateGroup(ctx context.Context, r *controlv1.CreateGroupRequest) (*controlv1.GroupResponse, error) {
	return forward(ctx, s, r, s.p.admin.CreateGroup)
}

// UpdateGroup implements controlv1.AdminServer.
func (s *adminServer) UpdateGroup(ctx context.Context, r *controlv1.UpdateGroupRequest) (*controlv1.GroupResponse, error) {
	return forward(ctx, s, r, s.p.admin.UpdateGroup)
}

// DeleteGroup implements controlv1.AdminServer.
func (s *adminServer) DeleteGroup(ctx context.Context, r *controlv1.DeleteGroupRequest) (*controlv1.DeleteResponse, error) {
	return forward(ctx, s, r, s.p.admin.DeleteGroup)
}

// GetGroup implements controlv1.AdminServer.
func (s *adminServer) GetGroup(ctx context.Context, r *controlv1.GetGroupRequest) (*controlv1.GroupResponse, error) {
	return forward(ctx, s, r, s.p.admin.GetGroup)
}

// ListGroups implements controlv1.AdminServer.
func (s *adminServer) ListGroups(ctx context.Context, r *controlv1.ListGroupsRequest) (*controlv1.ListGroupsResponse, error) {
	return forward(ctx, s, r, s.p.admin.ListGroups)
}

// ListShards implements controlv1.AdminServer.
func (s *adminServer) ListShards(ctx context.Context, r *controlv1.ListShardsRequest) (*controlv1.ListShardsResponse, error) {
	return forward(ctx, s, r, s.p.admin.ListShards)
}

// AcceptLoss implements controlv1.AdminServer.
func (s *adminServer) AcceptLoss(ctx context.Context, r *controlv1.AcceptLossRequest) (*controlv1.AcceptLossResponse, error) {
	return forward(ctx, s, r, s.p.admin.AcceptLoss)
}

// ListNodes implements controlv1.AdminServer.
func (s *adminServer) ListNodes(ctx context.Context, r *controlv1.ListNodesRequest) (*controlv1.ListNodesResponse, error) {
	return forward(ctx, s, r, s.p.admin.ListNodes)
}
