// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/rpc"
	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// TestAdminForwards says that every administrative call reaches the controller,
// and nobody who may not.
func TestAdminForwards(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			admin := controlv1.NewAdminClient(c.conn)
			got, err := admin.GetTopic(c.ctx, &controlv1.GetTopicRequest{Name: "orders"})
			if err != nil || got.GetTopic().GetName() != "orders" {
				f.t.Errorf("%v %v", got, err)
			}
			for _, m := range controlv1.Admin_ServiceDesc.Methods {
				before := f.ctl.called(m.MethodName)
				_ = c.conn.Invoke(c.ctx, "/mansio.control.v1.Admin/"+m.MethodName, &controlv1.ListNodesRequest{}, &controlv1.TopicResponse{})
				if f.ctl.called(m.MethodName) != before+1 {
					f.t.Errorf("%s is not forwarded", m.MethodName)
				}
			}
			f.ctl.err = grpcstatus.Error(codes.AlreadyExists, "there is one")
			if _, err := admin.CreateTopic(c.ctx, &controlv1.CreateTopicRequest{}); grpcstatus.Code(err) != codes.AlreadyExists || !strings.Contains(err.Error(), "there is one") {
				f.t.Errorf("the controller's error comes back as %v", err)
			}
			f.admin = fault.Errorf("", fault.Denied, "not you")
			before := len(f.ctl.calls)
			for _, m := range controlv1.Admin_ServiceDesc.Methods {
				err := c.conn.Invoke(c.ctx, "/mansio.control.v1.Admin/"+m.MethodName, &controlv1.GetTopicRequest{}, &controlv1.TopicResponse{})
				if grpcstatus.Code(err) != codes.PermissionDenied {
					f.t.Errorf("%s by a stranger: %v", m.MethodName, err)
				}
			}
			for _, m := range controlv1.Inspect_ServiceDesc.Methods {
				err := c.conn.Invoke(c.ctx, "/mansio.control.v1.Inspect/"+m.MethodName, &controlv1.GetTopicRequest{}, &controlv1.TopicResponse{})
				if grpcstatus.Code(err) != codes.PermissionDenied {
					f.t.Errorf("%s by a stranger: %v", m.MethodName, err)
				}
			}
			if len(f.ctl.calls) != before {
				f.t.Error("a stranger reached the controller")
			}
		})
	})
}

// TestControllers says that a call goes to the controller that leads.
func TestControllers(t *testing.T) {
	at := func(err error, reached *int) grpc.ClientConnInterface { return &scripted{err: err, reached: reached} }
	var first, second int
	away := grpcstatus.Error(codes.Unavailable, "away")
	c := &controllers{conns: []grpc.ClientConnInterface{at(away, &first), at(nil, &second)}}
	for range 3 {
		if err := c.Invoke(t.Context(), "m", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if first != 1 || second != 3 {
		t.Errorf("reached %d and %d times, want the leader to be remembered", first, second)
	}
	c = &controllers{conns: []grpc.ClientConnInterface{at(away, &first), at(away, &second)}}
	if err := c.Invoke(t.Context(), "m", nil, nil); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no controller can be reached") {
		t.Errorf("none is there: %v", err)
	}
	c = &controllers{conns: []grpc.ClientConnInterface{at(rpc.Status(fault.Errorf("", fault.Unavailable, "it does not lead")), &first)}}
	if err := c.Invoke(t.Context(), "m", nil, nil); !fault.Is(err, fault.Unavailable) || err.Error() != "it does not lead" {
		t.Errorf("none leads: %v", err)
	}
	c = &controllers{conns: []grpc.ClientConnInterface{at(rpc.Status(fault.Errorf("", fault.Unavailable, "it does not lead")), &first), at(away, &second)}}
	if err := c.Invoke(t.Context(), "m", nil, nil); !fault.Is(err, fault.Unavailable) || err.Error() != "it does not lead" {
		t.Errorf("one does not lead, the other is away: %v", err)
	}
	refused := grpcstatus.Error(codes.InvalidArgument, "no")
	first, second = 0, 0
	c = &controllers{conns: []grpc.ClientConnInterface{at(refused, &first), at(nil, &second)}}
	if err := c.Invoke(t.Context(), "m", nil, nil); !fault.Is(err, fault.Invalid) || second != 0 {
		t.Errorf("a refusal is an answer: %v, the next one was asked %d times", err, second)
	}
	if _, err := c.NewStream(t.Context(), nil, "m"); !fault.Is(err, fault.Unsupported) {
		t.Errorf("streams: %v", err)
	}
}

type scripted struct {
	err     error
	reached *int
}

func (s *scripted) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	*s.reached++
	return s.err
}

func (s *scripted) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, s.err
}

func TestGroupLag(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.ctl.topic("other", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			messages := c.leased("orders", "g", 20)
			c.ack("g", "orders", messages[:5]...)
			c.mustSend("orders", "late")
			c.receive(receive("g", "other"))
			inspect := controlv1.NewInspectClient(c.conn)
			for topic, queues := range map[string]int{"": 16, "orders": 8} {
				lag, err := inspect.GroupLag(c.ctx, &controlv1.GroupLagRequest{Group: "g", Topic: topic})
				if err != nil {
					f.t.Fatal(err)
				}
				var ready, flight, done, next uint64
				for _, q := range lag.GetQueues() {
					ready, flight, done, next = ready+q.GetReady(), flight+q.GetInFlight(), done+q.GetDone(), next+q.GetNextOffset()
				}
				if ready != 1 || flight != 15 || done != 5 || next != 21 || len(lag.GetQueues()) != queues {
					f.t.Errorf("topic %q: ready %d, in flight %d, done %d of %d in %d queues", topic, ready, flight, done, next, len(lag.GetQueues()))
				}
			}
			for name, r := range map[string]*controlv1.GroupLagRequest{"group": {Group: "nobody"}, "topic": {Group: "g", Topic: "nobody"}} {
				if _, err := inspect.GroupLag(c.ctx, r); grpcstatus.Code(err) != codes.NotFound {
					f.t.Errorf("unknown %s: %v", name, err)
				}
			}
			failing[*storeapi.Offsets](f, storeapi.Unavailable)
			lag, err := inspect.GroupLag(c.ctx, &controlv1.GroupLagRequest{Group: "g", Topic: "orders"})
			if err != nil || len(lag.GetQueues()) != 8 {
				f.t.Fatalf("the shards are away: %v, %v", lag, err)
			}
			for i, q := range lag.GetQueues() {
				if q.GetError() == "" || int(q.GetQueue()) != i || q.GetTopic() != "orders" || q.GetShard() == 0 {
					f.t.Errorf("queue %d of a shard that is away: %v", i, q)
				}
			}
		})
	})
}

// TestGroupLagInTime says that a shard which does not answer keeps nobody from
// hearing in time of the others.
func TestGroupLagInTime(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			c.receive(receive("g", "orders"))
			f.node.Intercept(func(op *storeapi.Op) bool {
				_, is := op.Request.(*storeapi.Offsets)
				if is = is && op.Shard == 1; is {
					time.AfterFunc(time.Until(op.Deadline), func() { f.node.Serve(op) })
				}
				return is
			})
			for _, limit := range []time.Duration{time.Second, inspectTime, time.Minute} {
				ctx, cancel := context.WithTimeout(c.ctx, limit)
				lag, err := controlv1.NewInspectClient(c.conn).GroupLag(ctx, &controlv1.GroupLagRequest{Group: "g", Topic: "orders"})
				cancel()
				if err != nil || len(lag.GetQueues()) != 8 {
					f.t.Fatalf("within %v: %v, %v", limit, lag, err)
				}
				for _, q := range lag.GetQueues() {
					if silent := q.GetShard() == 1; silent != (q.GetError() != "") {
						f.t.Errorf("within %v: %v", limit, q)
					}
				}
			}
		})
	})
}

// TestGroupLagPanics says that a panic beside the call ends only the call.
func TestGroupLagPanics(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			c.receive(receive("g", "orders"))
			f.node.Intercept(func(op *storeapi.Op) bool {
				if _, is := op.Request.(*storeapi.Offsets); is {
					panic("injected")
				}
				return false
			})
			defer f.node.Intercept(nil)
			_, err := controlv1.NewInspectClient(c.conn).GroupLag(c.ctx, &controlv1.GroupLagRequest{Group: "g", Topic: "orders"})
			if grpcstatus.Code(err) != codes.Internal || f.proxy.meter.panics.Load() == 0 {
				f.t.Errorf("%v, %d panics counted", err, f.proxy.meter.panics.Load())
			}
		})
	})
}

func TestGetMessage(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			c.mustSend("orders", "a", "b", "a")
			inspect := controlv1.NewInspectClient(c.conn)
			for id, want := range map[string]int{"a": 2, "b": 1, "c": 0} {
				got, err := inspect.GetMessage(c.ctx, &controlv1.GetMessageRequest{Topic: "orders", MessageId: id})
				if err != nil {
					f.t.Fatal(err)
				}
				if len(got.GetMessages()) != want {
					f.t.Errorf("%s: found %d times, want %d", id, len(got.GetMessages()), want)
				}
				for _, s := range got.GetMessages() {
					var m pb.Message
					if err := proto.Unmarshal(s.GetMessage(), &m); err != nil || m.GetSystemProperties().GetMessageId() != id || m.GetTopic().GetName() != "orders" ||
						string(m.GetBody()) != "body of "+id || m.GetSystemProperties().GetStoreTimestamp() == nil {
						f.t.Errorf("%s: %v %v", id, &m, err)
					}
				}
			}
			for name, r := range map[string]*controlv1.GetMessageRequest{"no id": {Topic: "orders"}, "no topic": {MessageId: "a"}} {
				if _, err := inspect.GetMessage(c.ctx, r); err == nil {
					f.t.Errorf("%s was answered", name)
				}
			}
		})
	})
}

// TestQueryMessages says that pages join without gap and without overlap.
func TestQueryMessages(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			for i := range 30 {
				m := newMessage("orders", strconv.Itoa(i))
				keysOf("k", fmt.Sprint("even", i%2))(m)
				wantCode(f.t, "send", c.send(m), pb.Code_OK)
			}
			inspect := controlv1.NewInspectClient(c.conn)
			all := &controlv1.QueryMessagesRequest{Topic: "orders", FromMs: 1, ToMs: time.Now().Add(time.Hour).UnixMilli()}
			for name, tc := range map[string]struct {
				r    *controlv1.QueryMessagesRequest
				want int
			}{
				"by key":   {&controlv1.QueryMessagesRequest{Topic: "orders", Key: "k"}, 30},
				"some":     {&controlv1.QueryMessagesRequest{Topic: "orders", Key: "even1"}, 15},
				"none":     {&controlv1.QueryMessagesRequest{Topic: "orders", Key: "other"}, 0},
				"by time":  {all, 30},
				"too late": {&controlv1.QueryMessagesRequest{Topic: "orders", FromMs: all.ToMs, ToMs: all.ToMs + 1}, 0},
			} {
				for _, size := range []uint32{0, 1, 7, 15, 100_000} {
					seen := map[string]int{}
					r := proto.CloneOf(tc.r)
					r.PageSize = size
					for pages := 0; ; pages++ {
						got, err := inspect.QueryMessages(c.ctx, r)
						if err != nil {
							f.t.Fatal(err)
						}
						if size > 0 && len(got.GetMessages()) > int(size) || pages > 40 {
							f.t.Fatalf("%s, size %d: page %d has %d messages", name, size, pages, len(got.GetMessages()))
						}
						for _, m := range got.GetMessages() {
							seen[fmt.Sprint(m.GetShard(), m.GetLsn())]++
						}
						if r.PageToken = got.GetNextPageToken(); r.PageToken == "" {
							break
						}
					}
					if len(seen) != tc.want {
						f.t.Errorf("%s, size %d: %d messages, want %d", name, size, len(seen), tc.want)
					}
					for at, n := range seen {
						if n != 1 {
							f.t.Errorf("%s, size %d: %s came %d times", name, size, at, n)
						}
					}
				}
			}
			for name, r := range map[string]*controlv1.QueryMessagesRequest{
				"token": {Topic: "orders", Key: "k", PageToken: "nonsense"}, "no criterion": {Topic: "orders"}, "empty range": {Topic: "orders", FromMs: 5, ToMs: 5},
			} {
				if _, err := inspect.QueryMessages(c.ctx, r); grpcstatus.Code(err) != codes.InvalidArgument {
					f.t.Errorf("%s: %v", name, err)
				}
			}
		})
	})
}

// TestQueryBytes says that a page is bounded in bytes as well.
func TestQueryBytes(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			for i := range 6 {
				m := newMessage("orders", strconv.Itoa(i))
				m.Body = make([]byte, bodyMax)
				keysOf("k")(m)
				wantCode(f.t, "send", c.send(m), pb.Code_OK)
			}
			inspect := controlv1.NewInspectClient(c.conn)
			r, n := &controlv1.QueryMessagesRequest{Topic: "orders", Key: "k"}, 0
			for pages := 0; ; pages++ {
				got, err := inspect.QueryMessages(c.ctx, r)
				if err != nil {
					f.t.Fatal(err)
				}
				if size := proto.Size(got); size > pageBytes+bodyMax+1<<20 {
					f.t.Errorf("a page of %d bytes", size)
				}
				n += len(got.GetMessages())
				if r.PageToken = got.GetNextPageToken(); r.PageToken == "" || pages > 10 {
					break
				}
			}
			if n != 6 {
				f.t.Errorf("%d messages in all, want 6", n)
			}
		})
	})
}

// TestQueryGetsOn says that a scan which ends at its limit, with or without a
// match, is gone on with, and that nothing is lost where a page ends before it.
func TestQueryGetsOn(t *testing.T) {
	bubble(t, func(f *fixture) {
		for _, topic := range []string{"other", "orders"} {
			f.ctl.topic(topic, controlv1.TopicType_TOPIC_TYPE_NORMAL)
		}
		f.with("c", func(c *client) {
			for i := range 24 {
				m := newMessage("other", strconv.Itoa(i))
				if i >= 16 {
					m = newMessage("orders", strconv.Itoa(i))
					m.Body = make([]byte, bodyMax)
				}
				wantCode(f.t, "send", c.send(m), pb.Code_OK)
			}
			f.node.Intercept(func(op *storeapi.Op) bool {
				q, is := op.Request.(*storeapi.Query)
				if !is {
					return false
				}
				next := (q.After/8 + 5) * 8 // four entries are looked at
				scan := *op
				scan.Done = func(r storeapi.Reply) {
					found, _ := r.Result.(*storeapi.QueryResult)
					if next < 30*8 {
						found.Messages = slices.DeleteFunc(found.Messages, func(m storeapi.Found) bool { return m.LSN >= next })
						found.More, found.Next = true, next
					}
					op.Done(r)
				}
				f.node.Serve(&scan)
				return true
			})
			r := &controlv1.QueryMessagesRequest{Topic: "orders", FromMs: 1, ToMs: time.Now().Add(time.Hour).UnixMilli()}
			seen := map[string]bool{}
			for pages := 0; ; pages++ {
				got, err := controlv1.NewInspectClient(c.conn).QueryMessages(c.ctx, r)
				if err != nil {
					f.t.Fatal(err)
				}
				for _, m := range got.GetMessages() {
					at := fmt.Sprint(m.GetShard(), " ", m.GetLsn())
					if seen[at] {
						f.t.Errorf("%s came twice", at)
					}
					seen[at] = true
				}
				if r.PageToken = got.GetNextPageToken(); r.PageToken == "" || pages > 40 {
					break
				}
			}
			if len(seen) != 8 {
				f.t.Errorf("%d messages in all, want 8", len(seen))
			}
		})
	})
}
