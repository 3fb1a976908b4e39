// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"slices"

	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// SpreadMin is over how many shards a topic spreads at least, if it has so many
// queues and there are so many shards.
const SpreadMin = 8

// Order returns the shards in an order in which neighbours are on different nodes
// as far as possible. Shards that never had a leader come last, and only when
// there is no other: a send to them would wait.
func Order(shards []*controlv1.Shard) []ident.Shard {
	led := slices.DeleteFunc(slices.Clone(shards), func(s *controlv1.Shard) bool { return s.GetLeader() == nil })
	if len(led) == 0 {
		led = slices.Clone(shards)
	}
	slices.SortFunc(led, func(a, b *controlv1.Shard) int { return cmp.Compare(a.GetId(), b.GetId()) })
	type seat struct {
		row   int // which shard of its node
		node  uint64
		shard ident.Shard
	}
	seats := make([]seat, 0, len(led))
	rows := make(map[uint64]int)
	for _, s := range led {
		node := home(s)
		seats = append(seats, seat{rows[node], node, ident.Shard(s.GetId())})
		rows[node]++
	}
	slices.SortFunc(seats, func(a, b seat) int {
		return cmp.Or(cmp.Compare(a.row, b.row), cmp.Compare(a.node, b.node), cmp.Compare(a.shard, b.shard))
	})
	order := make([]ident.Shard, len(seats))
	for i, s := range seats {
		order[i] = s.shard
	}
	return order
}

// home is the node that serves the shard, or will.
func home(s *controlv1.Shard) uint64 {
	if s.GetLeader() != nil {
		return s.GetLeader().GetNode()
	}
	if len(s.GetInSync()) > 0 {
		return s.GetInSync()[0].GetNode()
	}
	return 0
}

// Place returns the shards of n new queues of a topic: first those that hold the
// fewest of its queues, round robin from a place that depends on its id, so that
// many small topics spread evenly. It returns nil when there are no shards.
func Place(order []ident.Shard, topic *controlv1.Topic, n int) []ident.Shard {
	if len(order) == 0 {
		return nil
	}
	count := make(map[ident.Shard]int)
	for _, q := range topic.GetQueues() {
		count[ident.Shard(q.GetShard())]++
	}
	first := int(topic.GetId() % uint64(len(order))) //nolint:gosec // less than a length
	turn := slices.Concat(order[first:], order[:first])
	placed := make([]ident.Shard, 0, n)
	for level := 0; len(placed) < n; level++ {
		for _, shard := range turn {
			if len(placed) < n && count[shard] <= level {
				count[shard]++
				placed = append(placed, shard)
			}
		}
	}
	return placed
}

// Spread returns the shards on which a topic should get one more queue each, now
// that there are more shards than at its creation: a dead-letter topic has one on
// every shard, any other spreads over SpreadMin, but over no more than it had
// queues at first. Only call it for topics that may grow.
func Spread(order []ident.Shard, topic *controlv1.Topic) []ident.Shard {
	on := make(map[ident.Shard]bool)
	for _, q := range topic.GetQueues() {
		on[ident.Shard(q.GetShard())] = true
	}
	target := min(len(order), SpreadMin, int(topic.GetFifoQueues()))
	if topic.GetDeadLettersOf() != 0 {
		target = len(order)
	}
	lack := target - len(on)
	if lack <= 0 {
		return nil
	}
	var more []ident.Shard
	for _, shard := range Place(order, topic, len(order)+len(topic.GetQueues())) {
		if len(more) < lack && !on[shard] {
			on[shard] = true
			more = append(more, shard)
		}
	}
	return more
}
