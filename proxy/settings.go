// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"regexp"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mansiomq/mansio/internal/names"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/filter"
	"github.com/mansiomq/mansio/proxy/session"
)

// What settings say to clients.
const (
	bodyMax           = 4 << 20 // bytes of one message's body
	producerAttempts  = 3
	groupAttempts     = 17 // of a group that is not known
	receiveBatch      = 32
	pollAdvised       = 20 * time.Second
	liteQuota         = 2000
	producerBackoff   = 10 * time.Millisecond
	producerBackoffTo = time.Second
)

// defaultSteps is how long a failed message waits before its next attempts in a
// group that does not say.
var defaultSteps = []int64{
	1_000, 5_000, 10_000, 30_000, 60_000, 120_000, 180_000, 240_000, 300_000, 360_000, 420_000, 480_000, 540_000,
	600_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000,
}

// nodeLanguage is what the Node.js SDK calls itself.
const nodeLanguage = "HTTP"

// agree returns the settings that a client is to use: its own with the server's
// part filled in. It notes what the client consumes.
func (p *Proxy) agree(c *call, asked *pb.Settings) (*pb.Settings, *pb.Status) {
	if bad := badProperties(asked.GetClientProperties()); bad != nil {
		return nil, bad
	}
	s := proto.CloneOf(asked)
	s.Metric = &pb.Metric{On: false}
	switch {
	case s.GetPublishing() != nil:
		for _, t := range s.GetPublishing().GetTopics() {
			if bad := badTopic(t.GetName()); bad != nil {
				return nil, bad
			}
		}
		c.client.SetKind(pb.ClientType_PRODUCER)
		fillPublishing(s)
	case s.GetSubscription() != nil:
		if bad := p.subscribe(c, s); bad != nil {
			return nil, bad
		}
	default:
		return nil, status(pb.Code_UNRECOGNIZED_CLIENT_TYPE, "settings are neither a producer's nor a consumer's")
	}
	return s, nil
}

func fillPublishing(s *pb.Settings) {
	s.GetPublishing().MaxBodySize = bodyMax
	s.GetPublishing().ValidateMessageType = true
	s.BackoffPolicy = &pb.RetryPolicy{
		MaxAttempts: producerAttempts,
		Strategy: &pb.RetryPolicy_ExponentialBackoff{ExponentialBackoff: &pb.ExponentialBackoff{
			Initial: durationpb.New(producerBackoff), Max: durationpb.New(producerBackoffTo), Multiplier: 2,
		}},
	}
}

// subscribe notes a consumer's subscriptions and fills in its settings.
func (p *Proxy) subscribe(c *call, s *pb.Settings) *pb.Status {
	sub := s.GetSubscription()
	name := sub.GetGroup().GetName()
	if bad := badGroup(name); bad != nil {
		return bad
	}
	subscriptions := make([]session.Subscription, 0, min(len(sub.GetSubscriptions()), session.SubscriptionsMax+1))
	unknown := false
	for _, entry := range sub.GetSubscriptions() {
		if bad := badTopic(entry.GetTopic().GetName()); bad != nil {
			return bad
		}
		if len(subscriptions) > session.SubscriptionsMax {
			continue // more than fits: it will be known that there are more
		}
		f, err := filter.Parse(entry.GetExpression())
		if err != nil {
			unknown = true // its receives will be told why
			continue
		}
		subscriptions = append(subscriptions, session.Subscription{Topic: entry.GetTopic().GetName(), Filter: f})
	}
	group := p.join(c.ctx, sub.GetGroup(), subscriptions)
	kind := s.GetClientType()
	if !consumes(kind) {
		kind = pb.ClientType_PUSH_CONSUMER
	}
	c.client.SetKind(kind)
	news := c.client.Consumes(name, subscriptions)
	if unknown {
		c.client.Joined(name)
	}
	if news {
		p.announce(c.client)
	}
	fillSubscription(s, group, c.client.Language)
	return nil
}

// join makes sure that the group exists and has a start in each topic that it
// subscribes. A controller that is away must not keep a client from starting:
// then the defaults hold, and the first receive tries again.
func (p *Proxy) join(ctx context.Context, r *pb.Resource, subscriptions []session.Subscription) *controlv1.Group {
	known, bad := p.ensureGroup(ctx, r, nil)
	if bad != nil {
		return nil
	}
	for _, s := range subscriptions {
		topic := p.o.Table.Snapshot().TopicByName(s.Topic)
		if topic == nil {
			continue
		}
		if _, bad := p.ensureGroup(ctx, r, topic); bad != nil {
			break
		}
	}
	return known.group
}

func fillSubscription(s *pb.Settings, g *controlv1.Group, language string) {
	sub := s.GetSubscription()
	sub.Fifo = new(g.GetFifo())
	sub.ReceiveBatchSize = proto.Int32(receiveBatch)
	sub.LiteSubscriptionQuota = proto.Int32(liteQuota)
	sub.MaxLiteTopicSize = proto.Int32(names.LiteMax)
	poll := pollAdvised
	if own := sub.GetLongPollingTimeout(); s.GetClientType() == pb.ClientType_SIMPLE_CONSUMER && own.AsDuration() > 0 {
		poll = min(own.AsDuration(), pollMax)
	}
	sub.LongPollingTimeout = durationpb.New(poll)
	s.BackoffPolicy = retryPolicy(g, language)
}

// retryPolicy is the group's backoff in the form that the client can use.
func retryPolicy(g *controlv1.Group, language string) *pb.RetryPolicy {
	policy := &pb.RetryPolicy{MaxAttempts: groupAttempts}
	if g.GetMaxAttempts() > 0 {
		policy.MaxAttempts = int32(g.GetMaxAttempts()) //nolint:gosec // at most 250
	}
	steps, b := g.GetBackoff().GetStepsMs(), g.GetBackoff()
	if len(steps) == 0 && b.GetInitialMs() <= 0 {
		steps = defaultSteps
	}
	// Node.js takes a FIFO consumer with a list for one that never tries again.
	if len(steps) > 0 && !(g.GetFifo() && language == nodeLanguage) {
		next := make([]*durationpb.Duration, len(steps))
		for i, ms := range steps {
			next[i] = durationpb.New(time.Duration(ms) * time.Millisecond)
		}
		policy.Strategy = &pb.RetryPolicy_CustomizedBackoff{CustomizedBackoff: &pb.CustomizedBackoff{Next: next}}
		return policy
	}
	initial, most, multiplier := b.GetInitialMs(), b.GetMaxMs(), b.GetMultiplier()
	if len(steps) > 0 {
		initial, most, multiplier = steps[0], steps[len(steps)-1], 2
	}
	policy.Strategy = &pb.RetryPolicy_ExponentialBackoff{ExponentialBackoff: &pb.ExponentialBackoff{
		Initial:    durationpb.New(time.Duration(initial) * time.Millisecond),
		Max:        durationpb.New(time.Duration(max(most, initial)) * time.Millisecond),
		Multiplier: float32(max(multiplier, 1)),
	}}
	return policy
}

// Bounds of client properties.
const (
	propertiesMax      = 32
	propertyKeyMax     = 64
	propertyValueMax   = 256
	propertyBytesMax   = 4096
	reservedProperties = "rocketmq."
)

var propertyKey = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_.-]*$`)

// badProperties says what is wrong with what a client tells of itself.
func badProperties(properties map[string]string) *pb.Status {
	const code = pb.Code_INVALID_CLIENT_PROPERTIES
	if len(properties) > propertiesMax {
		return statusf(code, "%d client properties, at most %d are allowed", len(properties), propertiesMax)
	}
	total := 0
	for key, value := range properties {
		total += len(key) + len(value)
		switch {
		case len(key) > propertyKeyMax || !propertyKey.MatchString(key):
			return statusf(code, "client property key %q: 1 to %d letters, digits, _, . and -, the first a letter", key, propertyKeyMax)
		case strings.HasPrefix(key, reservedProperties):
			return statusf(code, "client property key %q is reserved", key)
		case len(value) > propertyValueMax:
			return statusf(code, "the value of client property %q has %d bytes, at most %d are allowed", key, len(value), propertyValueMax)
		}
	}
	if total > propertyBytesMax {
		return statusf(code, "client properties have %d bytes, at most %d are allowed", total, propertyBytesMax)
	}
	return nil
}
