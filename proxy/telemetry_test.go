// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	table "github.com/mansiomq/mansio/internal/metadata"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func newTable() *table.Table { return table.NewTable() }

func settingsCommand(s *pb.Settings) *pb.TelemetryCommand {
	return &pb.TelemetryCommand{Command: &pb.TelemetryCommand_Settings{Settings: s}}
}

func producerSettings(topics ...string) *pb.TelemetryCommand {
	p := &pb.Publishing{MaxBodySize: 128 << 20}
	for _, t := range topics {
		p.Topics = append(p.Topics, &pb.Resource{ResourceNamespace: "ns", Name: t})
	}
	return settingsCommand(&pb.Settings{
		ClientType: pb.ClientType_PRODUCER.Enum(), RequestTimeout: durationpb.New(3 * time.Second),
		AccessPoint: &pb.Endpoints{Scheme: pb.AddressScheme_DOMAIN_NAME, Addresses: []*pb.Address{{Host: "mq", Port: 1}}},
		PubSub:      &pb.Settings_Publishing{Publishing: p}, UserAgent: &pb.UA{Version: "1"},
	})
}

func consumerSettings(kind pb.ClientType, group string, topics ...string) *pb.Settings {
	s := &pb.Subscription{Group: &pb.Resource{ResourceNamespace: "ns", Name: group}}
	for _, t := range topics {
		s.Subscriptions = append(s.Subscriptions, &pb.SubscriptionEntry{
			Topic: resource(t), Expression: &pb.FilterExpression{Type: pb.FilterType_TAG, Expression: "a||b"},
		})
	}
	return &pb.Settings{ClientType: kind.Enum(), PubSub: &pb.Settings_Subscription{Subscription: s}}
}

// telemetryOnce opens a stream, sends one command and returns the first answer.
func telemetryOnce(ctx context.Context, c pb.MessagingServiceClient, m *pb.TelemetryCommand) (*pb.TelemetryCommand, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.Telemetry(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.Send(m); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return s.Recv()
}

func TestProducerSettings(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.with("p", func(c *client) {
			for _, asked := range []*pb.TelemetryCommand{producerSettings("orders"), producerSettings()} {
				got, err := telemetryOnce(c.ctx, c, asked)
				if err != nil {
					f.t.Fatal(err)
				}
				want := proto.CloneOf(asked)
				want.Status = &pb.Status{Code: pb.Code_OK, Message: "OK"}
				s := want.GetSettings()
				s.Metric = &pb.Metric{}
				s.GetPublishing().MaxBodySize, s.GetPublishing().ValidateMessageType = 4<<20, true
				s.BackoffPolicy = &pb.RetryPolicy{MaxAttempts: 3, Strategy: &pb.RetryPolicy_ExponentialBackoff{
					ExponentialBackoff: &pb.ExponentialBackoff{
						Initial: durationpb.New(10 * time.Millisecond), Max: durationpb.New(time.Second), Multiplier: 2,
					},
				}}
				if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
					f.t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
		if n := f.ctl.called("EnsureTopic"); n != 0 {
			f.t.Error("settings created a topic")
		}
	})
}

func TestConsumerSettings(t *testing.T) {
	exponential := &controlv1.Backoff{InitialMs: 5000, MaxMs: 7_200_000, Multiplier: 2}
	list := &controlv1.Backoff{StepsMs: []int64{1000, 4000}}
	for _, tc := range []struct {
		name     string
		group    *controlv1.Group
		kind     pb.ClientType
		language string
		poll     time.Duration // of the client, 0: none
		want     string
	}{
		{"new group", nil, pb.ClientType_PUSH_CONSUMER, "JAVA", 0, "17 attempts, 18 steps, fifo false, poll 20s"},
		{"list", &controlv1.Group{MaxAttempts: 5, Backoff: list}, pb.ClientType_PUSH_CONSUMER, "GO", 0, "5 attempts, 2 steps, fifo false, poll 20s"},
		{"exponential", &controlv1.Group{Backoff: exponential}, pb.ClientType_PUSH_CONSUMER, "GO", 0, "17 attempts, 5s to 2h0m0s × 2, fifo false, poll 20s"},
		{"fifo", &controlv1.Group{Fifo: true, Backoff: list}, pb.ClientType_PUSH_CONSUMER, "GO", 0, "17 attempts, 2 steps, fifo true, poll 20s"},
		{"fifo for Node.js", &controlv1.Group{Fifo: true, Backoff: list}, pb.ClientType_PUSH_CONSUMER, "HTTP", 0, "17 attempts, 1s to 4s × 2, fifo true, poll 20s"},
		{"Node.js without fifo", &controlv1.Group{Backoff: list}, pb.ClientType_PUSH_CONSUMER, "HTTP", 0, "17 attempts, 2 steps, fifo false, poll 20s"},
		{"simple", nil, pb.ClientType_SIMPLE_CONSUMER, "GO", 5 * time.Second, "17 attempts, 18 steps, fifo false, poll 5s"},
		{"simple, too long", nil, pb.ClientType_SIMPLE_CONSUMER, "GO", time.Hour, "17 attempts, 18 steps, fifo false, poll 30s"},
		{"simple, none", nil, pb.ClientType_SIMPLE_CONSUMER, "GO", 0, "17 attempts, 18 steps, fifo false, poll 20s"},
		{"push asks", nil, pb.ClientType_PUSH_CONSUMER, "GO", 7 * time.Second, "17 attempts, 18 steps, fifo false, poll 20s"},
	} {
		bubble(t, func(f *fixture) {
			f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
			if tc.group != nil {
				tc.group.Name = "g"
				f.ctl.group(tc.group)
			}
			c := f.client("c", headerLanguage, tc.language)
			defer c.close()
			asked := consumerSettings(tc.kind, "g", "orders")
			if tc.poll > 0 {
				asked.GetSubscription().LongPollingTimeout = durationpb.New(tc.poll)
			}
			got, err := telemetryOnce(c.ctx, c, settingsCommand(asked))
			if err != nil {
				f.t.Fatal(err)
			}
			wantCode(f.t, tc.name, got, pb.Code_OK)
			s := got.GetSettings()
			if text := describe(s); text != tc.want {
				f.t.Errorf("%s: %s, want %s", tc.name, text, tc.want)
			}
			sub := s.GetSubscription()
			if sub.GetReceiveBatchSize() != 32 || sub.GetLiteSubscriptionQuota() == 0 || sub.GetMaxLiteTopicSize() == 0 || s.GetMetric() == nil || s.GetMetric().GetOn() {
				f.t.Errorf("%s: incomplete: %v", tc.name, s)
			}
			if sub.GetGroup().GetResourceNamespace() != "ns" || len(sub.GetSubscriptions()) != 1 {
				f.t.Errorf("%s: what the client said is not echoed: %v", tc.name, sub)
			}
			snap := f.table.Snapshot()
			if g := snap.GroupByName("g"); g == nil || len(snap.StartsOf(f.groupID("g"))) != 1 {
				f.t.Errorf("%s: the group or its start was not recorded", tc.name)
			}
		})
	}
}

func describe(s *pb.Settings) string {
	text := fmt.Sprintf("%d attempts, ", s.GetBackoffPolicy().GetMaxAttempts())
	if e := s.GetBackoffPolicy().GetExponentialBackoff(); e != nil {
		text += fmt.Sprintf("%v to %v × %v", e.GetInitial().AsDuration(), e.GetMax().AsDuration(), e.GetMultiplier())
	} else {
		text += fmt.Sprintf("%d steps", len(s.GetBackoffPolicy().GetCustomizedBackoff().GetNext()))
	}
	sub := s.GetSubscription()
	return text + fmt.Sprintf(", fifo %v, poll %v", sub.GetFifo(), sub.GetLongPollingTimeout().AsDuration())
}

// TestSettingsRefused says how a stream ends whose settings cannot be used: a
// status, then the error that SDKs look for.
func TestSettingsRefused(t *testing.T) {
	properties := func(p map[string]string) *pb.TelemetryCommand {
		m := producerSettings("orders")
		m.GetSettings().ClientProperties = p
		return m
	}
	long := map[string]string{}
	for i := range 17 {
		long[fmt.Sprint("k", i)] = strings.Repeat("v", 256)
	}
	many := map[string]string{}
	for i := range 33 {
		many[fmt.Sprint("k", i)] = "v"
	}
	for name, tc := range map[string]struct {
		command *pb.TelemetryCommand
		want    pb.Code
	}{
		"neither":            {settingsCommand(&pb.Settings{}), pb.Code_UNRECOGNIZED_CLIENT_TYPE},
		"topic":              {producerSettings("a.b"), pb.Code_ILLEGAL_TOPIC},
		"system topic":       {producerSettings("TBW102"), pb.Code_ILLEGAL_TOPIC},
		"group":              {settingsCommand(consumerSettings(pb.ClientType_PUSH_CONSUMER, "g.h")), pb.Code_ILLEGAL_CONSUMER_GROUP},
		"no group":           {settingsCommand(consumerSettings(pb.ClientType_PUSH_CONSUMER, "")), pb.Code_ILLEGAL_CONSUMER_GROUP},
		"subscribed topic":   {settingsCommand(consumerSettings(pb.ClientType_PUSH_CONSUMER, "g", "a.b")), pb.Code_ILLEGAL_TOPIC},
		"33 properties":      {properties(many), pb.Code_INVALID_CLIENT_PROPERTIES},
		"property bytes":     {properties(long), pb.Code_INVALID_CLIENT_PROPERTIES},
		"property key":       {properties(map[string]string{"1a": "v"}), pb.Code_INVALID_CLIENT_PROPERTIES},
		"empty property key": {properties(map[string]string{"": "v"}), pb.Code_INVALID_CLIENT_PROPERTIES},
		"long property key":  {properties(map[string]string{strings.Repeat("k", 65): "v"}), pb.Code_INVALID_CLIENT_PROPERTIES},
		"reserved property":  {properties(map[string]string{"rocketmq.x": "v"}), pb.Code_INVALID_CLIENT_PROPERTIES},
		"property value":     {properties(map[string]string{"k": strings.Repeat("v", 257)}), pb.Code_INVALID_CLIENT_PROPERTIES},
	} {
		bubble(t, func(f *fixture) {
			f.with("c", func(c *client) {
				s, err := c.Telemetry(c.ctx)
				if err != nil {
					f.t.Fatal(err)
				}
				if err := s.Send(tc.command); err != nil {
					f.t.Fatal(err)
				}
				m, err := s.Recv()
				if err != nil {
					f.t.Fatalf("%s: %v", name, err)
				}
				wantCode(f.t, name, m, tc.want)
				if _, err := s.Recv(); grpcstatus.Code(err) != codes.InvalidArgument {
					f.t.Errorf("%s: the stream ended with %v", name, err)
				}
			})
		})
	}
	bubble(t, func(f *fixture) {
		f.with("c", func(c *client) {
			fine := map[string]string{"a.b-c_1": strings.Repeat("v", 256), strings.Repeat("k", 64): ""}
			got, err := telemetryOnce(c.ctx, c, properties(fine))
			if err != nil {
				f.t.Fatal(err)
			}
			wantCode(f.t, "properties at the limit", got, pb.Code_OK)
		})
	})
}

// TestTelemetryStream is the life of a stream: every settings message is answered,
// answers to commands are taken, a half-close completes it.
func TestTelemetryStream(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.with("c", func(c *client) {
			s, err := c.Telemetry(c.ctx)
			if err != nil {
				f.t.Fatal(err)
			}
			for range 3 {
				if err := s.Send(producerSettings("orders")); err != nil {
					f.t.Fatal(err)
				}
				if m, err := s.Recv(); err != nil || m.GetSettings() == nil {
					f.t.Fatalf("%v %v", m, err)
				}
				if err := s.Send(&pb.TelemetryCommand{
					Status: &pb.Status{Code: pb.Code_OK}, Command: &pb.TelemetryCommand_ThreadStackTrace{ThreadStackTrace: &pb.ThreadStackTrace{Nonce: "1"}},
				}); err != nil {
					f.t.Fatal(err)
				}
			}
			print1 := &pb.TelemetryCommand{Command: &pb.TelemetryCommand_PrintThreadStackTraceCommand{
				PrintThreadStackTraceCommand: &pb.PrintThreadStackTraceCommand{Nonce: "7"},
			}}
			if !f.proxy.clients.Find("c").Command(print1) {
				f.t.Error("the client has no stream for a command")
			}
			if m, err := s.Recv(); err != nil || m.GetPrintThreadStackTraceCommand().GetNonce() != "7" {
				f.t.Errorf("command: %v %v", m, err)
			}
			if err := s.CloseSend(); err != nil {
				f.t.Fatal(err)
			}
			if _, err := s.Recv(); !errors.Is(err, io.EOF) {
				f.t.Errorf("after the half-close: %v", err)
			}
			synctest.Wait()
			if f.proxy.clients.Find("c").Command(print1) {
				f.t.Error("the stream is still there")
			}
		})
	})
}

// TestSettingsWithoutController says that a controller that is away does not keep
// a client from starting.
func TestSettingsWithoutController(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.ctl.err = grpcstatus.Error(codes.Unavailable, "away")
		f.with("c", func(c *client) {
			got, err := telemetryOnce(c.ctx, c, settingsCommand(consumerSettings(pb.ClientType_PUSH_CONSUMER, "g", "orders")))
			if err != nil {
				f.t.Fatal(err)
			}
			wantCode(f.t, "settings", got, pb.Code_OK)
			if text := describe(got.GetSettings()); text != "17 attempts, 18 steps, fifo false, poll 20s" {
				f.t.Errorf("%s", text)
			}
		})
	})
}
