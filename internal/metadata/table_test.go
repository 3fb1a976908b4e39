// SPDX-License-Identifier: Apache-2.0

package metadata

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// model is the dumb counterpart of a snapshot: plain maps.
type model struct {
	revision int64
	topics   map[uint64]*controlv1.Topic
	groups   map[uint64]*controlv1.Group
	starts   map[[2]uint64]*controlv1.Start
	shards   map[uint32]*controlv1.Shard
	nodes    map[uint64]*controlv1.Node
}

func newModel() *model {
	return &model{
		topics: map[uint64]*controlv1.Topic{}, groups: map[uint64]*controlv1.Group{}, starts: map[[2]uint64]*controlv1.Start{},
		shards: map[uint32]*controlv1.Shard{}, nodes: map[uint64]*controlv1.Node{},
	}
}

// state is the model as a watch gives it, in one part or two.
func (m *model) state(split bool) []*controlv1.WatchResponse {
	one := &controlv1.WatchResponse{Snapshot: true, Revision: m.revision, Cluster: &controlv1.Cluster{Uuid: "c"}}
	two := one
	if split {
		one.More = true
		two = &controlv1.WatchResponse{Snapshot: true, Revision: m.revision, Cluster: one.GetCluster()}
	}
	for _, t := range m.topics {
		one.Topics = append(one.Topics, t)
	}
	for _, g := range m.groups {
		two.Groups = append(two.Groups, g)
	}
	for _, s := range m.starts {
		two.Starts = append(two.Starts, s)
	}
	for _, s := range m.shards {
		one.Shards = append(one.Shards, s)
	}
	for _, n := range m.nodes {
		two.Nodes = append(two.Nodes, n)
	}
	if split {
		return []*controlv1.WatchResponse{one, two}
	}
	return []*controlv1.WatchResponse{one}
}

// change changes the model at random and returns the change as a watch gives it. Ids are never used again, names are.
func (m *model) change(rt *rapid.T) *controlv1.WatchResponse {
	m.revision++
	c := &controlv1.WatchResponse{Revision: m.revision}
	id := uint64(m.revision)
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "name")
	switch rapid.IntRange(0, 6).Draw(rt, "what") {
	case 0:
		for old, t := range m.topics {
			if t.GetName() == name { // deleted and made again in one step
				delete(m.topics, old)
				c.DeletedTopics = append(c.DeletedTopics, old)
			}
		}
		m.topics[id] = &controlv1.Topic{Id: id, Name: name, Revision: m.revision}
		c.Topics = append(c.Topics, m.topics[id])
	case 1:
		for old, g := range m.groups {
			if g.GetName() == name {
				delete(m.groups, old)
				c.DeletedGroups = append(c.DeletedGroups, old)
			}
		}
		m.groups[id] = &controlv1.Group{Id: id, Name: name, Revision: m.revision}
		c.Groups = append(c.Groups, m.groups[id])
	case 2:
		key := [2]uint64{rapid.Uint64Range(1, 3).Draw(rt, "group"), rapid.Uint64Range(1, 3).Draw(rt, "topic")}
		m.starts[key] = &controlv1.Start{Group: key[0], Topic: key[1], Revision: m.revision}
		c.Starts = append(c.Starts, m.starts[key])
	case 3:
		for key := range m.starts {
			delete(m.starts, key)
			c.DeletedStarts = append(c.DeletedStarts, &controlv1.Start{Group: key[0], Topic: key[1]})
			break
		}
	case 4:
		shard := rapid.Uint32Range(1, 3).Draw(rt, "shard")
		m.shards[shard] = &controlv1.Shard{Id: shard, Term: id, Revision: m.revision}
		c.Shards = append(c.Shards, m.shards[shard])
		if other := shard%3 + 1; m.shards[other] != nil {
			delete(m.shards, other)
			c.DeletedShards = append(c.DeletedShards, other)
		}
	case 5:
		node := rapid.Uint64Range(1, 3).Draw(rt, "node")
		m.nodes[node] = &controlv1.Node{Id: node, Instance: id, Revision: m.revision}
		c.Nodes = append(c.Nodes, m.nodes[node])
	default:
		for old := range m.topics {
			delete(m.topics, old)
			c.DeletedTopics = append(c.DeletedTopics, old, 999_999) // one that nobody knows as well
			break
		}
	}
	return c
}

// check compares a snapshot with the model, by every way of asking.
func (m *model) check(t require, s *Snapshot) {
	got := newModel()
	got.revision = s.Revision()
	for topic := range s.Topics() {
		got.topics[topic.GetId()] = topic
		if s.TopicByName(topic.GetName()) != topic || s.TopicByID(ident.Topic(topic.GetId())) != topic {
			t.Errorf("topic %v is not found", topic)
		}
	}
	for group := range s.Groups() {
		got.groups[group.GetId()] = group
		if s.GroupByName(group.GetName()) != group || s.GroupByID(ident.Group(group.GetId())) != group {
			t.Errorf("group %v is not found", group)
		}
	}
	listed := 0
	for start := range s.Starts() {
		got.starts[[2]uint64{start.GetGroup(), start.GetTopic()}] = start
		group, topic := ident.Group(start.GetGroup()), ident.Topic(start.GetTopic())
		if s.StartOf(group, topic) != start || !slices.Contains(s.StartsOf(group), start) {
			t.Errorf("start %v is not found", start)
		}
		listed = max(listed, len(s.StartsOf(group)))
	}
	for group := range ident.Group(4) {
		for _, start := range s.StartsOf(group) {
			if s.StartOf(group, ident.Topic(start.GetTopic())) != start {
				t.Errorf("start %v is listed, but not there", start)
			}
		}
	}
	for shard := range s.Shards() {
		got.shards[shard.GetId()] = shard
		if s.Shard(ident.Shard(shard.GetId())) != shard {
			t.Errorf("shard %v is not found", shard)
		}
	}
	for node := range s.Nodes() {
		got.nodes[node.GetId()] = node
		if s.Node(ident.Node(node.GetId())) != node {
			t.Errorf("node %v is not found", node)
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		if topic := s.TopicByName(name); topic != nil && got.topics[topic.GetId()] != topic {
			t.Errorf("name %s leads to %v, which is gone", name, topic)
		}
		if group := s.GroupByName(name); group != nil && got.groups[group.GetId()] != group {
			t.Errorf("name %s leads to %v, which is gone", name, group)
		}
	}
	if diff := cmp.Diff(m, got, cmp.AllowUnexported(model{}), protocmp.Transform()); diff != "" {
		t.Errorf("%s", diff)
	}
	counts := Counts{len(m.topics), len(m.groups), len(m.starts), len(m.shards), len(m.nodes)}
	if s.Counts() != counts {
		t.Errorf("counts %v, not %v", s.Counts(), counts)
	}
}

// require is what check needs of a test.
type require interface {
	Errorf(format string, args ...any)
}

// Whatever is applied in whichever form, the table equals plain maps; older snapshots stay as they were; and the
// deltas alone rebuild it.
func TestTableEqualsMaps(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		table, m := NewTable(), newModel()
		fromDeltas := newModel()
		table.OnApply(func(d Delta) { fromDeltas.follow(rt, d) })
		m.revision = 1
		if err := table.Apply(m.state(false)...); err != nil {
			rt.Fatal(err)
		}
		old, oldModel := table.Snapshot(), *m
		oldModel.topics = map[uint64]*controlv1.Topic{}
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			change := m.change(rt)
			messages := []*controlv1.WatchResponse{change}
			switch rapid.IntRange(0, 3).Draw(rt, "form") {
			case 0:
				messages = m.state(false)
			case 1:
				messages = m.state(true)
			default:
			}
			if err := table.Apply(messages...); err != nil {
				rt.Fatal(err)
			}
			m.check(rt, table.Snapshot())
			fromDeltas.revision = m.revision
			fromDeltas.check(rt, table.Snapshot())
		}
		oldModel.groups, oldModel.starts = map[uint64]*controlv1.Group{}, map[[2]uint64]*controlv1.Start{}
		oldModel.shards, oldModel.nodes = map[uint32]*controlv1.Shard{}, map[uint64]*controlv1.Node{}
		oldModel.check(rt, old)
	})
}

// follow applies a delta to a model, strictly: nothing is deleted that is not there.
func (m *model) follow(rt *rapid.T, d Delta) {
	for _, t := range d.DeletedTopics {
		if m.topics[t.GetId()] == nil {
			rt.Errorf("topic %v deleted twice", t)
		}
		delete(m.topics, t.GetId())
	}
	for _, g := range d.DeletedGroups {
		delete(m.groups, g.GetId())
	}
	for _, s := range d.DeletedStarts {
		delete(m.starts, [2]uint64{s.GetGroup(), s.GetTopic()})
	}
	for _, s := range d.DeletedShards {
		delete(m.shards, s.GetId())
	}
	for _, n := range d.DeletedNodes {
		delete(m.nodes, n.GetId())
	}
	for _, t := range d.Topics {
		if m.topics[t.GetId()] == t {
			rt.Errorf("topic %v did not change", t)
		}
		m.topics[t.GetId()] = t
	}
	for _, g := range d.Groups {
		m.groups[g.GetId()] = g
	}
	for _, s := range d.Starts {
		m.starts[[2]uint64{s.GetGroup(), s.GetTopic()}] = s
	}
	for _, s := range d.Shards {
		m.shards[s.GetId()] = s
	}
	for _, n := range d.Nodes {
		m.nodes[n.GetId()] = n
	}
}

func TestApplyRefuses(t *testing.T) {
	whole := func(revision int64, c *controlv1.Cluster) *controlv1.WatchResponse {
		return &controlv1.WatchResponse{Snapshot: true, Revision: revision, Cluster: c}
	}
	here := &controlv1.Cluster{Uuid: "c", EtcdClusterId: 1}
	for name, c := range map[string]struct {
		message *controlv1.WatchResponse
		kind    fault.Kind // Other: accepted
		after   int64
	}{
		"same again":            {whole(10, here), fault.Other, 10},
		"newer":                 {whole(11, here), fault.Other, 11},
		"older":                 {whole(9, here), fault.Unavailable, 10},
		"older, another etcd":   {whole(9, &controlv1.Cluster{Uuid: "c", EtcdClusterId: 2}), fault.Other, 9},
		"older, restored":       {whole(9, &controlv1.Cluster{Uuid: "c", EtcdClusterId: 1, RestoreEpoch: 1}), fault.Other, 9},
		"another cluster":       {whole(20, &controlv1.Cluster{Uuid: "d"}), fault.Incompatible, 10},
		"old change":            {&controlv1.WatchResponse{Revision: 10, DeletedTopics: []uint64{1}}, fault.Other, 10},
		"change of cluster":     {&controlv1.WatchResponse{Revision: 11, Cluster: &controlv1.Cluster{Uuid: "d"}}, fault.Incompatible, 10},
		"change of its options": {&controlv1.WatchResponse{Revision: 11, Cluster: &controlv1.Cluster{Uuid: "c", AutoCreateTopics: true}}, fault.Other, 11},
	} {
		t.Run(name, func(t *testing.T) {
			table := NewTable()
			first := whole(10, here)
			first.Topics = []*controlv1.Topic{{Id: 1, Name: "t", Revision: 3}}
			if err := table.Apply(first); err != nil {
				t.Fatal(err)
			}
			err := table.Apply(c.message)
			if fault.KindOf(err) != c.kind || (err == nil) != (c.kind == fault.Other) || table.Snapshot().Revision() != c.after {
				t.Errorf("%v, revision %d", err, table.Snapshot().Revision())
			}
		})
	}
	if err := NewTable().Apply(&controlv1.WatchResponse{Revision: 5}); !fault.Is(err, fault.Corrupt) {
		t.Errorf("a change before the state: %v", err)
	}
}

// A revision counts as applied when all listeners have returned, not before.
func TestWaitRevisionWaitsForListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := NewTable()
		listening, goOn := make(chan struct{}), make(chan struct{})
		table.OnApply(func(d Delta) {
			if d.New != table.Snapshot() {
				t.Error("the listener came before the snapshot")
			}
			close(listening)
			<-goOn
		})
		waited := make(chan error, 1)
		go func() { waited <- table.WaitRevision(t.Context(), 7) }()
		go func() {
			_ = table.Apply(&controlv1.WatchResponse{Snapshot: true, Revision: 7, Cluster: &controlv1.Cluster{}})
		}()
		<-listening
		synctest.Wait()
		select {
		case err := <-waited:
			t.Errorf("returned %v while a listener runs", err)
		default:
		}
		if table.Applied() != 0 {
			t.Errorf("applied %d", table.Applied())
		}
		close(goOn)
		if err := <-waited; err != nil || table.Applied() != 7 {
			t.Errorf("%v, applied %d", err, table.Applied())
		}
	})
}

func TestWaitRevisionGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := NewTable().WaitRevision(ctx, 1); !fault.Is(err, fault.Timeout) {
			t.Errorf("%v", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if err := NewTable().WaitRevision(ctx, 1); !fault.Is(err, fault.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

func TestLeaderOf(t *testing.T) {
	table := NewTable()
	leader := &controlv1.ReplicaID{Node: 4, Incarnation: 1}
	err := table.Apply(&controlv1.WatchResponse{
		Snapshot: true, Revision: 1, Cluster: &controlv1.Cluster{},
		Nodes: []*controlv1.Node{{Id: 4, Name: "n"}},
		Shards: []*controlv1.Shard{
			{Id: 1, Phase: controlv1.Phase_PHASE_STEADY, Leader: leader},
			{Id: 2, Phase: controlv1.Phase_PHASE_ELECTING},
			{Id: 3, Phase: controlv1.Phase_PHASE_STEADY, Leader: &controlv1.ReplicaID{Node: 5}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := table.Snapshot()
	if s.LeaderOf(1).GetName() != "n" || s.LeaderOf(2) != nil || s.LeaderOf(3) != nil || s.LeaderOf(4) != nil {
		t.Errorf("%v %v %v %v", s.LeaderOf(1), s.LeaderOf(2), s.LeaderOf(3), s.LeaderOf(4))
	}
}

// Readers on many goroutines see whole revisions only.
func TestReadWhileApplying(t *testing.T) {
	table := NewTable()
	step := func(revision int64) *controlv1.WatchResponse {
		return &controlv1.WatchResponse{
			Snapshot: revision == 1, Revision: revision, Cluster: &controlv1.Cluster{Uuid: "c"},
			Topics: []*controlv1.Topic{
				{Id: 1, Name: "a", Revision: revision}, {Id: 2, Name: "b", Revision: revision},
			},
		}
	}
	if err := table.Apply(step(1)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				s := table.Snapshot()
				if a, b := s.TopicByName("a"), s.TopicByID(2); a.GetRevision() != s.Revision() || b.GetRevision() != s.Revision() {
					t.Errorf("revision %d: %v %v", s.Revision(), a, b)
					return
				}
			}
		})
	}
	for revision := int64(2); revision < 500; revision++ {
		if err := table.Apply(step(revision)); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	readers.Wait()
}

// A change to a table of many objects costs what it changes.
func TestChangeIsCheap(t *testing.T) {
	small, large := manyTopics(t, 500), manyTopics(t, 20_000)
	cost := func(table *Table) float64 {
		revision := table.Applied()
		return testing.AllocsPerRun(20, func() {
			revision++
			topic := &controlv1.Topic{Id: 7, Name: fmt.Sprintf("topic-%06d", 6), Revision: revision}
			if err := table.Apply(&controlv1.WatchResponse{Revision: revision, Topics: []*controlv1.Topic{topic}}); err != nil {
				t.Fatal(err)
			}
		})
	}
	if s, l := cost(small), cost(large); l > 2*s+20 {
		t.Errorf("%v allocations with 500 topics, %v with 20,000", s, l)
	}
}
