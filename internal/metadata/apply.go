// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// Delta is what one step changed. Objects that were resent but did not change are
// not in it. What was deleted is there as it was last.
type Delta struct {
	Old, New *Snapshot

	Cluster bool // Cluster() changed
	Topics  []*controlv1.Topic
	Groups  []*controlv1.Group
	Starts  []*controlv1.Start
	Shards  []*controlv1.Shard
	Nodes   []*controlv1.Node

	DeletedTopics []*controlv1.Topic
	DeletedGroups []*controlv1.Group
	DeletedStarts []*controlv1.Start
	DeletedShards []*controlv1.Shard
	DeletedNodes  []*controlv1.Node
}

// step builds a snapshot from an older one.
type step struct {
	delta Delta

	topicsByName *edit[string, *controlv1.Topic]
	topics       *edit[ident.Topic, *controlv1.Topic]
	groupsByName *edit[string, *controlv1.Group]
	groups       *edit[ident.Group, *controlv1.Group]
	starts       *edit[startKey, *controlv1.Start]
	startsOf     *edit[ident.Group, []*controlv1.Start]
	shards       *edit[ident.Shard, *controlv1.Shard]
	nodes        *edit[ident.Node, *controlv1.Node]

	// newStarts are those that the old snapshot did not have, by group. Every group whose starts were touched has an
	// entry; its list is rebuilt once, at the end.
	newStarts map[ident.Group][]startKey
}

func begin(old *Snapshot) *step {
	return &step{
		delta:        Delta{Old: old},
		topicsByName: old.topicsByName.edit(),
		topics:       old.topics.edit(),
		groupsByName: old.groupsByName.edit(),
		groups:       old.groups.edit(),
		starts:       old.starts.edit(),
		startsOf:     old.startsOf.edit(),
		shards:       old.shards.edit(),
		nodes:        old.nodes.edit(),
		newStarts:    make(map[ident.Group][]startKey),
	}
}

// apply returns the snapshot that follows from old by the messages, all of them
// of one revision. When whole is set they are the whole state.
func apply(old *Snapshot, messages []*controlv1.WatchResponse, whole bool) Delta {
	s := begin(old)
	if whole {
		s.deleteAbsent(messages)
	}
	// What was deleted comes first: a name may have been given to another object.
	for _, m := range messages {
		s.deleteNamed(m)
	}
	cluster, revision := old.cluster, old.revision
	for _, m := range messages {
		s.put(m)
		revision = m.GetRevision()
		if m.GetCluster() != nil {
			cluster, s.delta.Cluster = m.GetCluster(), true
		}
	}
	s.listStarts()
	s.delta.New = &Snapshot{
		revision: revision, cluster: cluster,
		topicsByName: s.topicsByName.done(), topics: s.topics.done(),
		groupsByName: s.groupsByName.done(), groups: s.groups.done(),
		starts: s.starts.done(), startsOf: s.startsOf.done(),
		shards: s.shards.done(), nodes: s.nodes.done(),
	}
	return s.delta
}

// deleteAbsent deletes what the messages, being the whole state, do not name.
func (s *step) deleteAbsent(messages []*controlv1.WatchResponse) {
	topics, groups, starts := map[uint64]bool{}, map[uint64]bool{}, map[startKey]bool{}
	shards, nodes := map[uint32]bool{}, map[uint64]bool{}
	for _, m := range messages {
		for _, t := range m.GetTopics() {
			topics[t.GetId()] = true
		}
		for _, g := range m.GetGroups() {
			groups[g.GetId()] = true
		}
		for _, st := range m.GetStarts() {
			starts[keyOf(st)] = true
		}
		for _, sh := range m.GetShards() {
			shards[sh.GetId()] = true
		}
		for _, n := range m.GetNodes() {
			nodes[n.GetId()] = true
		}
	}
	old := s.delta.Old
	for t := range old.Topics() {
		s.deleteTopic(t.GetId(), topics)
	}
	for g := range old.Groups() {
		s.deleteGroup(g.GetId(), groups)
	}
	for st := range old.Starts() {
		s.deleteStart(keyOf(st), starts)
	}
	for sh := range old.Shards() {
		s.deleteShard(sh.GetId(), shards)
	}
	for n := range old.Nodes() {
		s.deleteNode(n.GetId(), nodes)
	}
}

func (s *step) deleteNamed(m *controlv1.WatchResponse) {
	for _, id := range m.GetDeletedTopics() {
		s.deleteTopic(id, nil)
	}
	for _, id := range m.GetDeletedGroups() {
		s.deleteGroup(id, nil)
	}
	for _, st := range m.GetDeletedStarts() {
		s.deleteStart(keyOf(st), nil)
	}
	for _, id := range m.GetDeletedShards() {
		s.deleteShard(id, nil)
	}
	for _, id := range m.GetDeletedNodes() {
		s.deleteNode(id, nil)
	}
}

func (s *step) deleteTopic(id uint64, keep map[uint64]bool) {
	topic := s.topics.get(ident.Topic(id))
	if topic == nil || keep[id] {
		return
	}
	s.topics.remove(ident.Topic(id))
	if s.topicsByName.get(topic.GetName()).GetId() == id {
		s.topicsByName.remove(topic.GetName())
	}
	s.delta.DeletedTopics = append(s.delta.DeletedTopics, topic)
}

func (s *step) deleteGroup(id uint64, keep map[uint64]bool) {
	group := s.groups.get(ident.Group(id))
	if group == nil || keep[id] {
		return
	}
	s.groups.remove(ident.Group(id))
	if s.groupsByName.get(group.GetName()).GetId() == id {
		s.groupsByName.remove(group.GetName())
	}
	s.delta.DeletedGroups = append(s.delta.DeletedGroups, group)
}

func (s *step) deleteStart(key startKey, keep map[startKey]bool) {
	start := s.starts.get(key)
	if start == nil || keep[key] {
		return
	}
	s.starts.remove(key)
	s.touch(key.group)
	s.delta.DeletedStarts = append(s.delta.DeletedStarts, start)
}

func (s *step) deleteShard(id uint32, keep map[uint32]bool) {
	shard := s.shards.get(ident.Shard(id))
	if shard == nil || keep[id] {
		return
	}
	s.shards.remove(ident.Shard(id))
	s.delta.DeletedShards = append(s.delta.DeletedShards, shard)
}

func (s *step) deleteNode(id uint64, keep map[uint64]bool) {
	node := s.nodes.get(ident.Node(id))
	if node == nil || keep[id] {
		return
	}
	s.nodes.remove(ident.Node(id))
	s.delta.DeletedNodes = append(s.delta.DeletedNodes, node)
}

// put takes over what a message names and what differs from what is known.
func (s *step) put(m *controlv1.WatchResponse) {
	for _, t := range m.GetTopics() {
		id := ident.Topic(t.GetId())
		if known := s.topics.get(id); known == nil || known.GetRevision() != t.GetRevision() {
			s.topics.set(id, t)
			s.topicsByName.set(t.GetName(), t)
			s.delta.Topics = append(s.delta.Topics, t)
		}
	}
	for _, g := range m.GetGroups() {
		id := ident.Group(g.GetId())
		if known := s.groups.get(id); known == nil || known.GetRevision() != g.GetRevision() {
			s.groups.set(id, g)
			s.groupsByName.set(g.GetName(), g)
			s.delta.Groups = append(s.delta.Groups, g)
		}
	}
	for _, st := range m.GetStarts() {
		s.putStart(st)
	}
	for _, sh := range m.GetShards() {
		id := ident.Shard(sh.GetId())
		if known := s.shards.get(id); known == nil || known.GetRevision() != sh.GetRevision() {
			s.shards.set(id, sh)
			s.delta.Shards = append(s.delta.Shards, sh)
		}
	}
	for _, n := range m.GetNodes() {
		id := ident.Node(n.GetId())
		if known := s.nodes.get(id); known == nil || known.GetRevision() != n.GetRevision() {
			s.nodes.set(id, n)
			s.delta.Nodes = append(s.delta.Nodes, n)
		}
	}
}

func (s *step) putStart(st *controlv1.Start) {
	key := keyOf(st)
	known := s.starts.get(key)
	if known != nil && known.GetRevision() == st.GetRevision() {
		return
	}
	s.starts.set(key, st)
	s.touch(key.group)
	if s.delta.Old.starts.get(key) == nil && known == nil {
		s.newStarts[key.group] = append(s.newStarts[key.group], key)
	}
	s.delta.Starts = append(s.delta.Starts, st)
}

// touch notes that a group's list of starts is to be rebuilt.
func (s *step) touch(group ident.Group) {
	if _, ok := s.newStarts[group]; !ok {
		s.newStarts[group] = nil
	}
}

// listStarts rebuilds the list of starts of every group that was touched.
func (s *step) listStarts() {
	for group, added := range s.newStarts {
		old := s.delta.Old.startsOf.get(group)
		list := make([]*controlv1.Start, 0, len(old)+len(added))
		for _, st := range old {
			if now := s.starts.get(keyOf(st)); now != nil {
				list = append(list, now)
			}
		}
		for _, key := range added {
			list = append(list, s.starts.get(key))
		}
		if len(list) == 0 {
			s.startsOf.remove(group)
		} else {
			s.startsOf.set(group, list)
		}
	}
}

func keyOf(st *controlv1.Start) startKey {
	return startKey{ident.Group(st.GetGroup()), ident.Topic(st.GetTopic())}
}
