// SPDX-License-Identifier: Apache-2.0

package storenode

import (
	"context"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	replicav1 "github.com/mansiomq/mansio/proto/mansio/replica/v1"
	"github.com/mansiomq/mansio/storenode/replica"
	"github.com/mansiomq/mansio/storenode/shard"
)

// AcceptLoss implements replica.v1: the failed replica is closed, cut, opened
// and recovered anew; then the controller finds it ready to lead.
func (n *Node) AcceptLoss(ctx context.Context, r *replicav1.AcceptLossRequest) (*replicav1.AcceptLossResponse, error) {
	const op = "accept loss"
	n.losing.Lock()
	defer n.losing.Unlock()
	h := n.find(ident.Shard(r.GetShard()))
	switch {
	case h == nil || h.shard == nil || h.shard.Incarnation() != r.GetIncarnation():
		return nil, fault.Errorf(op, fault.NotFound, "no such replica of shard %d can be opened on this node", r.GetShard())
	case h.status().Role != replica.Failed:
		return nil, fault.Errorf(op, fault.Invalid, "the replica of shard %d has not failed: nothing is to be given up", r.GetShard())
	}
	if err := h.shard.CameUp(); err != nil {
		return nil, err
	}
	close(h.quit)
	<-h.ended
	o := n.options(h.id, h.dir)
	lost, err := shard.AcceptLoss(ctx, o, ident.LSN(r.GetFrom()))
	n.reopen(o) // also after an error: the next attempt finds the replica as it was
	if err != nil {
		return nil, err
	}
	return &replicav1.AcceptLossResponse{From: uint64(lost.From), To: uint64(lost.To)}, nil
}

// reopen puts a replica that has ended into service again.
func (n *Node) reopen(o shard.Options) {
	h := n.open(o)
	if h == nil {
		h = newHosted(o.ID, o.Dir)
		h.failure = "the replica's meta file is gone"
	}
	n.mu.Lock()
	n.mu.shards[o.ID] = h
	n.mu.Unlock()
	n.start <- h
	n.changed()
}
