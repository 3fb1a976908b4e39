// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mansiomq/mansio/test/clients/go/internal/raw"
)

func headers(ctx context.Context, pairs ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func producerSettings(c *raw.Client, topics ...string) *v2.Settings {
	kind := v2.ClientType_PRODUCER
	s := &v2.Settings{
		ClientType: &kind, AccessPoint: c.Endpoints(), RequestTimeout: durationpb.New(3 * time.Second),
		// What the server owns is set wrongly on purpose.
		BackoffPolicy: &v2.RetryPolicy{MaxAttempts: 99},
		UserAgent:     &v2.UA{Language: v2.Language_GOLANG, Version: "5.1.4", Platform: "test", Hostname: "here"},
	}
	publishing := &v2.Publishing{MaxBodySize: 128 << 20, ValidateMessageType: false}
	for _, name := range topics {
		publishing.Topics = append(publishing.Topics, &v2.Resource{ResourceNamespace: "ns", Name: name})
	}
	s.PubSub = &v2.Settings_Publishing{Publishing: publishing}
	return s
}

func consumerSettings(c *raw.Client, kind v2.ClientType, group, topic string) *v2.Settings {
	return &v2.Settings{
		ClientType: &kind, AccessPoint: c.Endpoints(), RequestTimeout: durationpb.New(3 * time.Second),
		UserAgent: &v2.UA{Language: v2.Language_GOLANG, Version: "5.1.4", Platform: "test", Hostname: "here"},
		PubSub: &v2.Settings_Subscription{Subscription: &v2.Subscription{
			Group: &v2.Resource{ResourceNamespace: "ns", Name: group},
			Subscriptions: []*v2.SubscriptionEntry{{
				Topic:      &v2.Resource{ResourceNamespace: "ns", Name: topic},
				Expression: &v2.FilterExpression{Type: v2.FilterType_TAG, Expression: "a||b"},
			}},
		}},
	}
}

type telemetry struct {
	v2.MessagingService_TelemetryClient
}

func open(t *testing.T, c *raw.Client) telemetry {
	t.Helper()
	ctx, cancel := context.WithTimeout(c.Headers(t.Context()), 20*time.Second)
	t.Cleanup(cancel)
	stream, err := c.Telemetry(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return telemetry{stream}
}

// settings sends s and returns the settings that come back at once with status OK.
func (s telemetry) settings(t *testing.T, in *v2.Settings) *v2.Settings {
	t.Helper()
	if err := s.Send(&v2.TelemetryCommand{Command: &v2.TelemetryCommand_Settings{Settings: in}}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	out, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "telemetry", out.GetStatus(), v2.Code_OK)
	if out.GetSettings() == nil {
		t.Fatalf("the answer holds no settings: %v", out)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("settings answered after %v; clients block on them", took)
	}
	return out.GetSettings()
}

// TestRawSettings checks that the answer to settings holds everything clients read from it.
func TestRawSettings(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "normal")
	t.Run("producer", func(t *testing.T) {
		c := dial(t)
		in := producerSettings(c, topic)
		got := open(t, c).settings(t, in)
		wantEcho(t, in, got)
		pub := got.GetPublishing()
		if pub == nil {
			t.Fatal("no publishing settings for a producer")
		}
		if len(pub.GetTopics()) != 1 || pub.GetTopics()[0].GetName() != topic ||
			pub.GetTopics()[0].GetResourceNamespace() != "ns" {
			t.Errorf("topics %v are not those of the request", pub.GetTopics())
		}
		if pub.GetMaxBodySize() != bodyMax || !pub.GetValidateMessageType() {
			t.Errorf("max body size %d, validate %v: want the server's own %d, true", pub.GetMaxBodySize(),
				pub.GetValidateMessageType(), bodyMax)
		}
		exp := got.GetBackoffPolicy().GetExponentialBackoff()
		if got.GetBackoffPolicy().GetMaxAttempts() != 3 || exp == nil {
			t.Fatalf("backoff policy %v: want 3 attempts, exponential", got.GetBackoffPolicy())
		}
		if exp.GetInitial().AsDuration() != 10*time.Millisecond || exp.GetMax().AsDuration() != time.Second ||
			exp.GetMultiplier() != 2 {
			t.Errorf("backoff %v, want 10 ms, 1 s, 2", exp)
		}
	})
	t.Run("producer without topics", func(t *testing.T) {
		c := dial(t)
		if open(t, c).settings(t, producerSettings(c)).GetPublishing() == nil {
			t.Error("no publishing settings for a producer")
		}
	})
	for name, kind := range map[string]v2.ClientType{
		"push consumer": v2.ClientType_PUSH_CONSUMER, "simple consumer": v2.ClientType_SIMPLE_CONSUMER,
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t)
			in := consumerSettings(c, kind, unique(t), topic)
			got := open(t, c).settings(t, in)
			wantEcho(t, in, got)
			wantSubscription(t, in, got, 17)
		})
	}
	t.Run("consumer of a group with its own limit", func(t *testing.T) {
		c := dial(t)
		in := consumerSettings(c, v2.ClientType_PUSH_CONSUMER, newGroup(t, 2), topic)
		wantSubscription(t, in, open(t, c).settings(t, in), 2)
	})
	t.Run("consumer without subscriptions or access point", func(t *testing.T) {
		c := dial(t)
		in := consumerSettings(c, v2.ClientType_SIMPLE_CONSUMER, unique(t), topic)
		in.GetSubscription().Subscriptions = nil
		in.AccessPoint = nil
		wantSubscription(t, in, open(t, c).settings(t, in), 17)
	})
}

func wantEcho(t *testing.T, in, got *v2.Settings) {
	t.Helper()
	if got.GetClientType() != in.GetClientType() || got.GetUserAgent().GetHostname() != "here" ||
		len(got.GetAccessPoint().GetAddresses()) != 1 || got.GetRequestTimeout().AsDuration() != 3*time.Second {
		t.Errorf("type %v, agent %v, access point %v, timeout %v: not those of the request", got.GetClientType(),
			got.GetUserAgent(), got.GetAccessPoint(), got.GetRequestTimeout().AsDuration())
	}
	if got.GetMetric().GetOn() {
		t.Error("metric is on, so clients would start to push")
	}
}

func wantSubscription(t *testing.T, in, got *v2.Settings, maxAttempts int32) {
	t.Helper()
	sub := got.GetSubscription()
	if sub == nil {
		t.Fatal("no subscription settings for a consumer")
	}
	want := in.GetSubscription()
	if sub.GetGroup().GetName() != want.GetGroup().GetName() || sub.GetGroup().GetResourceNamespace() != "ns" ||
		len(sub.GetSubscriptions()) != len(want.GetSubscriptions()) {
		t.Errorf("group %v, subscriptions %v: not those of the request", sub.GetGroup(), sub.GetSubscriptions())
	}
	if sub.Fifo == nil || sub.GetFifo() {
		t.Errorf("fifo %v, want false and present", sub.Fifo)
	}
	if sub.GetReceiveBatchSize() != 32 || sub.GetLongPollingTimeout().AsDuration() != 20*time.Second {
		t.Errorf("receive batch %d, long polling %v: want 32, 20 s", sub.GetReceiveBatchSize(),
			sub.GetLongPollingTimeout().AsDuration())
	}
	policy := got.GetBackoffPolicy()
	if policy.GetMaxAttempts() != maxAttempts {
		t.Errorf("max attempts %d, want %d", policy.GetMaxAttempts(), maxAttempts)
	}
	if exp := policy.GetExponentialBackoff(); exp == nil && len(policy.GetCustomizedBackoff().GetNext()) == 0 {
		t.Errorf("backoff policy %v has no strategy", policy)
	}
}

// TestRawTelemetry says how the stream lives: every settings frame is answered, and it ends when the client ends it.
func TestRawTelemetry(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "normal")
	c := dial(t)
	t.Run("each settings frame is answered", func(t *testing.T) {
		stream := open(t, c)
		for range 3 {
			stream.settings(t, consumerSettings(c, v2.ClientType_PUSH_CONSUMER, unique(t), topic))
		}
	})
	t.Run("half close ends it", func(t *testing.T) {
		stream := open(t, c)
		stream.settings(t, producerSettings(c, topic))
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("end of stream: %v, want EOF", err)
		}
	})
	t.Run("no client id: one status, then the end", func(t *testing.T) {
		stream := open(t, c.As(""))
		// The server may end the stream before this frame leaves; then Send reports EOF.
		_ = stream.Send(&v2.TelemetryCommand{Command: &v2.TelemetryCommand_Settings{
			Settings: producerSettings(c, topic),
		}})
		got, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, "telemetry", got.GetStatus(), v2.Code_CLIENT_ID_REQUIRED)
		if got.GetSettings() != nil {
			t.Error("settings for nobody")
		}
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("end of stream: %v, want EOF", err)
		}
	})
	bad := map[string]*v2.Settings{
		"neither publishing nor subscription": {},
		"topic illegal":                       producerSettings(c, "a.b"),
		"group illegal":                       consumerSettings(c, v2.ClientType_SIMPLE_CONSUMER, "a.b", topic),
	}
	for name, settings := range bad {
		t.Run(name, func(t *testing.T) {
			stream := open(t, c)
			err := stream.Send(&v2.TelemetryCommand{Command: &v2.TelemetryCommand_Settings{Settings: settings}})
			if err != nil {
				t.Fatal(err)
			}
			// A command with the reason may come first; settings may not.
			var got *v2.TelemetryCommand
			for err == nil {
				if got, err = stream.Recv(); err == nil && (got.GetSettings() != nil || got.GetStatus().GetCode() == v2.Code_OK) {
					t.Fatalf("answered %v", got)
				}
			}
			if status.Code(err) != codes.InvalidArgument {
				t.Errorf("the stream ended with %v, want INVALID_ARGUMENT", err)
			}
		})
	}
}

// TestRawTermination says that a leaving client shortens no lease that it holds.
func TestRawTermination(t *testing.T) {
	t.Parallel()
	l := lease(t, 10*time.Second)
	ctx, cancel := l.c.Call(t.Context())
	defer cancel()
	resp, err := l.c.NotifyClientTermination(ctx, &v2.NotifyClientTerminationRequest{Group: raw.Resource(l.group)})
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "termination", resp.GetStatus(), v2.Code_OK)
	other := l
	other.c = dial(t)
	other.gone(t)
	ack(t, other.c, l.group, l.m, v2.Code_OK)
}
