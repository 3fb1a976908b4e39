// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"

	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	replicav1 "github.com/mansiomq/mansio/proto/mansio/replica/v1"
)

// AcceptLoss has a replica's node give up its log from an LSN on and returns what
// is known to be lost. The node decides whether there is anything to give up.
func (r *Reconciler) AcceptLoss(ctx context.Context, shard ident.Shard, replica *controlv1.ReplicaID, from uint64) (*controlv1.AcceptLossResponse, error) {
	node, err := r.connect(ident.Node(replica.GetNode()))
	if err != nil {
		return nil, err
	}
	lost, err := node.AcceptLoss(ctx, &replicav1.AcceptLossRequest{
		Shard: uint32(shard), Incarnation: replica.GetIncarnation(), From: from,
	})
	if err != nil {
		return nil, err
	}
	r.options.Log.WarnContext(ctx, "an operator gave up a part of a log", "shard", shard, "from", lost.GetFrom(), "to", lost.GetTo())
	return &controlv1.AcceptLossResponse{From: lost.GetFrom(), To: lost.GetTo()}, nil
}
