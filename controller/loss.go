// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
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
	var response *controlv1.AcceptLossResponse
	err := s.c.during(ctx, func(ctx context.Context, r *reign) error {
		shard := r.table.Snapshot().Shard(ident.Shard(request.GetShard()))
		switch {
		case shard == nil:
			return fault.Errorf("accept loss", fault.NotFound, "there is no shard %d: mansio shard list shows all", request.GetShard())
		case len(shard.GetReplicas()) != 1:
			return fault.Errorf("accept loss", fault.Invalid, "shard %d has %d replicas: the others have what one lost",
				request.GetShard(), len(shard.GetReplicas()))
		}
		var err error
		response, err = r.repair.AcceptLoss(ctx, ident.Shard(request.GetShard()), shard.GetReplicas()[0], request.GetFrom())
		return err
	})
	return response, err
}
