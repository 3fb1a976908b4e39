// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/rpc"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func autoTopics(_ *Config, c *controlv1.Cluster)   { c.AutoCreateTopics = true }
func noAutoGroups(_ *Config, c *controlv1.Cluster) { c.AutoCreateGroups = false }

func advertising(address string) option {
	return func(c *Config, _ *controlv1.Cluster) { c.Advertise = address }
}

func TestRoute(t *testing.T) {
	bubble(t, func(f *fixture) {
		for _, kind := range controlv1.TopicType_value {
			name := fmt.Sprint("topic-", kind)
			f.ctl.topic(name, controlv1.TopicType(kind))
			f.with("c", func(c *client) {
				asked := &pb.Resource{ResourceNamespace: "ns", Name: name}
				resp, err := c.QueryRoute(c.ctx, &pb.QueryRouteRequest{Topic: asked})
				if err != nil {
					f.t.Fatal(err)
				}
				wantCode(f.t, name, resp, pb.Code_OK)
				if n := len(resp.GetMessageQueues()); n != 8 {
					f.t.Errorf("%s: %d queues", name, n)
				}
				for i, q := range resp.GetMessageQueues() {
					b := q.GetBroker()
					if q.GetId() != int32(i) || q.GetPermission() != pb.Permission_READ_WRITE || b.GetName() != "test-cluster" || b.GetId() != 0 ||
						q.GetTopic().GetResourceNamespace() != "ns" || q.GetTopic().GetName() != name {
						f.t.Errorf("%s: queue %v", name, q)
					}
					if types := q.GetAcceptMessageTypes(); len(types) != 1 || types[0] != pb.MessageType_NORMAL {
						f.t.Errorf("%s: accepts %v", name, types)
					}
					if e := b.GetEndpoints(); e.GetScheme() != pb.AddressScheme_DOMAIN_NAME || len(e.GetAddresses()) != 1 ||
						e.GetAddresses()[0].GetHost() != "mq.example" || e.GetAddresses()[0].GetPort() != 8081 {
						f.t.Errorf("%s: endpoints %v, want what the client dialled", name, e)
					}
				}
			})
		}
	})
}

func TestRouteRefused(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.with("c", func(c *client) {
			for name, want := range map[string]pb.Code{
				"": pb.Code_ILLEGAL_TOPIC, "  ": pb.Code_ILLEGAL_TOPIC, "a.b": pb.Code_ILLEGAL_TOPIC, "ü": pb.Code_ILLEGAL_TOPIC,
				"TBW102": pb.Code_ILLEGAL_TOPIC, "rmq_sys_x": pb.Code_ILLEGAL_TOPIC, strings.Repeat("t", 128): pb.Code_ILLEGAL_TOPIC,
				strings.Repeat("t", 127): pb.Code_TOPIC_NOT_FOUND, "nobody": pb.Code_TOPIC_NOT_FOUND, "a%b|c_d-e": pb.Code_TOPIC_NOT_FOUND,
			} {
				resp, err := c.QueryRoute(c.ctx, &pb.QueryRouteRequest{Topic: resource(name)})
				if err != nil {
					f.t.Fatal(err)
				}
				wantCode(f.t, "topic "+name, resp, want)
			}
		})
		if n := f.ctl.called("EnsureTopic"); n != 0 {
			f.t.Errorf("%d topics were to be created although that is off", n)
		}
	})
}

// TestRouteCreates says that a route query creates a topic where that is on, but
// none whose name has a percent sign, and that many at once ask once.
func TestRouteCreates(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.with("c", func(c *client) {
			query := func(name string) *pb.QueryRouteResponse {
				resp, err := c.QueryRoute(c.ctx, &pb.QueryRouteRequest{Topic: resource(name)})
				if err != nil {
					f.t.Fatal(err)
				}
				return resp
			}
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() { wantCode(f.t, "new topic", query("fresh"), pb.Code_OK) })
			}
			all.Wait()
			if f.table.Snapshot().TopicByName("fresh") == nil {
				f.t.Error("the topic was not created")
			}
			wantCode(f.t, "dead letters", query("%DLQ%g"), pb.Code_TOPIC_NOT_FOUND)
			f.ctl.err = grpcstatus.Error(codes.FailedPrecondition, "automatic creation is off")
			wantCode(f.t, "creation is off", query("other"), pb.Code_TOPIC_NOT_FOUND)
			f.ctl.err = grpcstatus.Error(codes.Unavailable, "away")
			wantCode(f.t, "controller away", query("other"), pb.Code_INTERNAL_SERVER_ERROR)
			f.ctl.err = rpc.Status(fault.Errorf("", fault.DiskFull, "the controller's disk is full"))
			wantCode(f.t, "controller's disk full", query("another"), pb.Code_TOO_MANY_REQUESTS)
			wantCode(f.t, "known topic, controller away", query("fresh"), pb.Code_OK)
		})
	}, autoTopics)
}

// TestCreationBounds says that clients that make up names fill neither the
// metadata nor the log.
func TestCreationBounds(t *testing.T) {
	logged := &lines{}
	few := func(c *Config, cluster *controlv1.Cluster) {
		autoTopics(c, cluster)
		c.TopicsMax, c.GroupsMax, c.Log = 3, 2, slog.New(slog.NewTextHandler(logged, nil))
	}
	bubble(t, func(f *fixture) {
		f.with("c", func(c *client) {
			for i := range 5 {
				want, wantGroup := pb.Code_OK, pb.Code_MESSAGE_NOT_FOUND
				if i >= 3 {
					want = pb.Code_TOO_MANY_REQUESTS
				}
				if i >= 2 {
					wantGroup = pb.Code_TOO_MANY_REQUESTS
				}
				resp, err := c.QueryRoute(c.ctx, &pb.QueryRouteRequest{Topic: resource(fmt.Sprint("t", i))})
				if err != nil {
					f.t.Fatal(err)
				}
				wantCode(f.t, "topic", resp, want)
				wantCode(f.t, "group", c.receive(receive(fmt.Sprint("g", i), "t0")), wantGroup)
			}
			wantCode(f.t, "known group, another topic", c.receive(receive("g0", "t1")), pb.Code_MESSAGE_NOT_FOUND)
			if n := logged.n.Load(); n == 0 || n > 2 {
				f.t.Errorf("%d lines logged in a few seconds", n)
			}
		})
	}, few)
	bubble(t, func(f *fixture) {
		f.with("c", func(c *client) {
			created := func() (n int) {
				before := f.ctl.called("EnsureTopic")
				for i := range int(createBurst) + 50 {
					if _, err := c.QueryRoute(c.ctx, &pb.QueryRouteRequest{Topic: resource(fmt.Sprintf("t%d_%d", before, i))}); err != nil {
						f.t.Fatal(err)
					}
				}
				return f.ctl.called("EnsureTopic") - before
			}
			if n := created(); n != createBurst {
				f.t.Errorf("%d topics created at once", n)
			}
			pass(2 * time.Second)
			if n := created(); n != 2*createPerSecond {
				f.t.Errorf("%d topics created 2 s later", n)
			}
		})
	}, autoTopics)
}

// lines counts what is logged.
type lines struct{ n atomic.Int64 }

func (l *lines) Write(b []byte) (int, error) {
	l.n.Add(1)
	return len(b), nil
}

// TestCreationInTime says that a client hears in time of a controller that is slow.
func TestCreationInTime(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.slow = time.Minute
		f.with("c", func(c *client) {
			ctx, cancel := context.WithTimeout(c.ctx, 3*time.Second)
			defer cancel()
			resp, err := c.QueryRoute(ctx, &pb.QueryRouteRequest{Topic: resource("fresh")})
			if err != nil {
				f.t.Fatal(err)
			}
			wantCode(f.t, "controller slow", resp, pb.Code_INTERNAL_SERVER_ERROR)
		})
	}, autoTopics)
}

func TestEndpoints(t *testing.T) {
	address := func(host string, port int32) *pb.Address { return &pb.Address{Host: host, Port: port} }
	for _, tc := range []struct {
		name  string
		asked []*pb.Address
		want  string
	}{
		{"none", nil, ""},
		{"IPv4", []*pb.Address{address("10.0.0.1", 8081)}, "IPv4 10.0.0.1:8081"},
		{"two IPv4", []*pb.Address{address("10.0.0.1", 8081), address("10.0.0.2", 30081)}, "IPv4 10.0.0.1:8081 10.0.0.2:30081"},
		{"IPv6", []*pb.Address{address("2001:db8::1", 8081)}, "IPv6 2001:db8::1:8081"},
		{"name", []*pb.Address{address("mq.example", 443)}, "DOMAIN_NAME mq.example:443"},
		{"two names", []*pb.Address{address("a.example", 1), address("b.example", 2)}, "DOMAIN_NAME a.example:1"},
		{"mixed", []*pb.Address{address("10.0.0.1", 1), address("a.example", 2), address("2001:db8::1", 3)}, "IPv4 10.0.0.1:1"},
		{"without host", []*pb.Address{address("", 1), address("10.0.0.1", 1)}, "IPv4 10.0.0.1:1"},
		{"without port", []*pb.Address{address("10.0.0.1", 0)}, ""},
		{"port too high", []*pb.Address{address("10.0.0.1", 65536)}, ""},
	} {
		got := sameKind(tc.asked)
		text := ""
		if got != nil {
			text = got.GetScheme().String()
			for _, a := range got.GetAddresses() {
				text += " " + a.GetHost() + ":" + fmt.Sprint(a.GetPort())
			}
		}
		if text != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, text, tc.want)
		}
	}
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]bool{
		"mq.example:8081": true, "127.0.0.1:1": true, "[::1]:8081": true, "localhost:65535": true, "my_host:1": true,
		"": false, "mq.example": false, ":8081": false, "mq.example:0": false, "mq.example:65536": false, "mq.example:x": false,
		"a:1;b:2": false, "127.0.0.1:1,127.0.0.2:1": false, "ipv4:127.0.0.1:1": false, "/socket": false,
	} {
		if _, got := parseAddress(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// TestEndpointsOrder says whose word counts: the request's, the connection's, the
// operator's.
func TestEndpointsOrder(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			resp, err := c.QueryRoute(c.ctx, &pb.QueryRouteRequest{
				Topic: resource("orders"), Endpoints: &pb.Endpoints{Addresses: []*pb.Address{{Host: "10.1.2.3", Port: 30081}}},
			})
			if err != nil {
				f.t.Fatal(err)
			}
			if a := resp.GetMessageQueues()[0].GetBroker().GetEndpoints().GetAddresses()[0]; a.GetHost() != "10.1.2.3" || a.GetPort() != 30081 {
				f.t.Errorf("%v, want what the request says", a)
			}
		})
		if e := f.proxy.endpoints(f.t.Context(), nil); e.GetScheme() != pb.AddressScheme_IPv4 || e.GetAddresses()[0].GetHost() != "192.0.2.1" {
			f.t.Errorf("%v, want what the operator says", e)
		}
	}, advertising("192.0.2.1:8081"))
	bubble(t, func(f *fixture) {
		if e := f.proxy.endpoints(f.t.Context(), nil); e != nil {
			f.t.Errorf("%v, but nobody knows", e)
		}
	})
}

func TestAssignment(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.ctl.group(&controlv1.Group{Name: "in-order", Fifo: true})
		f.with("c", func(c *client) {
			ask := func(topic, group string) *pb.QueryAssignmentResponse {
				resp, err := c.QueryAssignment(c.ctx, &pb.QueryAssignmentRequest{Topic: resource(topic), Group: resource(group)})
				if err != nil {
					f.t.Fatal(err)
				}
				return resp
			}
			plain := ask("orders", "g")
			wantCode(f.t, "ordinary group", plain, pb.Code_OK)
			if a := plain.GetAssignments(); len(a) != 1 || a[0].GetMessageQueue().GetId() != -1 || a[0].GetMessageQueue().GetPermission() != pb.Permission_READ_WRITE ||
				a[0].GetMessageQueue().GetBroker().GetId() != 0 {
				f.t.Errorf("assignments %v", a)
			}
			if f.table.Snapshot().GroupByName("g") == nil {
				f.t.Error("the group was not created")
			}
			if a := ask("orders", "in-order").GetAssignments(); len(a) != 8 || a[7].GetMessageQueue().GetId() != 7 {
				f.t.Errorf("assignments of a FIFO group %v", a)
			}
			for _, tc := range []struct {
				topic, group string
				want         pb.Code
			}{
				{"a.b", "g", pb.Code_ILLEGAL_TOPIC},
				{"orders", "", pb.Code_ILLEGAL_CONSUMER_GROUP},
				{"orders", "g.h", pb.Code_ILLEGAL_CONSUMER_GROUP},
				{"orders", "CID_RMQ_SYS_X", pb.Code_ILLEGAL_CONSUMER_GROUP},
				{"nobody", "g", pb.Code_TOPIC_NOT_FOUND},
				{"nobody", "g.h", pb.Code_ILLEGAL_CONSUMER_GROUP},
			} {
				wantCode(f.t, tc.topic+" "+tc.group, ask(tc.topic, tc.group), tc.want)
			}
		})
	})
}

// TestGroupsOnFirstUse says which calls create a group, and that they do not
// where that is off.
func TestGroupsOnFirstUse(t *testing.T) {
	try := func(f *fixture, c *client, group string) map[string]response {
		assignment, err := c.QueryAssignment(c.ctx, &pb.QueryAssignmentRequest{Topic: resource("orders"), Group: resource(group + "-assignment")})
		if err != nil {
			f.t.Fatal(err)
		}
		if _, err := telemetryOnce(c.ctx, c, settingsCommand(consumerSettings(pb.ClientType_PUSH_CONSUMER, group+"-settings", "orders"))); err != nil {
			f.t.Fatal(err)
		}
		heartbeat, err := c.Heartbeat(c.ctx, &pb.HeartbeatRequest{Group: resource(group + "-heartbeat"), ClientType: pb.ClientType_PUSH_CONSUMER})
		if err != nil {
			f.t.Fatal(err)
		}
		return map[string]response{"assignment": assignment, "heartbeat": heartbeat, "receive": c.receive(receive(group+"-receive", "orders"))}
	}
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			try(f, c, "g")
			for name, want := range map[string]bool{"g-assignment": true, "g-settings": true, "g-receive": true, "g-heartbeat": false} {
				if got := f.table.Snapshot().GroupByName(name) != nil; got != want {
					f.t.Errorf("%s exists: %v, want %v", name, got, want)
				}
			}
			if starts := f.table.Snapshot().StartsOf(f.groupID("g-receive")); len(starts) != 1 {
				f.t.Errorf("starts %v", starts)
			}
			before := f.ctl.called("EnsureGroup")
			c.receive(receive("g-receive", "orders"))
			if f.ctl.called("EnsureGroup") != before {
				f.t.Error("a group that is known was ensured again")
			}
		})
	})
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.ctl.group(&controlv1.Group{Name: "known"})
		f.with("c", func(c *client) {
			got := try(f, c, "g")
			wantCode(f.t, "assignment", got["assignment"], pb.Code_CONSUMER_GROUP_NOT_FOUND)
			wantCode(f.t, "receive", got["receive"], pb.Code_CONSUMER_GROUP_NOT_FOUND)
			wantCode(f.t, "heartbeat", got["heartbeat"], pb.Code_OK)
			wantCode(f.t, "known group", c.receive(receive("known", "orders")), pb.Code_MESSAGE_NOT_FOUND)
		})
	}, noAutoGroups)
}

func TestHeartbeat(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.with("c", func(c *client) {
			for _, tc := range []struct {
				name string
				req  *pb.HeartbeatRequest
				want pb.Code
			}{
				{"no type", &pb.HeartbeatRequest{}, pb.Code_UNRECOGNIZED_CLIENT_TYPE},
				{"unknown type", &pb.HeartbeatRequest{ClientType: 99}, pb.Code_UNRECOGNIZED_CLIENT_TYPE},
				{"consumer without group", &pb.HeartbeatRequest{ClientType: pb.ClientType_SIMPLE_CONSUMER}, pb.Code_ILLEGAL_CONSUMER_GROUP},
				{"consumer, bad group", &pb.HeartbeatRequest{ClientType: pb.ClientType_PUSH_CONSUMER, Group: resource("g.h")}, pb.Code_ILLEGAL_CONSUMER_GROUP},
				{"producer", &pb.HeartbeatRequest{ClientType: pb.ClientType_PRODUCER}, pb.Code_OK},
				{"no type any more", &pb.HeartbeatRequest{}, pb.Code_OK},
			} {
				resp, err := c.Heartbeat(c.ctx, tc.req)
				if err != nil {
					f.t.Fatal(err)
				}
				wantCode(f.t, tc.name, resp, tc.want)
			}
			bye, err := c.NotifyClientTermination(c.ctx, &pb.NotifyClientTerminationRequest{Group: resource("")})
			if err != nil {
				f.t.Fatal(err)
			}
			wantCode(f.t, "a producer's farewell with an empty group", bye, pb.Code_OK)
			if bye, err = c.NotifyClientTermination(c.ctx, &pb.NotifyClientTerminationRequest{Group: resource("g.h")}); err != nil {
				f.t.Fatal(err)
			}
			wantCode(f.t, "a farewell to a group that cannot be", bye, pb.Code_ILLEGAL_CONSUMER_GROUP)
		})
	})
}
