// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"

	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	replicav1 "github.com/mansiomq/mansio/proto/mansio/replica/v1"
)

// minInSync is how many replicas a commit needs: there is one.
const minInSync = 1

// create makes a new shard with one replica on the node.
func (r *Reconciler) create(ctx context.Context, node ident.Node) error {
	var shard ident.Shard
	var incarnation uint64
	// The numbers are committed before anybody is told of them: no attempt shares them with another.
	_, err := r.options.Book.CommitWithIDs(ctx, func(ids *metastore.Counters, _ *metastore.Draft) error {
		shard, incarnation = ids.Shard(), ids.Incarnation()
		return nil
	})
	if err != nil {
		return err
	}
	client, err := r.connect(node)
	if err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, callMax)
	defer cancel()
	if _, err := client.Create(call, &replicav1.CreateRequest{Shard: uint32(shard), Incarnation: incarnation}); err != nil {
		return err
	}
	return r.enter(ctx, shard, node, incarnation)
}

// enter makes a replica that exists, durably and empty, into a shard.
func (r *Reconciler) enter(ctx context.Context, shard ident.Shard, node ident.Node, incarnation uint64) error {
	members := []*controlv1.ReplicaID{{Node: uint64(node), Incarnation: incarnation}}
	draft := &metastore.Draft{}
	key := r.options.Book.Keys.Shard(shard)
	draft.Expect(key, 0)
	draft.Put(key, &controlv1.Shard{
		Id: uint32(shard), Phase: controlv1.Phase_PHASE_ELECTING, Replicas: members, InSync: members, MinInSync: minInSync,
		RestoreEpoch: r.options.Table.Snapshot().Cluster().GetRestoreEpoch(),
	})
	revision, err := r.options.Book.Commit(ctx, draft)
	if err != nil {
		return err
	}
	r.options.Log.InfoContext(ctx, "made a shard", "shard", shard, "node", node, "incarnation", incarnation)
	return r.options.Table.WaitRevision(ctx, revision)
}
