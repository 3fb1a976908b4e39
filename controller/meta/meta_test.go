// SPDX-License-Identifier: Apache-2.0

package meta

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func TestNewTopic(t *testing.T) {
	topic, queues, err := NewTopic(&controlv1.CreateTopicRequest{Topic: &controlv1.Topic{Name: "t"}})
	want := &controlv1.Topic{
		Name: "t", Type: controlv1.TopicType_TOPIC_TYPE_NORMAL, Reply: controlv1.ReplyPoint_REPLY_POINT_COMMITTED,
	}
	if diff := cmp.Diff(want, topic, protocmp.Transform()); diff != "" || err != nil || queues != QueuesDefault {
		t.Errorf("%v, %d queues, %s", err, queues, diff)
	}
	// What a client has no business to say is not taken over.
	topic, queues, err = NewTopic(&controlv1.CreateTopicRequest{Queues: 3, Topic: &controlv1.Topic{
		Name: "t", Id: 9, FifoQueues: 1, DeadLettersOf: 4, CreatedMs: 5, Queues: []*controlv1.Queue{{Shard: 1}},
		Type: controlv1.TopicType_TOPIC_TYPE_FIFO, Reply: controlv1.ReplyPoint_REPLY_POINT_ALL,
	}})
	want = &controlv1.Topic{
		Name: "t", Type: controlv1.TopicType_TOPIC_TYPE_FIFO, Reply: controlv1.ReplyPoint_REPLY_POINT_ALL, Deduplicate: true,
	}
	if diff := cmp.Diff(want, topic, protocmp.Transform()); diff != "" || err != nil || queues != 3 {
		t.Errorf("%v, %d queues, %s", err, queues, diff)
	}
	for name, request := range map[string]*controlv1.CreateTopicRequest{
		"no topic":        {},
		"bad name":        {Topic: &controlv1.Topic{Name: "a b"}},
		"dead letters":    {Topic: &controlv1.Topic{Name: "%DLQ%g"}},
		"retry":           {Topic: &controlv1.Topic{Name: "%RETRY%g"}},
		"too many queues": {Topic: &controlv1.Topic{Name: "t"}, Queues: QueuesMax + 1},
		"unknown type":    {Topic: &controlv1.Topic{Name: "t", Type: 99}},
		"unknown reply":   {Topic: &controlv1.Topic{Name: "t", Reply: 99}},
	} {
		if topic, _, err := NewTopic(request); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v %v", name, topic, err)
		}
	}
}

func TestAutoTopic(t *testing.T) {
	topic, queues, err := AutoTopic("t")
	if err != nil || topic.GetType() != controlv1.TopicType_TOPIC_TYPE_MIXED || queues != QueuesDefault {
		t.Errorf("%v %d %v", topic, queues, err)
	}
	if _, _, err := AutoTopic("a%b"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	if _, _, err := AutoTopic("rmq_sys_x"); !fault.Is(err, fault.Invalid) {
		t.Errorf("%v", err)
	}
}

func TestSameTopic(t *testing.T) {
	have := &controlv1.Topic{
		Name: "t", Type: controlv1.TopicType_TOPIC_TYPE_MIXED, Reply: controlv1.ReplyPoint_REPLY_POINT_ALL,
		Deduplicate: true, Queues: make([]*controlv1.Queue, 3),
	}
	exact := func(change func(*controlv1.CreateTopicRequest)) *controlv1.CreateTopicRequest {
		r := &controlv1.CreateTopicRequest{Queues: 3, Topic: &controlv1.Topic{
			Name: "t", Type: have.GetType(), Reply: have.GetReply(), Deduplicate: true,
		}}
		change(r)
		return r
	}
	for name, c := range map[string]struct {
		change func(*controlv1.CreateTopicRequest)
		says   string // "": the same
	}{
		"identical":         {func(*controlv1.CreateTopicRequest) {}, ""},
		"identical, or not": {func(r *controlv1.CreateTopicRequest) { r.IfNotExists = true }, ""},
		"type":              {func(r *controlv1.CreateTopicRequest) { r.Topic.Type = controlv1.TopicType_TOPIC_TYPE_DELAY }, "type mixed, not delay; a topic keeps its type"},
		"queues":            {func(r *controlv1.CreateTopicRequest) { r.Queues = 4 }, "queues 3, not 4"},
		"default queues":    {func(r *controlv1.CreateTopicRequest) { r.Queues = 0 }, "queues 3, not 8"},
		"reply":             {func(r *controlv1.CreateTopicRequest) { r.Topic.Reply = 0 }, "reply"},
		"deduplicate":       {func(r *controlv1.CreateTopicRequest) { r.Topic.Deduplicate = false }, "deduplicate true, not false"},
		"only the name, or not": {func(r *controlv1.CreateTopicRequest) {
			r.IfNotExists, r.Queues, r.Topic = true, 0, &controlv1.Topic{Name: "t"}
		}, ""},
		"queues, or not": {func(r *controlv1.CreateTopicRequest) { r.IfNotExists, r.Queues = true, 4 }, "queues 3, not 4"},
		"type, or not": {func(r *controlv1.CreateTopicRequest) {
			r.IfNotExists, r.Topic.Type = true, controlv1.TopicType_TOPIC_TYPE_NORMAL
		}, "type mixed, not normal"},
	} {
		err := SameTopic(have, exact(c.change))
		if c.says == "" && err != nil || c.says != "" && (!fault.Is(err, fault.Exists) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUpdateTopic(t *testing.T) {
	topic := func(kind controlv1.TopicType) *controlv1.Topic {
		return &controlv1.Topic{Name: "t", Type: kind, Reply: controlv1.ReplyPoint_REPLY_POINT_ALL, Queues: make([]*controlv1.Queue, 3)}
	}
	all := controlv1.ReplyPoint_REPLY_POINT_ALL
	normal := topic(controlv1.TopicType_TOPIC_TYPE_NORMAL)
	added, err := UpdateTopic(normal, &controlv1.UpdateTopicRequest{
		Queues: proto.Uint32(5), Reply: controlv1.ReplyPoint_REPLY_POINT_UNSPECIFIED.Enum(), Deduplicate: new(true),
	})
	if err != nil || added != 2 || normal.GetReply() != controlv1.ReplyPoint_REPLY_POINT_COMMITTED || !normal.GetDeduplicate() {
		t.Errorf("%d %v %v", added, normal, err)
	}
	letters := topic(controlv1.TopicType_TOPIC_TYPE_NORMAL)
	letters.DeadLettersOf = 4
	for name, c := range map[string]struct {
		topic   *controlv1.Topic
		request *controlv1.UpdateTopicRequest
		ok      bool
	}{
		"nothing":              {topic(controlv1.TopicType_TOPIC_TYPE_FIFO), &controlv1.UpdateTopicRequest{}, true},
		"the same queues":      {topic(controlv1.TopicType_TOPIC_TYPE_FIFO), &controlv1.UpdateTopicRequest{Queues: proto.Uint32(3)}, true},
		"fewer queues":         {topic(controlv1.TopicType_TOPIC_TYPE_MIXED), &controlv1.UpdateTopicRequest{Queues: proto.Uint32(2)}, false},
		"no queue":             {topic(controlv1.TopicType_TOPIC_TYPE_MIXED), &controlv1.UpdateTopicRequest{Queues: proto.Uint32(0)}, false},
		"too many queues":      {topic(controlv1.TopicType_TOPIC_TYPE_MIXED), &controlv1.UpdateTopicRequest{Queues: proto.Uint32(QueuesMax + 1)}, false},
		"more queues of MIXED": {topic(controlv1.TopicType_TOPIC_TYPE_MIXED), &controlv1.UpdateTopicRequest{Queues: proto.Uint32(4)}, true},
		"of FIFO":              {topic(controlv1.TopicType_TOPIC_TYPE_FIFO), &controlv1.UpdateTopicRequest{Queues: proto.Uint32(4)}, false},
		"of PRIORITY":          {topic(controlv1.TopicType_TOPIC_TYPE_PRIORITY), &controlv1.UpdateTopicRequest{Queues: proto.Uint32(4)}, false},
		"of LITE":              {topic(controlv1.TopicType_TOPIC_TYPE_LITE), &controlv1.UpdateTopicRequest{Queues: proto.Uint32(4)}, false},
		"of dead letters":      {letters, &controlv1.UpdateTopicRequest{Queues: proto.Uint32(4)}, false},
		"reply":                {topic(controlv1.TopicType_TOPIC_TYPE_FIFO), &controlv1.UpdateTopicRequest{Reply: &all}, true},
		"unknown reply":        {topic(controlv1.TopicType_TOPIC_TYPE_FIFO), &controlv1.UpdateTopicRequest{Reply: controlv1.ReplyPoint(9).Enum()}, false},
	} {
		if _, err := UpdateTopic(c.topic, c.request); (err == nil) != c.ok || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAddQueues(t *testing.T) {
	topic := &controlv1.Topic{Queues: []*controlv1.Queue{{Shard: 1, CreatedRevision: 5}}}
	AddQueues(topic, []ident.Shard{2, 3}, 9)
	want := []*controlv1.Queue{{Shard: 1, CreatedRevision: 5}, {Shard: 2, CreatedRevision: 10}, {Shard: 3, CreatedRevision: 10}}
	if diff := cmp.Diff(want, topic.GetQueues(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

const latest = controlv1.ConsumeFrom_CONSUME_FROM_LATEST

func TestNewGroup(t *testing.T) {
	group, err := NewGroup(&controlv1.CreateGroupRequest{Group: &controlv1.Group{Name: "g"}}, 0)
	want := &controlv1.Group{
		Name: "g", MaxAttempts: 17, Backoff: DefaultBackoff(), StrictExpiry: true,
		ConsumeFrom: controlv1.ConsumeFrom_CONSUME_FROM_EARLIEST, InvisibleMs: 60_000,
	}
	if diff := cmp.Diff(want, group, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if steps := DefaultBackoff().GetStepsMs(); len(steps) != 18 || steps[0] != 1000 || steps[17] != 7_200_000 {
		t.Errorf("%v", steps)
	}
	group, err = NewGroup(&controlv1.CreateGroupRequest{StrictExpiry: new(false), Group: &controlv1.Group{
		Name: "g", Id: 3, DeadLetterTopic: 4, Fifo: true, MaxAttempts: 250, InvisibleMs: 1, InFlightMax: 5,
		Backoff: &controlv1.Backoff{InitialMs: 1, MaxMs: 2, Multiplier: 1.5},
	}}, latest)
	want = &controlv1.Group{
		Name: "g", Fifo: true, MaxAttempts: 250, InvisibleMs: 1, InFlightMax: 5, ConsumeFrom: latest,
		Backoff: &controlv1.Backoff{InitialMs: 1, MaxMs: 2, Multiplier: 1.5},
	}
	if diff := cmp.Diff(want, group, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

func TestGroupLimits(t *testing.T) {
	hours25 := int64(25 * 3_600_000)
	for name, g := range map[string]*controlv1.Group{
		"no name":              {},
		"system name":          {Name: "CID_RMQ_SYS_x"},
		"too many attempts":    {Name: "g", MaxAttempts: 251},
		"negative lease":       {Name: "g", InvisibleMs: -1},
		"long lease":           {Name: "g", InvisibleMs: 12*3_600_000 + 1},
		"too many in flight":   {Name: "g", InFlightMax: InFlightMax + 1},
		"unknown start":        {Name: "g", ConsumeFrom: 9},
		"negative step":        {Name: "g", Backoff: &controlv1.Backoff{StepsMs: []int64{-1}}},
		"long step":            {Name: "g", Backoff: &controlv1.Backoff{StepsMs: []int64{hours25}}},
		"too many steps":       {Name: "g", Backoff: &controlv1.Backoff{StepsMs: make([]int64, BackoffStepsMax+1)}},
		"both kinds":           {Name: "g", Backoff: &controlv1.Backoff{StepsMs: []int64{1}, InitialMs: 1}},
		"no initial":           {Name: "g", Backoff: &controlv1.Backoff{MaxMs: 5, Multiplier: 2}},
		"max below initial":    {Name: "g", Backoff: &controlv1.Backoff{InitialMs: 5, MaxMs: 4, Multiplier: 2}},
		"long max":             {Name: "g", Backoff: &controlv1.Backoff{InitialMs: 5, MaxMs: hours25, Multiplier: 2}},
		"shrinking":            {Name: "g", Backoff: &controlv1.Backoff{InitialMs: 5, MaxMs: 9, Multiplier: 0.5}},
		"exploding":            {Name: "g", Backoff: &controlv1.Backoff{InitialMs: 5, MaxMs: 9, Multiplier: math.Inf(1)}},
		"multiplier of no use": {Name: "g", Backoff: &controlv1.Backoff{InitialMs: 5, MaxMs: 9, Multiplier: math.NaN()}},
	} {
		if group, err := NewGroup(&controlv1.CreateGroupRequest{Group: g}, 0); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v %v", name, group, err)
		}
	}
	for name, request := range map[string]*controlv1.UpdateGroupRequest{
		"no attempt":    {MaxAttempts: proto.Uint32(0)},
		"no lease":      {InvisibleMs: proto.Int64(0)},
		"no start":      {ConsumeFrom: controlv1.ConsumeFrom_CONSUME_FROM_UNSPECIFIED.Enum()},
		"bad backoff":   {Backoff: &controlv1.Backoff{StepsMs: []int64{-5}}},
		"many attempts": {MaxAttempts: proto.Uint32(251)},
	} {
		group, err := NewGroup(&controlv1.CreateGroupRequest{Group: &controlv1.Group{Name: "g"}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := UpdateGroup(group, request); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUpdateGroup(t *testing.T) {
	group, err := NewGroup(&controlv1.CreateGroupRequest{Group: &controlv1.Group{Name: "g"}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	before := proto.CloneOf(group)
	if err := UpdateGroup(group, &controlv1.UpdateGroupRequest{}); err != nil || !proto.Equal(before, group) {
		t.Errorf("nothing changed %v into %v, %v", before, group, err)
	}
	err = UpdateGroup(group, &controlv1.UpdateGroupRequest{
		MaxAttempts: proto.Uint32(3), Fifo: new(true), StrictExpiry: new(false), ConsumeFrom: latest.Enum(),
		InvisibleMs: proto.Int64(7), Backoff: &controlv1.Backoff{StepsMs: []int64{5}},
	})
	want := &controlv1.Group{
		Name: "g", Fifo: true, MaxAttempts: 3, Backoff: &controlv1.Backoff{StepsMs: []int64{5}}, ConsumeFrom: latest, InvisibleMs: 7,
	}
	if diff := cmp.Diff(want, group, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

func TestSameGroup(t *testing.T) {
	request := func(change func(*controlv1.CreateGroupRequest)) *controlv1.CreateGroupRequest {
		r := &controlv1.CreateGroupRequest{Group: &controlv1.Group{Name: "g", MaxAttempts: 3}}
		change(r)
		return r
	}
	have, err := NewGroup(request(func(*controlv1.CreateGroupRequest) {}), latest)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*controlv1.CreateGroupRequest)
		same   bool
	}{
		"identical":        {func(*controlv1.CreateGroupRequest) {}, true},
		"default attempts": {func(r *controlv1.CreateGroupRequest) { r.Group.MaxAttempts = 0 }, false},
		"any attempts":     {func(r *controlv1.CreateGroupRequest) { r.Group.MaxAttempts, r.IfNotExists = 0, true }, true},
		"other attempts":   {func(r *controlv1.CreateGroupRequest) { r.Group.MaxAttempts, r.IfNotExists = 4, true }, false},
		"fifo":             {func(r *controlv1.CreateGroupRequest) { r.Group.Fifo = true }, false},
		"backoff":          {func(r *controlv1.CreateGroupRequest) { r.Group.Backoff = &controlv1.Backoff{StepsMs: []int64{1}} }, false},
		"strict expiry":    {func(r *controlv1.CreateGroupRequest) { r.StrictExpiry = new(false) }, false},
		"consume from":     {func(r *controlv1.CreateGroupRequest) { r.Group.ConsumeFrom = 1 }, false},
		"lease":            {func(r *controlv1.CreateGroupRequest) { r.Group.InvisibleMs = 5 }, false},
		"in flight":        {func(r *controlv1.CreateGroupRequest) { r.Group.InFlightMax = 5 }, false},
	} {
		if err := SameGroup(have, request(c.change), latest); (err == nil) != c.same || err != nil && !fault.Is(err, fault.Exists) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
