// SPDX-License-Identifier: Apache-2.0

package storenode

import (
	"context"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	replicav1 "github.com/mansiomq/mansio/proto/mansio/replica/v1"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/replica"
)

// featureLevel is the newest apply behaviour that this build knows.
const featureLevel = 1

// Fence implements replica.v1.
func (n *Node) Fence(ctx context.Context, r *replicav1.FenceRequest) (*replicav1.FenceResponse, error) {
	out := &replicav1.FenceResponse{Instance: n.o.Instance, FeatureLevel: featureLevel}
	h := n.find(ident.Shard(r.GetShard()))
	if h == nil {
		out.Absent = true
		out.Refusal = "no replica of this shard is on this node"
		return out, nil
	}
	if h.shard == nil {
		out.Refusal = h.failure
		return out, nil
	}
	if want := r.GetWant().GetIncarnation(); want != 0 && want != h.shard.Incarnation() {
		out.Absent = true
		out.Refusal = "another incarnation of this replica is on this node"
		return out, nil
	}
	c := n.o.Table.Snapshot().Cluster()
	f, err := h.shard.Fence(ctx, ident.Term(r.GetTerm()), replica.Seen{
		Term: ident.Term(r.GetTerm()), ModRevision: n.o.Table.Snapshot().Revision(), EtcdClusterID: c.GetEtcdClusterId(),
	})
	if err != nil {
		st := h.status()
		out.CurrentTerm, out.Refusal = uint64(st.Term), err.Error()
		return out, nil //nolint:nilerr // a refusal is an answer
	}
	out.LastTerm, out.End, out.Commit = uint64(f.LastTerm), uint64(f.End), uint64(f.Commit)
	out.Lossy, out.CurrentTerm, out.NowMs = f.Lossy, uint64(f.Term), f.NowMS
	out.Seen = &replicav1.Seen{Term: uint64(f.Seen.Term), ModRevision: f.Seen.ModRevision, EtcdClusterId: f.Seen.EtcdClusterID}
	return out, nil
}

// Lead implements replica.v1.
func (n *Node) Lead(ctx context.Context, r *replicav1.LeadRequest) (*replicav1.LeadResponse, error) {
	if err := n.lead(ctx, r.GetShard()); err != nil {
		return &replicav1.LeadResponse{Refusal: err.Error()}, nil //nolint:nilerr // a refusal is an answer
	}
	return &replicav1.LeadResponse{}, nil
}

// lead activates this node's replica if the state names it, in this life.
func (n *Node) lead(ctx context.Context, s *controlv1.Shard) error {
	h := n.find(ident.Shard(s.GetId()))
	if h == nil || h.shard == nil {
		return fault.Errorf("lead", fault.NotFound, "no replica of shard %d on this node", s.GetId())
	}
	if s.GetLeader().GetIncarnation() != h.shard.Incarnation() {
		return fault.Errorf("lead", fault.Conflict, "another incarnation was chosen")
	}
	inSync := make([]record.ReplicaID, len(s.GetInSync()))
	for i, id := range s.GetInSync() {
		inSync[i] = record.ReplicaID{Node: ident.Node(id.GetNode()), Incarnation: id.GetIncarnation()}
	}
	return h.shard.Lead(ctx, ident.Term(s.GetTerm()), s.GetLeaderInstance(), inSync)
}

// Create implements replica.v1.
func (n *Node) Create(_ context.Context, r *replicav1.CreateRequest) (*replicav1.CreateResponse, error) {
	if err := n.create(ident.Shard(r.GetShard()), r.GetIncarnation()); err != nil {
		return nil, err
	}
	n.changed()
	return &replicav1.CreateResponse{}, nil
}

// Drop implements replica.v1. Replicas are moved and dropped with replication;
// a single one is the data itself.
func (n *Node) Drop(context.Context, *replicav1.DropRequest) (*replicav1.DropResponse, error) {
	return nil, fault.Errorf("drop replica", fault.Unsupported, "this build never deletes a shard's only replica")
}

// Probe implements replica.v1.
func (n *Node) Probe(_ context.Context, _ *replicav1.ProbeRequest) (*replicav1.ProbeResponse, error) {
	out := &replicav1.ProbeResponse{Instance: n.o.Instance}
	for _, h := range n.all() {
		st := h.status()
		out.Replicas = append(out.Replicas, &replicav1.Replica{
			Shard: uint32(h.id), Incarnation: st.Incarnation, Term: uint64(st.Term), Role: st.Role.String(),
			End: uint64(st.End), Commit: uint64(st.Commit), Applied: uint64(st.Commit),
		})
	}
	return out, nil
}
