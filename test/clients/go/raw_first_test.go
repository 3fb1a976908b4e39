// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mansiomq/mansio/test/clients/go/internal/raw"
)

// call is one RPC that answers a payload status.
type call struct {
	name string
	do   func(context.Context, *raw.Client) (*v2.Status, error)
}

// statusOf adapts the answer of a unary call.
func statusOf[R interface{ GetStatus() *v2.Status }](resp R, err error) (*v2.Status, error) {
	if err != nil {
		return nil, err
	}
	return resp.GetStatus(), nil
}

// settledBy returns the calls that need a leased message; each takes one from next.
func settledBy(group string, next func() *v2.Message) []call {
	return []call{
		{"AckMessage", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			m := next()
			return statusOf(c.AckMessage(ctx, &v2.AckMessageRequest{
				Group: raw.Resource(group), Topic: m.GetTopic(), Entries: []*v2.AckMessageEntry{raw.Entry(m)},
			}))
		}},
		{"ChangeInvisibleDuration", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			m := next()
			return statusOf(c.ChangeInvisibleDuration(ctx, &v2.ChangeInvisibleDurationRequest{
				Group: raw.Resource(group), Topic: m.GetTopic(), MessageId: m.GetSystemProperties().GetMessageId(),
				ReceiptHandle:     m.GetSystemProperties().GetReceiptHandle(),
				InvisibleDuration: durationpb.New(time.Minute),
			}))
		}},
		{"ForwardMessageToDeadLetterQueue", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			return statusOf(c.ForwardMessageToDeadLetterQueue(ctx, forwardRequest(group, next())))
		}},
	}
}

// builtCalls returns every RPC of this release but ReceiveMessage's twin stream Telemetry.
func builtCalls(topic, group string, next func() *v2.Message) []call {
	calls := []call{
		{"QueryRoute", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			return statusOf(c.QueryRoute(ctx, &v2.QueryRouteRequest{
				Topic: raw.Resource(topic), Endpoints: c.Endpoints(),
			}))
		}},
		{"Heartbeat of a producer", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			return statusOf(c.Heartbeat(ctx, &v2.HeartbeatRequest{ClientType: v2.ClientType_PRODUCER}))
		}},
		{"Heartbeat of a push consumer", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			return statusOf(c.Heartbeat(ctx, &v2.HeartbeatRequest{
				ClientType: v2.ClientType_PUSH_CONSUMER, Group: raw.Resource(group),
			}))
		}},
		{"SendMessage", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			return statusOf(c.SendMessage(ctx, &v2.SendMessageRequest{
				Messages: []*v2.Message{raw.Message(topic, "first")},
			}))
		}},
		{"QueryAssignment", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			return statusOf(c.QueryAssignment(ctx, &v2.QueryAssignmentRequest{
				Topic: raw.Resource(topic), Group: raw.Resource(group), Endpoints: c.Endpoints(),
			}))
		}},
		{"ReceiveMessage", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			got, err := c.Receive(ctx, raw.Receive{
				// A group of its own has all messages before it.
				Group: fmt.Sprintf("%s-%d", group, counter.Add(1)), Topic: topic, Invisible: time.Minute,
				Poll: 5 * time.Second,
			})
			return got.Status, err
		}},
		{"NotifyClientTermination", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			return statusOf(c.NotifyClientTermination(ctx, &v2.NotifyClientTerminationRequest{
				Group: raw.Resource(group),
			}))
		}},
		{"NotifyClientTermination with an empty group name", func(
			ctx context.Context, c *raw.Client,
		) (*v2.Status, error) {
			return statusOf(c.NotifyClientTermination(ctx, &v2.NotifyClientTerminationRequest{Group: raw.Resource("")}))
		}},
	}
	return append(calls, settledBy(group, next)...)
}

// laterCalls are the RPCs of later releases.
func laterCalls(topic, group string) []call {
	queue := &v2.MessageQueue{Topic: raw.Resource(topic), Broker: &v2.Broker{Name: "any"}}
	return []call{
		{"EndTransaction", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			return statusOf(c.EndTransaction(ctx, &v2.EndTransactionRequest{
				Topic: raw.Resource(topic), MessageId: "m", TransactionId: "t",
				Resolution: v2.TransactionResolution_COMMIT,
			}))
		}},
		{"RecallMessage", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			return statusOf(c.RecallMessage(ctx, &v2.RecallMessageRequest{
				Topic: raw.Resource(topic), RecallHandle: "handle",
			}))
		}},
		{"SyncLiteSubscription", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			return statusOf(c.SyncLiteSubscription(ctx, &v2.SyncLiteSubscriptionRequest{
				Action: v2.LiteSubscriptionAction_COMPLETE_ADD, Topic: raw.Resource(topic), Group: raw.Resource(group),
			}))
		}},
		{"UpdateOffset", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			return statusOf(c.UpdateOffset(ctx, &v2.UpdateOffsetRequest{
				Group: raw.Resource(group), MessageQueue: queue, Offset: 1,
			}))
		}},
		{"GetOffset", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			return statusOf(c.GetOffset(ctx, &v2.GetOffsetRequest{Group: raw.Resource(group), MessageQueue: queue}))
		}},
		{"QueryOffset", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			return statusOf(c.QueryOffset(ctx, &v2.QueryOffsetRequest{
				MessageQueue: queue, QueryOffsetPolicy: v2.QueryOffsetPolicy_END,
			}))
		}},
		{"PullMessage", func(ctx context.Context, c *raw.Client) (*v2.Status, error) {
			return pullStatus(c.PullMessage(ctx, &v2.PullMessageRequest{
				Group: raw.Resource(group), MessageQueue: queue, BatchSize: 1,
				LongPollingTimeout: durationpb.New(time.Second),
			}))
		}},
	}
}

func pullStatus(stream v2.MessagingService_PullMessageClient, err error) (*v2.Status, error) {
	var status *v2.Status
	for err == nil {
		var frame *v2.PullMessageResponse
		if frame, err = stream.Recv(); err == nil && frame.GetStatus() != nil {
			status = frame.GetStatus()
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return status, err
}

// TestRawFirstCall says that each RPC may be the first that the server ever hears of a client: no telemetry, no
// heartbeat, a connection of its own.
func TestRawFirstCall(t *testing.T) {
	t.Parallel()
	topic, group := newTopic(t, "normal"), unique(t)
	next := leases(t, topic, group)
	for _, rpc := range builtCalls(topic, group, next) {
		for _, secure := range []bool{false, true} {
			name := rpc.name + " plaintext"
			if secure {
				name = rpc.name + " TLS"
			}
			t.Run(name, func(t *testing.T) {
				c := dialTo(t, shared.Addr, secure)
				ctx, cancel := c.Call(t.Context())
				defer cancel()
				status, err := rpc.do(ctx, c)
				if err != nil {
					t.Fatal(err)
				}
				wantCode(t, rpc.name, status, v2.Code_OK)
			})
		}
	}
}

// leases returns a function that sends a message and receives it for the group, as another client.
func leases(t *testing.T, topic, group string) func() *v2.Message {
	c := dial(t)
	return func() *v2.Message {
		send(t, c, raw.Message(topic, "to settle"))
		return receive(t, c, raw.Receive{Group: group, Topic: topic, Batch: 1, Invisible: time.Minute})[0]
	}
}

// TestRawLaterCalls says that an RPC that is not built answers so in the payload, never by a gRPC error.
func TestRawLaterCalls(t *testing.T) {
	t.Parallel()
	topic, group := newTopic(t, "normal"), unique(t)
	for _, rpc := range laterCalls(topic, group) {
		t.Run(rpc.name, func(t *testing.T) {
			c := dial(t)
			ctx, cancel := c.Call(t.Context())
			defer cancel()
			status, err := rpc.do(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, rpc.name, status, v2.Code_NOT_IMPLEMENTED)
		})
	}
}

// TestRawClientID says that a call without a client id is answered so, whatever it asks.
func TestRawClientID(t *testing.T) {
	t.Parallel()
	topic, group := newTopic(t, "normal"), unique(t)
	forged := raw.Message(topic, "")
	c := dial(t)
	calls := append(builtCalls(topic, group, func() *v2.Message { return forged }), laterCalls(topic, group)...)
	for _, id := range []string{"", "  "} {
		nobody := c.As(id)
		for _, rpc := range calls {
			t.Run(rpc.name+" as "+map[string]string{"": "nobody", "  ": "blank"}[id], func(t *testing.T) {
				ctx, cancel := nobody.Call(t.Context())
				defer cancel()
				status, err := rpc.do(ctx, nobody)
				if err != nil {
					t.Fatal(err)
				}
				wantCode(t, rpc.name, status, v2.Code_CLIENT_ID_REQUIRED)
			})
		}
	}
}

// TestRawHeaders says that no header but the client id is looked at.
func TestRawHeaders(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "normal")
	c := dial(t)
	odd := []string{
		"x-mq-language", "COBOL", "x-mq-date-time", "yesterday", "x-mq-client-version", "x", "x-mq-protocol", "v99",
		"authorization", "MQv2-HMAC-SHA1 Credential=, SignedHeaders=x-mq-date-time, Signature=", "x-mq-channel-id", "9",
		"rpc-remote-address", "1.2.3.4:5",
	}
	ctx, cancel := context.WithTimeout(headers(t.Context(), append(odd, "x-mq-client-id", c.ID)...), raw.CallWithin)
	defer cancel()
	resp, err := c.SendMessage(ctx, &v2.SendMessageRequest{Messages: []*v2.Message{raw.Message(topic, "odd")}})
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "send", resp.GetStatus(), v2.Code_OK)
}
