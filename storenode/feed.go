// SPDX-License-Identifier: Apache-2.0

package storenode

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/metadata"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/storenode/record"
)

// heed tells the shards of deletions, before the revision counts as applied.
func (n *Node) heed(d metadata.Delta) {
	if len(d.DeletedTopics) == 0 && len(d.DeletedGroups) == 0 {
		return
	}
	for _, h := range n.all() {
		if h.shard == nil {
			continue
		}
		for _, t := range d.DeletedTopics {
			h.shard.Forget(record.ConfigTopic, t.GetId(), d.New.Revision())
		}
		for _, g := range d.DeletedGroups {
			h.shard.Forget(record.ConfigGroup, g.GetId(), d.New.Revision())
		}
	}
}

// host runs one shard and has it obey the metadata. A shard that fails does not
// end the node.
func (n *Node) host(ctx context.Context, h *hosted) error {
	defer close(h.ended)
	if h.shard == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error {
		select {
		case <-h.quit:
			cancel()
		case <-inner.Done():
		}
		return nil
	})
	g.Go(func() error { return h.shard.Run(inner) })
	g.Go(func() error { return n.obey(inner, h) })
	g.Go(func() error { return n.turns(inner, h) })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		n.logger.Error("shard ended", "shard", h.id, "error", err)
	}
	return nil
}

// obey compares what the metadata says of the shard with what it does, whenever
// the metadata changes: the controller's own call may have been lost.
func (n *Node) obey(ctx context.Context, h *hosted) error {
	for {
		changed := n.o.Table.Changed()
		snap := n.o.Table.Snapshot()
		if s := snap.Shard(h.id); n.chosen(h, s) {
			if err := n.lead(ctx, s); err != nil && ctx.Err() == nil {
				n.logger.Warn("can't lead", "shard", h.id, "term", s.GetTerm(), "error", err)
			}
		}
		if snap.Revision() > 0 {
			h.shard.ForgetMissing(func(kind record.ConfigKind, id uint64) bool { return known(snap, kind, id) }, snap.Revision())
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// chosen reports whether this life of this node shall lead the shard.
func (n *Node) chosen(h *hosted, s *controlv1.Shard) bool {
	return s.GetPhase() == controlv1.Phase_PHASE_STEADY && s.GetLeaderInstance() == n.o.Instance &&
		s.GetLeader().GetIncarnation() == h.shard.Incarnation()
}

func known(snap *metadata.Snapshot, kind record.ConfigKind, id uint64) bool {
	switch kind {
	case record.ConfigTopic:
		return snap.TopicByID(ident.Topic(id)) != nil
	case record.ConfigGroup:
		return snap.GroupByID(ident.Group(id)) != nil
	default:
		return true
	}
}
