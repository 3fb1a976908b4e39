// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	replicav1 "github.com/mansiomq/mansio/proto/mansio/replica/v1"
)

// blocked tells why some of the shards cannot get a leader now.
func (r *reign) blocked(shards []*controlv1.Shard) map[uint32]string {
	why := make(map[uint32]string)
	all := r.repair.Blocked()
	for _, s := range shards {
		if reason, ok := all[ident.Shard(s.GetId())]; ok {
			why[s.GetId()] = reason
		}
	}
	return why
}

// AcceptLoss implements controlv1.AdminServer. The replica's node decides
// whether there is anything to accept; with several replicas there is not: the
// others have what one of them lost.
func (s *adminService) AcceptLoss(ctx context.Context, request *controlv1.AcceptLossRequest) (*controlv1.AcceptLossResponse, error) {
	response := &controlv1.AcceptLossResponse{}
	err := s.c.during(ctx, func(ctx context.Context, r *reign) error {
		shard := r.table.Snapshot().Shard(ident.Shard(request.GetShard()))
		switch {
		case shard == nil:
			return fault.Errorf("accept loss", fault.NotFound, "there is no shard %d: mansio shard list shows all", request.GetShard())
		case len(shard.GetReplicas()) != 1:
			return fault.Errorf("accept loss", fault.Invalid, "shard %d has %d replicas: the others have what one lost",
				request.GetShard(), len(shard.GetReplicas()))
		}
		only := shard.GetReplicas()[0]
		node, err := r.repair.Connect(ident.Node(only.GetNode()))
		if err != nil {
			return err
		}
		got, err := node.AcceptLoss(ctx, &replicav1.AcceptLossRequest{
			Shard: request.GetShard(), Incarnation: only.GetIncarnation(), From: request.GetFrom(),
		})
		if err != nil {
			return err
		}
		response.From, response.To = got.GetFrom(), got.GetTo()
		r.log.WarnContext(ctx, "an operator gave up a part of a log", "shard", request.GetShard(), "from", got.GetFrom(), "to", got.GetTo())
		return nil
	})
	return response, err
}
