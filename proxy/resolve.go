// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"strings"
	"time"

	"github.com/mansiomq/mansio/internal/ident"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// settleIn is how long this proxy may take to hear of what was created.
const settleIn = time.Second

// topic finds the topic that a request names.
func (p *Proxy) topic(r *pb.Resource) (*controlv1.Topic, *pb.Status) {
	return p.topicNamed(r.GetName())
}

func (p *Proxy) topicNamed(name string) (*controlv1.Topic, *pb.Status) {
	if bad := badTopic(name); bad != nil {
		return nil, bad
	}
	if t := p.o.Table.Snapshot().TopicByName(name); t != nil {
		return t, nil
	}
	return nil, p.noTopic(name)
}

func (p *Proxy) noTopic(name string) *pb.Status {
	if p.o.Table.Snapshot().Cluster() == nil {
		return status(pb.Code_INTERNAL_SERVER_ERROR, "this proxy has not heard from the controller yet")
	}
	return statusf(pb.Code_TOPIC_NOT_FOUND, "topic %s does not exist; create it with: mansio topic create %s", name, name)
}

// ensureTopic is topic, but creates it if that is allowed.
func (p *Proxy) ensureTopic(ctx context.Context, r *pb.Resource) (*controlv1.Topic, *pb.Status) {
	t, bad := p.topic(r)
	name := r.GetName()
	if bad.GetCode() != pb.Code_TOPIC_NOT_FOUND || strings.Contains(name, "%") || !p.o.Table.Snapshot().Cluster().GetAutoCreateTopics() {
		return t, bad
	}
	n := &creation{
		what: "topic", name: name, missing: pb.Code_TOPIC_NOT_FOUND, named: true,
		have: p.o.Table.Snapshot().Counts().Topics, most: p.o.TopicsMax,
	}
	n.do = func(ctx context.Context) (any, error) {
		created, err := p.metadata.EnsureTopic(ctx, &controlv1.EnsureTopicRequest{Name: name})
		if err != nil {
			return nil, err
		}
		p.hear(ctx, created.GetRevision())
		return created.GetTopic(), nil
	}
	v, bad := p.create(ctx, n)
	if bad != nil {
		return nil, bad
	}
	if t := p.o.Table.Snapshot().TopicByName(name); t != nil {
		return t, nil
	}
	return v.(*controlv1.Topic), nil //nolint:forcetypeassert // see above
}

// consumer is a group with what it needs to consume a topic.
type consumer struct {
	group *controlv1.Group
	start *controlv1.Start
}

// ensureGroup finds the group that a request names, and its start in the topic if
// there is a topic. What is missing is created if that is allowed.
func (p *Proxy) ensureGroup(ctx context.Context, r *pb.Resource, topic *controlv1.Topic) (consumer, *pb.Status) {
	name := r.GetName()
	if bad := badGroup(name); bad != nil {
		return consumer{}, bad
	}
	if c := p.findGroup(name, topic); c.group != nil && (topic == nil || c.start != nil) {
		return c, nil
	}
	snap := p.o.Table.Snapshot()
	if snap.Cluster() == nil {
		return consumer{}, status(pb.Code_INTERNAL_SERVER_ERROR, "this proxy has not heard from the controller yet")
	}
	if snap.GroupByName(name) == nil && !snap.Cluster().GetAutoCreateGroups() {
		return consumer{}, statusf(pb.Code_CONSUMER_GROUP_NOT_FOUND,
			"consumer group %s does not exist; create it with: mansio group create %s", name, name)
	}
	n := &creation{
		what: "consumer group", name: name, place: topic.GetName(), missing: pb.Code_CONSUMER_GROUP_NOT_FOUND,
		named: snap.GroupByName(name) == nil, have: snap.Counts().Groups, most: p.o.GroupsMax,
	}
	n.do = func(ctx context.Context) (any, error) {
		created, err := p.metadata.EnsureGroup(ctx, &controlv1.EnsureGroupRequest{Name: name, Topic: topic.GetName()})
		if err != nil {
			return nil, err
		}
		p.hear(ctx, created.GetRevision())
		return consumer{created.GetGroup(), created.GetStart()}, nil
	}
	v, bad := p.create(ctx, n)
	if bad != nil {
		return consumer{}, bad
	}
	if c := p.findGroup(name, topic); c.group != nil && (topic == nil || c.start != nil) {
		return c, nil
	}
	return v.(consumer), nil //nolint:forcetypeassert // see above
}

func (p *Proxy) findGroup(name string, topic *controlv1.Topic) (c consumer) {
	snap := p.o.Table.Snapshot()
	if c.group = snap.GroupByName(name); c.group != nil && topic != nil {
		c.start = snap.StartOf(ident.Group(c.group.GetId()), ident.Topic(topic.GetId()))
	}
	return c
}

// hear waits a moment until this proxy knows a revision; stores that do not will
// ask for the configuration.
func (p *Proxy) hear(ctx context.Context, revision int64) {
	ctx, cancel := context.WithTimeout(ctx, settleIn)
	defer cancel()
	_ = p.o.Table.WaitRevision(ctx, revision)
}
