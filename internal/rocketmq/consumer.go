// SPDX-License-Identifier: Apache-2.0

package rocketmq

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	v2 "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// receiveSlack is how much longer than its long poll a receive may take: the
// official clients' request timeout.
const receiveSlack = 3 * time.Second

// Consumer receives the messages of one topic for one group.
type Consumer struct {
	*Client

	group, topic string
	filter       *v2.FilterExpression
	queues       []*v2.MessageQueue // one per broker, taken in turn
	turn         atomic.Uint64
	telemetry    grpc.BidiStreamingClient[v2.TelemetryCommand, v2.TelemetryCommand]
}

// Subscribe asks for the topic's route, tells the server the subscription and
// waits for its settings. expression is a TAG expression, * for everything. The
// telemetry stream lives until ctx ends.
func (c *Client) Subscribe(ctx context.Context, group, topic, expression string) (*Consumer, error) {
	queues, err := c.Route(ctx, topic)
	if err != nil {
		return nil, err
	}
	k := &Consumer{
		Client: c, group: group, topic: topic, queues: perBroker(queues),
		filter: &v2.FilterExpression{Type: v2.FilterType_TAG, Expression: expression},
	}
	if len(k.queues) == 0 {
		return nil, fmt.Errorf("topic %s has no queue to read", topic)
	}
	if k.telemetry, err = c.Telemetry(c.Context(ctx)); err != nil {
		return nil, err
	}
	if err := k.telemetry.Send(k.settings()); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for {
		answer, err := k.telemetry.Recv()
		if err != nil {
			return nil, fmt.Errorf("telemetry: %w", err)
		}
		if answer.GetSettings() != nil {
			return k, nil
		}
		if err := Check(answer.GetStatus()); err != nil {
			return nil, err
		}
	}
}

// perBroker picks one queue of each broker: a receive names a queue and gets what
// its broker has.
func perBroker(queues []*v2.MessageQueue) (picked []*v2.MessageQueue) {
	seen := make(map[string]bool)
	for _, q := range queues {
		name := q.GetBroker().GetName()
		if !seen[name] && q.GetPermission() != v2.Permission_WRITE {
			seen[name] = true
			picked = append(picked, q)
		}
	}
	return picked
}

func (k *Consumer) settings() *v2.TelemetryCommand {
	kind := v2.ClientType_SIMPLE_CONSUMER
	return &v2.TelemetryCommand{Command: &v2.TelemetryCommand_Settings{Settings: &v2.Settings{
		ClientType:  &kind,
		AccessPoint: k.endpoints,
		UserAgent:   &v2.UA{Language: v2.Language_GOLANG, Version: "5.1.4"},
		PubSub: &v2.Settings_Subscription{Subscription: &v2.Subscription{
			Group:         Resource(k.group),
			Subscriptions: []*v2.SubscriptionEntry{{Topic: Resource(k.topic), Expression: k.filter}},
		}},
	}}}
}

// Receive leases up to batch messages for invisible, waiting up to wait for the
// first one. No message is no error.
func (k *Consumer) Receive(ctx context.Context, batch int32, invisible, wait time.Duration) ([]*v2.Message, error) {
	ctx, cancel := context.WithTimeout(k.Context(ctx), wait+receiveSlack)
	defer cancel()
	queue := k.queues[k.turn.Add(1)%uint64(len(k.queues))]
	stream, err := k.ReceiveMessage(ctx, &v2.ReceiveMessageRequest{
		Group: Resource(k.group), MessageQueue: queue, FilterExpression: k.filter, BatchSize: batch,
		InvisibleDuration: durationpb.New(invisible), LongPollingTimeout: durationpb.New(wait),
	})
	if err != nil {
		return nil, err
	}
	var messages []*v2.Message
	var status error
	for {
		frame, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return messages, status
		}
		if err != nil {
			return messages, err
		}
		switch content := frame.GetContent().(type) {
		case *v2.ReceiveMessageResponse_Message:
			messages = append(messages, content.Message)
		case *v2.ReceiveMessageResponse_Status:
			if content.Status.GetCode() != v2.Code_MESSAGE_NOT_FOUND {
				status = Check(content.Status)
			}
		}
	}
}

// Ack acknowledges a message of this consumer.
func (k *Consumer) Ack(ctx context.Context, m *v2.Message) error {
	return k.Client.Ack(ctx, k.group, m)
}
