// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// TestDescription holds the description of the service against the generated one.
func TestDescription(t *testing.T) {
	generated := desc{pb.MessagingService_ServiceDesc.ServiceName, pb.MessagingService_ServiceDesc.Metadata, nil, map[string][2]bool{}}
	for _, m := range pb.MessagingService_ServiceDesc.Methods {
		generated.unary = append(generated.unary, m.MethodName)
	}
	for _, s := range pb.MessagingService_ServiceDesc.Streams {
		generated.streams[s.StreamName] = [2]bool{s.ClientStreams, s.ServerStreams}
	}
	d := messaging()
	own := desc{d.ServiceName, d.Metadata, nil, map[string][2]bool{}}
	for _, m := range d.Methods {
		own.unary = append(own.unary, m.MethodName)
	}
	for _, s := range d.Streams {
		own.streams[s.StreamName] = [2]bool{s.ClientStreams, s.ServerStreams}
	}
	slices.Sort(own.unary)
	slices.Sort(generated.unary)
	if diff := cmp.Diff(generated, own, cmp.AllowUnexported(desc{})); diff != "" {
		t.Errorf("the description differs from the generated one (-want +got):\n%s", diff)
	}
	for _, name := range append(own.unary, "ReceiveMessage", "PullMessage", "Telemetry") {
		if methodIndex(name) < 0 {
			t.Errorf("%s has no place in the counters", name)
		}
	}
}

type desc struct {
	service  string
	metadata any
	unary    []string
	streams  map[string][2]bool
}

// anyCall is one call with a request that is right as far as it can be for a client
// that nobody knows, of a topic that exists.
type anyCall struct {
	name string
	call func(context.Context, pb.MessagingServiceClient) (response, error)
	want pb.Code
}

func status1[R response](r R, err error) (response, error) { return r, err }

func allCalls() []anyCall {
	const topic, group = "orders", "g"
	tr, gr := resource(topic), resource(group)
	queue := &pb.MessageQueue{Topic: tr}
	return []anyCall{
		{"QueryRoute", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			return status1(c.QueryRoute(ctx, &pb.QueryRouteRequest{Topic: tr}))
		}, pb.Code_OK},
		{"Heartbeat", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			return status1(c.Heartbeat(ctx, &pb.HeartbeatRequest{Group: gr, ClientType: pb.ClientType_PUSH_CONSUMER}))
		}, pb.Code_OK},
		{"SendMessage", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			return status1(c.SendMessage(ctx, &pb.SendMessageRequest{Messages: []*pb.Message{newMessage(topic, "m")}}))
		}, pb.Code_OK},
		{"QueryAssignment", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			return status1(c.QueryAssignment(ctx, &pb.QueryAssignmentRequest{Topic: tr, Group: gr}))
		}, pb.Code_OK},
		{"ReceiveMessage", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			g := (&client{MessagingServiceClient: c}).receiveIn(ctx, receive("nobody", "empty"))
			return g, g.err
		}, pb.Code_MESSAGE_NOT_FOUND},
		{"AckMessage", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			return status1(c.AckMessage(ctx, &pb.AckMessageRequest{Group: gr, Topic: tr, Entries: []*pb.AckMessageEntry{{ReceiptHandle: "x"}}}))
		}, pb.Code_INVALID_RECEIPT_HANDLE},
		{"ForwardMessageToDeadLetterQueue", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			return status1(c.ForwardMessageToDeadLetterQueue(ctx, &pb.ForwardMessageToDeadLetterQueueRequest{Group: gr, Topic: tr}))
		}, pb.Code_INVALID_RECEIPT_HANDLE},
		{"ChangeInvisibleDuration", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			return status1(c.ChangeInvisibleDuration(ctx, &pb.ChangeInvisibleDurationRequest{
				Group: gr, Topic: tr, ReceiptHandle: "x", InvisibleDuration: durationpb.New(time.Second),
			}))
		}, pb.Code_INVALID_RECEIPT_HANDLE},
		{"NotifyClientTermination", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			return status1(c.NotifyClientTermination(ctx, &pb.NotifyClientTerminationRequest{Group: gr}))
		}, pb.Code_OK},
		{"Telemetry", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			return telemetryOnce(ctx, c, producerSettings(topic))
		}, pb.Code_OK},
		{"PullMessage", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			s, err := c.PullMessage(ctx, &pb.PullMessageRequest{Group: gr, MessageQueue: queue})
			if err != nil {
				return nil, err
			}
			m, err := s.Recv()
			return m, err
		}, pb.Code_NOT_IMPLEMENTED},
		{"UpdateOffset", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			return status1(c.UpdateOffset(ctx, &pb.UpdateOffsetRequest{Group: gr, MessageQueue: queue}))
		}, pb.Code_NOT_IMPLEMENTED},
		{"GetOffset", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			return status1(c.GetOffset(ctx, &pb.GetOffsetRequest{Group: gr, MessageQueue: queue}))
		}, pb.Code_NOT_IMPLEMENTED},
		{"QueryOffset", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			return status1(c.QueryOffset(ctx, &pb.QueryOffsetRequest{MessageQueue: queue}))
		}, pb.Code_NOT_IMPLEMENTED},
		{"EndTransaction", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			return status1(c.EndTransaction(ctx, &pb.EndTransactionRequest{Topic: tr, TransactionId: "t"}))
		}, pb.Code_NOT_IMPLEMENTED},
		{"RecallMessage", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			return status1(c.RecallMessage(ctx, &pb.RecallMessageRequest{Topic: tr, RecallHandle: "h"}))
		}, pb.Code_NOT_IMPLEMENTED},
		{"SyncLiteSubscription", func(ctx context.Context, c pb.MessagingServiceClient) (response, error) {
			return status1(c.SyncLiteSubscription(ctx, &pb.SyncLiteSubscriptionRequest{Topic: tr, Group: gr}))
		}, pb.Code_NOT_IMPLEMENTED},
	}
}

func withTopics(f *fixture) {
	f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
	f.ctl.topic("empty", controlv1.TopicType_TOPIC_TYPE_NORMAL)
}

// TestFirstCall says that every call may be the first of its client.
func TestFirstCall(t *testing.T) {
	bubble(t, func(f *fixture) {
		withTopics(f)
		for _, r := range allCalls() {
			f.with("client of "+r.name, func(c *client) {
				got, err := r.call(c.ctx, c)
				if err != nil {
					f.t.Fatalf("%s: %v", r.name, err)
				}
				wantCode(f.t, r.name, got, r.want)
			})
		}
	})
}

func TestClientIDRequired(t *testing.T) {
	longest := strings.Repeat("i", storeapi.ClientIDBytesMax)
	bubble(t, func(f *fixture) {
		withTopics(f)
		f.with("", func(c *client) {
			for _, r := range allCalls() {
				for name, ctx := range map[string]context.Context{
					"without header": metadata.NewOutgoingContext(c.ctx, metadata.MD{}), "empty": c.ctx,
					"blank": metadata.NewOutgoingContext(c.ctx, metadata.Pairs(headerClientID, "  ")),
				} {
					got, err := r.call(ctx, c)
					if err != nil {
						f.t.Fatalf("%s, %s: %v", r.name, name, err)
					}
					wantCode(f.t, r.name+", "+name, got, pb.Code_CLIENT_ID_REQUIRED)
				}
				got, err := r.call(metadata.NewOutgoingContext(c.ctx, metadata.Pairs(headerClientID, longest+"i")), c)
				if err != nil {
					f.t.Fatalf("%s, too long: %v", r.name, err)
				}
				wantCode(f.t, r.name+", too long", got, pb.Code_BAD_REQUEST)
			}
		})
		if n := f.proxy.clients.Len(); n != 0 {
			f.t.Errorf("%d clients without an id are remembered", n)
		}
		f.with(longest, func(c *client) { c.mustSend("orders", "m") })
	})
}

// TestPanic says that a panic in any call answers INTERNAL_SERVER_ERROR, counts,
// and ends nothing else.
func TestPanic(t *testing.T) {
	bubble(t, func(f *fixture) {
		withTopics(f)
		beside := f.client("beside")
		defer beside.close()
		stream, err := beside.Telemetry(beside.ctx)
		if err != nil {
			f.t.Fatal(err)
		}
		if err := stream.Send(producerSettings("orders")); err != nil {
			f.t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			f.t.Fatal(err)
		}
		var parked sync.WaitGroup
		parked.Go(func() {
			if g := beside.receive(receive("g2", "empty", polling(20*time.Second))); g.err != nil || g.status.GetCode() != pb.Code_MESSAGE_NOT_FOUND {
				f.t.Errorf("the receive beside: %v %v", g.status, g.err)
			}
		})
		synctest.Wait()
		f.hook = func(call string) { panic("injected into " + call) }
		f.with("c", func(c *client) {
			for i, r := range allCalls() {
				got, err := r.call(c.ctx, c)
				if err != nil {
					f.t.Fatalf("%s: %v", r.name, err)
				}
				wantCode(f.t, r.name, got, pb.Code_INTERNAL_SERVER_ERROR)
				if n := f.proxy.meter.panics.Load(); n != uint64(i+1) {
					f.t.Errorf("%s: %d panics counted, want %d", r.name, n, i+1)
				}
			}
		})
		f.hook = func(string) {}
		parked.Wait()
		if err := stream.Send(producerSettings("orders")); err != nil {
			f.t.Fatal(err)
		}
		if m, err := stream.Recv(); err != nil || m.GetStatus().GetCode() != pb.Code_OK {
			f.t.Errorf("the stream beside: %v %v", m, err)
		}
		beside.mustSend("orders", "after")
	})
}

// TestPanicBeside says the same of the services beside that of clients.
func TestPanicBeside(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.with("c", func(c *client) {
			want := uint64(0)
			for _, d := range []*grpc.ServiceDesc{&controlv1.Admin_ServiceDesc, &controlv1.Inspect_ServiceDesc} {
				for _, m := range d.Methods {
					err := c.conn.Invoke(c.ctx, "/"+d.ServiceName+"/"+m.MethodName, &controlv1.GetTopicRequest{}, &controlv1.TopicResponse{})
					want++
					if grpcstatus.Code(err) != codes.Internal || f.proxy.meter.panics.Load() != want {
						f.t.Errorf("%s: %v, %d panics counted", m.MethodName, err, f.proxy.meter.panics.Load())
					}
				}
				if len(d.Streams) > 0 {
					f.t.Errorf("nothing catches a panic in the streams of %s", d.ServiceName)
				}
			}
		})
	}, func(c *Config, _ *controlv1.Cluster) {
		c.CheckAdmin = func(context.Context) error { panic("injected") }
	})
}

// breaking is a stream on which reading panics.
type breaking struct {
	grpc.ServerStream
	ctx  context.Context
	sent []*pb.TelemetryCommand
}

func (b *breaking) Context() context.Context { return b.ctx }
func (b *breaking) RecvMsg(any) error        { panic("injected") }
func (b *breaking) SendMsg(m any) error {
	b.sent = append(b.sent, m.(*pb.TelemetryCommand))
	return nil
}

func TestPanicInReading(t *testing.T) {
	bubble(t, func(f *fixture) {
		s := &breaking{ctx: metadata.NewIncomingContext(f.t.Context(), metadata.Pairs(headerClientID, "c"))}
		if err := serveTelemetry(f.proxy, s); err != nil || len(s.sent) != 1 || s.sent[0].GetStatus().GetCode() != pb.Code_INTERNAL_SERVER_ERROR {
			f.t.Errorf("%v %v", err, s.sent)
		}
	})
}

func TestConfigRefused(t *testing.T) {
	whole := newFixture(t)
	defer whole.stop()
	for name, edit := range map[string]func(*Config){
		"table":       func(c *Config) { c.Table = nil },
		"controllers": func(c *Config) { c.Controllers = nil },
		"peers":       func(c *Config) { c.Peers = nil },
		"incarnation": func(c *Config) { c.Incarnation = 0 },
		"clock":       func(c *Config) { c.Now = nil },
		"logger":      func(c *Config) { c.Log = nil },
		"access":      func(c *Config) { c.CheckAdmin = nil },
		"advertise":   func(c *Config) { c.Advertise = "no port" },
		"topics":      func(c *Config) { c.TopicsMax = -1 },
		"groups":      func(c *Config) { c.GroupsMax = -1 },
	} {
		c := whole.proxy.o
		edit(&c)
		if _, err := New(c); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want kind invalid", name, err)
		}
	}
}

// TestBeforeMetadata says that a proxy that has not heard from the controller yet
// says so, and not that nothing exists.
func TestBeforeMetadata(t *testing.T) {
	whole := newFixture(t)
	defer whole.stop()
	c := whole.proxy.o
	c.Table = newTable()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Ready(); err == nil || !strings.HasPrefix(err.Error(), "nothing heard from a controller") {
		t.Errorf("ready: %v", err)
	}
	if _, bad := p.topic(resource("orders")); bad.GetCode() != pb.Code_INTERNAL_SERVER_ERROR {
		t.Errorf("topic: %v", bad)
	}
	if _, bad := p.ensureGroup(t.Context(), resource("g"), nil); bad.GetCode() != pb.Code_INTERNAL_SERVER_ERROR {
		t.Errorf("group: %v", bad)
	}
	if _, bad := p.party(resource("orders"), resource("g")); bad.GetCode() != pb.Code_INTERNAL_SERVER_ERROR {
		t.Errorf("settling: %v", bad)
	}
}
