// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"iter"

	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// Snapshot is the metadata as of one revision. It is immutable and safe for
// concurrent use; so must be what it hands out. The zero value is empty.
type Snapshot struct {
	revision int64
	cluster  *controlv1.Cluster

	topicsByName parts[string, *controlv1.Topic]
	topics       parts[ident.Topic, *controlv1.Topic]
	groupsByName parts[string, *controlv1.Group]
	groups       parts[ident.Group, *controlv1.Group]
	starts       parts[startKey, *controlv1.Start]
	startsOf     parts[ident.Group, []*controlv1.Start] // in order of recording
	shards       parts[ident.Shard, *controlv1.Shard]
	nodes        parts[ident.Node, *controlv1.Node]
}

type startKey struct {
	group ident.Group
	topic ident.Topic
}

// Revision is the metadata revision that this snapshot has; 0 before the first.
func (s *Snapshot) Revision() int64 { return s.revision }

// Cluster returns what holds for the whole cluster; nil before the first
// snapshot came.
func (s *Snapshot) Cluster() *controlv1.Cluster { return s.cluster }

// TopicByName returns the topic of that name, or nil.
func (s *Snapshot) TopicByName(name string) *controlv1.Topic { return s.topicsByName.get(name) }

// TopicByID returns that incarnation of a topic, or nil.
func (s *Snapshot) TopicByID(id ident.Topic) *controlv1.Topic { return s.topics.get(id) }

// GroupByName returns the group of that name, or nil.
func (s *Snapshot) GroupByName(name string) *controlv1.Group { return s.groupsByName.get(name) }

// GroupByID returns that incarnation of a group, or nil.
func (s *Snapshot) GroupByID(id ident.Group) *controlv1.Group { return s.groups.get(id) }

// StartOf returns when and where the group began in the topic, or nil when it
// has not subscribed it yet.
func (s *Snapshot) StartOf(group ident.Group, topic ident.Topic) *controlv1.Start {
	return s.starts.get(startKey{group, topic})
}

// StartsOf returns the starts of a group in all topics that it ever subscribed.
func (s *Snapshot) StartsOf(group ident.Group) []*controlv1.Start { return s.startsOf.get(group) }

// Shard returns the shard, or nil.
func (s *Snapshot) Shard(id ident.Shard) *controlv1.Shard { return s.shards.get(id) }

// Node returns the node, or nil.
func (s *Snapshot) Node(id ident.Node) *controlv1.Node { return s.nodes.get(id) }

// LeaderOf returns the node that leads the shard, or nil when nobody does.
func (s *Snapshot) LeaderOf(id ident.Shard) *controlv1.Node {
	shard := s.shards.get(id)
	if shard.GetPhase() != controlv1.Phase_PHASE_STEADY || shard.GetLeader() == nil {
		return nil
	}
	return s.nodes.get(ident.Node(shard.GetLeader().GetNode()))
}

// Topics yields all topics in no particular order.
func (s *Snapshot) Topics() iter.Seq[*controlv1.Topic] { return s.topics.all() }

// Groups yields all groups in no particular order.
func (s *Snapshot) Groups() iter.Seq[*controlv1.Group] { return s.groups.all() }

// Starts yields all starts in no particular order.
func (s *Snapshot) Starts() iter.Seq[*controlv1.Start] { return s.starts.all() }

// Shards yields all shards in no particular order.
func (s *Snapshot) Shards() iter.Seq[*controlv1.Shard] { return s.shards.all() }

// Nodes yields all nodes in no particular order.
func (s *Snapshot) Nodes() iter.Seq[*controlv1.Node] { return s.nodes.all() }

// Counts tells how many objects there are.
func (s *Snapshot) Counts() Counts {
	return Counts{
		Topics: s.topics.size, Groups: s.groups.size, Starts: s.starts.size,
		Shards: s.shards.size, Nodes: s.nodes.size,
	}
}

// Counts are numbers of objects.
type Counts struct{ Topics, Groups, Starts, Shards, Nodes int }
