// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/metadata"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// ready starts a controller with one node and a proxy that knows of its shards.
func ready(t *testing.T, change func(*Config)) (*world, *metadata.Table) {
	t.Helper()
	w := newWorld(t, change)
	table := w.watch("proxy p1")
	w.node("n1", nil)
	await(t, table, "two led shards", allLed(2))
	return w, table
}

func create(name string, change func(*controlv1.CreateTopicRequest)) *controlv1.CreateTopicRequest {
	request := &controlv1.CreateTopicRequest{Topic: &controlv1.Topic{Name: name}}
	if change != nil {
		change(request)
	}
	return request
}

func TestTopicLife(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, table := ready(t, nil)
		now := time.Now().UnixMilli()
		made, err := w.admin().CreateTopic(t.Context(), create("orders", func(r *controlv1.CreateTopicRequest) {
			r.Queues, r.Topic.Type = 3, controlv1.TopicType_TOPIC_TYPE_FIFO
		}))
		if err != nil {
			t.Fatal(err)
		}
		topic := made.GetTopic()
		born := topic.GetQueues()[0].GetCreatedRevision()
		want := &controlv1.Topic{
			Id: topic.GetId(), Name: "orders", Type: controlv1.TopicType_TOPIC_TYPE_FIFO, FifoQueues: 3, Deduplicate: true,
			Reply: controlv1.ReplyPoint_REPLY_POINT_COMMITTED, CreatedMs: now, UpdatedMs: now, Revision: made.GetRevision(),
			Queues: []*controlv1.Queue{{Shard: 1, CreatedRevision: born}, {Shard: 2, CreatedRevision: born}, {Shard: 1, CreatedRevision: born}},
		}
		if topic.GetId()%2 == 1 {
			want.Queues[0].Shard, want.Queues[1].Shard, want.Queues[2].Shard = 2, 1, 2
		}
		if diff := cmp.Diff(want, topic, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		if born > made.GetRevision() {
			t.Errorf("queues of revision %d in a topic of revision %d", born, made.GetRevision())
		}
		if diff := cmp.Diff(topic, table.Snapshot().TopicByName("orders"), protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		got, err := w.admin().GetTopic(t.Context(), &controlv1.GetTopicRequest{Name: "orders"})
		if diff := cmp.Diff(topic, got.GetTopic(), protocmp.Transform()); diff != "" || err != nil {
			t.Error(err, diff)
		}
		pass(time.Second)
		changed, err := w.admin().UpdateTopic(t.Context(), &controlv1.UpdateTopicRequest{Name: "orders", Deduplicate: new(false)})
		if err != nil || changed.GetTopic().GetDeduplicate() || changed.GetTopic().GetUpdatedMs() != now+1000 ||
			changed.GetTopic().GetId() != topic.GetId() || table.Snapshot().TopicByName("orders").GetDeduplicate() {
			t.Errorf("%v %v", changed, err)
		}
		if again, err := w.admin().UpdateTopic(t.Context(), &controlv1.UpdateTopicRequest{Name: "orders", Deduplicate: new(false)}); err != nil ||
			again.GetRevision() != changed.GetRevision() {
			t.Errorf("the same change again: %v %v", again, err)
		}
		if _, err := w.admin().DeleteTopic(t.Context(), &controlv1.DeleteTopicRequest{Name: "orders"}); err != nil {
			t.Fatal(err)
		}
		if table.Snapshot().TopicByName("orders") != nil || table.Snapshot().TopicByID(ident.Topic(topic.GetId())) != nil {
			t.Error("deleted, and still there")
		}
		reborn, err := w.admin().CreateTopic(t.Context(), create("orders", nil))
		if err != nil || reborn.GetTopic().GetId() <= topic.GetId() {
			t.Errorf("the id was used again: %v %v", reborn, err)
		}
	})
}

// Whoever was answered sees the change, also when nobody watches.
func TestAnswersAreVisible(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := newFaultyStore()
		w := newWorld(t, func(c *Config) { c.Store = store })
		w.node("n1", nil)
		pass(time.Second)
		store.set(func(s *faultyStore) {
			s.deliver = func(metastore.Batch) (bool, error) {
				<-time.NewTimer(50 * time.Millisecond).C
				return true, nil
			}
		})
		if _, err := w.admin().CreateTopic(t.Context(), create("t", nil)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.admin().UpdateTopic(t.Context(), &controlv1.UpdateTopicRequest{Name: "t", Queues: new(uint32(9))}); err != nil {
			t.Fatal(err)
		}
		got, err := w.admin().GetTopic(t.Context(), &controlv1.GetTopicRequest{Name: "t"})
		if err != nil || len(got.GetTopic().GetQueues()) != 9 {
			t.Errorf("%v %v", got, err)
		}
	})
}

// Errors have the code that the command line maps, and one line that says what to do.
func TestAdminErrors(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, _ := ready(t, nil)
		admin := w.admin()
		if _, err := admin.CreateTopic(t.Context(), create("t", nil)); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.CreateGroup(t.Context(), &controlv1.CreateGroupRequest{Group: &controlv1.Group{Name: "g"}}); err != nil {
			t.Fatal(err)
		}
		fails := func(name string, code codes.Code, says string, call func() error) {
			t.Helper()
			err := call()
			if status.Code(err) != code || err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v (%v)", name, err, status.Code(err))
			}
		}
		ctx := t.Context()
		fails("other type", codes.AlreadyExists, "type normal, not fifo", func() error {
			_, err := admin.CreateTopic(ctx, create("t", func(r *controlv1.CreateTopicRequest) { r.Topic.Type = controlv1.TopicType_TOPIC_TYPE_FIFO }))
			return err
		})
		fails("other queues, if not exists", codes.AlreadyExists, "queues 8, not 9", func() error {
			_, err := admin.CreateTopic(ctx, create("t", func(r *controlv1.CreateTopicRequest) { r.Queues, r.IfNotExists = 9, true }))
			return err
		})
		fails("bad name", codes.InvalidArgument, "letters", func() error {
			_, err := admin.CreateTopic(ctx, create("a b", nil))
			return err
		})
		fails("reserved name", codes.InvalidArgument, "reserved", func() error {
			_, err := admin.CreateTopic(ctx, create("%DLQ%x", nil))
			return err
		})
		fails("fewer queues", codes.InvalidArgument, "never fewer", func() error {
			_, err := admin.UpdateTopic(ctx, &controlv1.UpdateTopicRequest{Name: "t", Queues: proto.Uint32(1)})
			return err
		})
		fails("update nothing", codes.NotFound, "no topic", func() error {
			_, err := admin.UpdateTopic(ctx, &controlv1.UpdateTopicRequest{Name: "x"})
			return err
		})
		fails("get nothing", codes.NotFound, "no topic", func() error {
			_, err := admin.GetTopic(ctx, &controlv1.GetTopicRequest{Name: "x"})
			return err
		})
		fails("delete nothing", codes.NotFound, "no topic", func() error {
			_, err := admin.DeleteTopic(ctx, &controlv1.DeleteTopicRequest{Name: "x"})
			return err
		})
		fails("delete dead letters", codes.InvalidArgument, "delete the group first", func() error {
			_, err := admin.DeleteTopic(ctx, &controlv1.DeleteTopicRequest{Name: "%DLQ%g"})
			return err
		})
		fails("other group", codes.AlreadyExists, "max attempts 17, not 3", func() error {
			_, err := admin.CreateGroup(ctx, &controlv1.CreateGroupRequest{Group: &controlv1.Group{Name: "g", MaxAttempts: 3}})
			return err
		})
		fails("bad group", codes.InvalidArgument, "250", func() error {
			_, err := admin.UpdateGroup(ctx, &controlv1.UpdateGroupRequest{Name: "g", MaxAttempts: proto.Uint32(251)})
			return err
		})
		fails("no group", codes.NotFound, "no group", func() error {
			_, err := admin.GetGroup(ctx, &controlv1.GetGroupRequest{Name: "x"})
			return err
		})
		fails("update no group", codes.NotFound, "no group", func() error {
			_, err := admin.UpdateGroup(ctx, &controlv1.UpdateGroupRequest{Name: "x"})
			return err
		})
		fails("delete no group", codes.NotFound, "no group", func() error {
			_, err := admin.DeleteGroup(ctx, &controlv1.DeleteGroupRequest{Name: "x"})
			return err
		})
		fails("shards of nothing", codes.NotFound, "no topic", func() error {
			_, err := admin.ListShards(ctx, &controlv1.ListShardsRequest{Topic: "x"})
			return err
		})
		fails("a made-up token", codes.InvalidArgument, "page token", func() error {
			_, err := admin.ListTopics(ctx, &controlv1.ListTopicsRequest{PageToken: "!"})
			return err
		})
		// And these are fine.
		for name, call := range map[string]func() error{
			"the same again": func() error { _, err := admin.CreateTopic(ctx, create("t", nil)); return err },
			"only the name": func() error {
				_, err := admin.CreateTopic(ctx, create("t", func(r *controlv1.CreateTopicRequest) { r.IfNotExists = true }))
				return err
			},
			"the same group": func() error {
				_, err := admin.CreateGroup(ctx, &controlv1.CreateGroupRequest{Group: &controlv1.Group{Name: "g"}})
				return err
			},
			"delete if exists": func() error {
				_, err := admin.DeleteTopic(ctx, &controlv1.DeleteTopicRequest{Name: "x", IfExists: true})
				return err
			},
			"delete group if exists": func() error {
				_, err := admin.DeleteGroup(ctx, &controlv1.DeleteGroupRequest{Name: "x", IfExists: true})
				return err
			},
		} {
			if err := call(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestGroupLife(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, table := ready(t, nil)
		made, err := w.admin().CreateGroup(t.Context(), &controlv1.CreateGroupRequest{
			StrictExpiry: new(false), Group: &controlv1.Group{Name: "g", Fifo: true, MaxAttempts: 3},
		})
		if err != nil {
			t.Fatal(err)
		}
		group := made.GetGroup()
		letters := table.Snapshot().TopicByName("%DLQ%g")
		if group.GetStrictExpiry() || !group.GetFifo() || group.GetDeadLetterTopic() != letters.GetId() || letters.GetDeadLettersOf() != group.GetId() ||
			letters.GetRevision() != group.GetRevision() || letters.GetType() != controlv1.TopicType_TOPIC_TYPE_NORMAL {
			t.Errorf("%v\n%v", group, letters)
		}
		if on := shardsOf(letters); !slices.Equal(on, []uint32{1, 2}) {
			t.Errorf("dead letters on %v", on)
		}
		ensured, err := w.metadata().EnsureTopic(t.Context(), &controlv1.EnsureTopicRequest{Name: "t"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.metadata().EnsureGroup(t.Context(), &controlv1.EnsureGroupRequest{Name: "g", Topic: "t"}); err != nil {
			t.Fatal(err)
		}
		gid, tid := ident.Group(group.GetId()), ident.Topic(ensured.GetTopic().GetId())
		if table.Snapshot().StartOf(gid, tid) == nil {
			t.Error("no start")
		}
		// Deleting the group takes its starts along, and leaves its dead letters.
		if _, err := w.admin().DeleteGroup(t.Context(), &controlv1.DeleteGroupRequest{Name: "g"}); err != nil {
			t.Fatal(err)
		}
		pass(time.Millisecond) // the starts go in a commit of their own
		s := table.Snapshot()
		if s.GroupByName("g") != nil || s.StartOf(gid, tid) != nil || s.TopicByName("%DLQ%g") == nil {
			t.Errorf("%v %v %v", s.GroupByName("g"), s.StartOf(gid, tid), s.TopicByName("%DLQ%g"))
		}
		// A later group of that name gets them again.
		again, err := w.admin().CreateGroup(t.Context(), &controlv1.CreateGroupRequest{Group: &controlv1.Group{Name: "g"}})
		if err != nil || again.GetGroup().GetId() <= group.GetId() || again.GetGroup().GetDeadLetterTopic() != letters.GetId() {
			t.Errorf("%v %v", again, err)
		}
		if adopted := table.Snapshot().TopicByName("%DLQ%g"); adopted.GetDeadLettersOf() != again.GetGroup().GetId() {
			t.Errorf("%v", adopted)
		}
		// Without a group they can be deleted.
		if _, err := w.admin().DeleteGroup(t.Context(), &controlv1.DeleteGroupRequest{Name: "g"}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.admin().DeleteTopic(t.Context(), &controlv1.DeleteTopicRequest{Name: "%DLQ%g"}); err != nil {
			t.Error(err)
		}
	})
}

func shardsOf(topic *controlv1.Topic) []uint32 {
	var on []uint32
	for _, q := range topic.GetQueues() {
		on = append(on, q.GetShard())
	}
	slices.Sort(on)
	return slices.Compact(on)
}

func TestListsArePaged(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, _ := ready(t, nil)
		var want []string
		for i := range 25 {
			name := fmt.Sprintf("t%02d", i)
			want = append(want, name)
			if _, err := w.admin().CreateTopic(t.Context(), create(name, nil)); err != nil {
				t.Fatal(err)
			}
			if _, err := w.admin().CreateGroup(t.Context(), &controlv1.CreateGroupRequest{Group: &controlv1.Group{Name: name}}); err != nil {
				t.Fatal(err)
			}
		}
		for _, size := range []uint32{1, 10, 24, 25, 26, 0, 5000} {
			var topics, groups []string
			for token := ""; ; {
				page, err := w.admin().ListTopics(t.Context(), &controlv1.ListTopicsRequest{Prefix: "t", PageSize: size, PageToken: token})
				if err != nil || size > 0 && len(page.GetTopics()) > int(size) {
					t.Fatalf("%d topics in a page of %d, %v", len(page.GetTopics()), size, err)
				}
				for _, topic := range page.GetTopics() {
					topics = append(topics, topic.GetName())
				}
				if token = page.GetNextPageToken(); token == "" {
					break
				}
			}
			for token := ""; ; {
				page, err := w.admin().ListGroups(t.Context(), &controlv1.ListGroupsRequest{PageSize: size, PageToken: token})
				if err != nil {
					t.Fatal(err)
				}
				for _, group := range page.GetGroups() {
					groups = append(groups, group.GetName())
				}
				if token = page.GetNextPageToken(); token == "" {
					break
				}
			}
			if !slices.Equal(topics, want) || !slices.Equal(groups, want) {
				t.Errorf("pages of %d: %v %v", size, topics, groups)
			}
		}
		// A page is bounded in bytes as well.
		for i := range 14 {
			name := fmt.Sprintf("wide%02d", i)
			if _, err := w.admin().CreateTopic(t.Context(), create(name, func(r *controlv1.CreateTopicRequest) { r.Queues = 4096 })); err != nil {
				t.Fatal(err)
			}
		}
		page, err := w.admin().ListTopics(t.Context(), &controlv1.ListTopicsRequest{Prefix: "wide", PageSize: 1000})
		if size := proto.Size(page); err != nil || size > pageBytesMax+100_000 || len(page.GetTopics()) == 14 || page.GetNextPageToken() == "" {
			t.Errorf("%d topics, %d bytes, %v", len(page.GetTopics()), size, err)
		}
	})
}

func TestListShardsAndNodes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, table := ready(t, nil)
		w.node("n2", nil)
		await(t, table, "four led shards", allLed(4))
		if _, err := w.admin().CreateTopic(t.Context(), create("narrow", func(r *controlv1.CreateTopicRequest) { r.Queues = 1 })); err != nil {
			t.Fatal(err)
		}
		all, err := w.admin().ListShards(t.Context(), &controlv1.ListShardsRequest{})
		if err != nil || len(all.GetShards()) != 4 || len(all.GetNodes()) != 2 || all.GetShards()[0].GetId() != 1 || all.GetShards()[3].GetId() != 4 {
			t.Errorf("%v %v", all, err)
		}
		narrow, err := w.admin().ListShards(t.Context(), &controlv1.ListShardsRequest{Topic: "narrow"})
		if err != nil || len(narrow.GetShards()) != 1 || len(narrow.GetNodes()) != 1 {
			t.Errorf("%v %v", narrow, err)
		}
		nodes, err := w.admin().ListNodes(t.Context(), &controlv1.ListNodesRequest{})
		if err != nil || len(nodes.GetNodes()) != 2 || len(nodes.GetLive()) != 2 || nodes.GetNodes()[0].GetName() != "n1" {
			t.Errorf("%v %v", nodes, err)
		}
	})
}

func TestEnsureTopic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, table := ready(t, nil)
		// A hundred ask at once: it is made once, and everybody who was answered finds it in the table.
		var mu sync.Mutex
		ids := make(map[uint64]int)
		var askers sync.WaitGroup
		for range 100 {
			askers.Go(func() {
				got, err := w.metadata().EnsureTopic(t.Context(), &controlv1.EnsureTopicRequest{Name: "t"})
				if err != nil {
					t.Error(err)
					return
				}
				if table.Snapshot().TopicByName("t") == nil {
					t.Error("answered before it was applied")
				}
				mu.Lock()
				defer mu.Unlock()
				ids[got.GetTopic().GetId()]++
			})
		}
		askers.Wait()
		topic := table.Snapshot().TopicByName("t")
		if len(ids) != 1 || topic.GetType() != controlv1.TopicType_TOPIC_TYPE_MIXED || len(topic.GetQueues()) != 8 {
			t.Errorf("%v %v", ids, topic)
		}
		for name, code := range map[string]codes.Code{"a%b": codes.NotFound, "%DLQ%x": codes.NotFound, "": codes.InvalidArgument, "TBW102": codes.InvalidArgument} {
			if _, err := w.metadata().EnsureTopic(t.Context(), &controlv1.EnsureTopicRequest{Name: name}); status.Code(err) != code {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
}

func TestEnsureGroup(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, table := ready(t, func(c *Config) { c.ConsumeFrom = controlv1.ConsumeFrom_CONSUME_FROM_LATEST })
		topic, err := w.metadata().EnsureTopic(t.Context(), &controlv1.EnsureTopicRequest{Name: "t"})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UnixMilli()
		var askers sync.WaitGroup
		for range 50 {
			askers.Go(func() {
				if _, err := w.metadata().EnsureGroup(t.Context(), &controlv1.EnsureGroupRequest{Name: "g", Topic: "t"}); err != nil {
					t.Error(err)
				}
			})
		}
		askers.Wait()
		s := table.Snapshot()
		group := s.GroupByName("g")
		start := s.StartOf(ident.Group(group.GetId()), ident.Topic(topic.GetTopic().GetId()))
		if s.Counts().Groups != 1 || start.GetFrom() != controlv1.ConsumeFrom_CONSUME_FROM_LATEST || start.GetSinceMs() != now || start.GetRevision() != group.GetRevision() {
			t.Errorf("%v %v %v", s.Counts(), group, start)
		}
		// The start is recorded once, whoever asks again and however late.
		pass(time.Hour)
		again, err := w.metadata().EnsureGroup(t.Context(), &controlv1.EnsureGroupRequest{Name: "g", Topic: "t"})
		if diff := cmp.Diff(start, again.GetStart(), protocmp.Transform()); diff != "" || err != nil {
			t.Error(err, diff)
		}
		// Another topic, later: another start, of a group that exists.
		if _, err := w.metadata().EnsureTopic(t.Context(), &controlv1.EnsureTopicRequest{Name: "u"}); err != nil {
			t.Fatal(err)
		}
		other, err := w.metadata().EnsureGroup(t.Context(), &controlv1.EnsureGroupRequest{Name: "g", Topic: "u"})
		if err != nil || other.GetStart().GetSinceMs() != now+time.Hour.Milliseconds() || other.GetGroup().GetId() != group.GetId() {
			t.Errorf("%v %v", other, err)
		}
		if bare, err := w.metadata().EnsureGroup(t.Context(), &controlv1.EnsureGroupRequest{Name: "bare"}); err != nil || bare.GetStart() != nil {
			t.Errorf("%v %v", bare, err)
		}
		for name, c := range map[string]struct {
			request *controlv1.EnsureGroupRequest
			code    codes.Code
		}{
			"no topic":     {&controlv1.EnsureGroupRequest{Name: "g", Topic: "x"}, codes.NotFound},
			"system group": {&controlv1.EnsureGroupRequest{Name: "CID_RMQ_SYS_x"}, codes.InvalidArgument},
			"no name":      {&controlv1.EnsureGroupRequest{}, codes.InvalidArgument},
		} {
			if _, err := w.metadata().EnsureGroup(t.Context(), c.request); status.Code(err) != c.code {
				t.Errorf("%s: %v", name, err)
			}
		}
		// When the topic goes, the start goes with it.
		if _, err := w.admin().DeleteTopic(t.Context(), &controlv1.DeleteTopicRequest{Name: "u"}); err != nil {
			t.Fatal(err)
		}
		pass(time.Millisecond) // the starts go in a commit of their own
		if starts := table.Snapshot().StartsOf(ident.Group(group.GetId())); len(starts) != 1 || starts[0].GetTopic() != topic.GetTopic().GetId() {
			t.Errorf("%v", starts)
		}
	})
}

func TestNothingIsMadeByItself(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, table := ready(t, func(c *Config) { c.AutoCreateTopics, c.AutoCreateGroups = false, false })
		_, topic := w.metadata().EnsureTopic(t.Context(), &controlv1.EnsureTopicRequest{Name: "t"})
		_, group := w.metadata().EnsureGroup(t.Context(), &controlv1.EnsureGroupRequest{Name: "g"})
		for what, err := range map[string]error{"topic": topic, "group": group} {
			if status.Code(err) != codes.FailedPrecondition || !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if c := table.Snapshot().Cluster(); c.GetAutoCreateGroups() || c.GetAutoCreateTopics() {
			t.Errorf("%v", c)
		}
		// What an administrator made may be used.
		if _, err := w.admin().CreateTopic(t.Context(), create("t", nil)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.admin().CreateGroup(t.Context(), &controlv1.CreateGroupRequest{Group: &controlv1.Group{Name: "g"}}); err != nil {
			t.Fatal(err)
		}
		if got, err := w.metadata().EnsureGroup(t.Context(), &controlv1.EnsureGroupRequest{Name: "g", Topic: "t"}); err != nil || got.GetStart() == nil {
			t.Errorf("%v %v", got, err)
		}
	})
}

func TestTopicNeedsAShard(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		_, err := w.admin().CreateTopic(t.Context(), create("t", nil))
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "start a store node") {
			t.Errorf("%v", err)
		}
		// In a cluster that is just starting the call waits for the first shard.
		made := make(chan error, 1)
		go func() {
			_, err := w.admin().CreateTopic(t.Context(), create("t", nil))
			made <- err
		}()
		pass(time.Second)
		w.node("n1", nil)
		if err := <-made; err != nil {
			t.Error(err)
		}
	})
}

// New shards: topics spread over them, dead letters get a queue on each, FIFO topics stay as they are. Who subscribed
// before consumes the new queues from their beginning.
func TestGrowth(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, table := ready(t, nil)
		for name, kind := range map[string]controlv1.TopicType{
			"normal": controlv1.TopicType_TOPIC_TYPE_NORMAL, "fifo": controlv1.TopicType_TOPIC_TYPE_FIFO,
		} {
			if _, err := w.admin().CreateTopic(t.Context(), create(name, func(r *controlv1.CreateTopicRequest) { r.Topic.Type = kind })); err != nil {
				t.Fatal(err)
			}
		}
		group, err := w.metadata().EnsureGroup(t.Context(), &controlv1.EnsureGroupRequest{Name: "g", Topic: "normal"})
		if err != nil {
			t.Fatal(err)
		}
		before := table.Snapshot().TopicByName("normal")
		w.node("n2", nil)
		await(t, table, "four led shards", allLed(4))
		pass(5 * time.Second)
		s := table.Snapshot()
		normal := s.TopicByName("normal")
		if on := shardsOf(normal); len(on) != 4 || len(normal.GetQueues()) != 10 || normal.GetFifoQueues() != 8 {
			t.Errorf("%v", normal)
		}
		for i, q := range normal.GetQueues() {
			if i < 8 && !proto.Equal(q, before.GetQueues()[i]) {
				t.Errorf("queue %d moved", i)
			}
			if i >= 8 && q.GetCreatedRevision() <= group.GetStart().GetRevision() {
				t.Errorf("queue %d of revision %d, the group began at %d", i, q.GetCreatedRevision(), group.GetStart().GetRevision())
			}
		}
		if on := shardsOf(s.TopicByName("%DLQ%g")); len(on) != 4 {
			t.Errorf("dead letters on %v", on)
		}
		if fifo := s.TopicByName("fifo"); len(fifo.GetQueues()) != 8 || len(shardsOf(fifo)) != 2 {
			t.Errorf("%v", fifo)
		}
		// Nothing more happens.
		revision := s.Revision()
		pass(time.Minute)
		if now := table.Snapshot().Revision(); now != revision {
			t.Errorf("revision %d, then %d", revision, now)
		}
	})
}

// Commits that fail or of which nobody knows whether they happened end in one topic or none, and the same call again
// settles it.
func TestUnknownOutcome(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := newFaultyStore()
		w, table := ready(t, func(c *Config) { c.Store = store })
		lost := fault.Errorf("commit", fault.Timeout, "no answer from etcd")
		store.set(func(s *faultyStore) { s.after = func(metastore.Txn) error { return lost } })
		if _, err := w.admin().CreateTopic(t.Context(), create("t", nil)); !fault.Is(err, fault.Timeout) {
			t.Errorf("%v", err)
		}
		store.set(func(s *faultyStore) { s.after = nil })
		first := await(t, table, "the topic", func(s *metadata.Snapshot) bool { return s.TopicByName("t") != nil }).TopicByName("t")
		again, err := w.admin().CreateTopic(t.Context(), create("t", nil))
		if err != nil || again.GetTopic().GetId() != first.GetId() {
			t.Errorf("%v %v", again, err)
		}
		next, err := w.admin().CreateTopic(t.Context(), create("u", nil))
		if err != nil || next.GetTopic().GetId() <= first.GetId() {
			t.Errorf("%v %v", next, err)
		}
	})
}
