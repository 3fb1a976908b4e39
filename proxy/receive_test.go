// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func named(group, topic string) func(*pb.ReceiveMessageRequest) {
	return func(r *pb.ReceiveMessageRequest) {
		r.Group, r.MessageQueue.Topic = resource(group), resource(topic)
	}
}

func invisible(d *durationpb.Duration) func(*pb.ReceiveMessageRequest) {
	return func(r *pb.ReceiveMessageRequest) { r.InvisibleDuration = d }
}

// TestReceiveLimits says what a receive may be. A refusal is a stream of status and
// delivery timestamp, at once.
func TestReceiveLimits(t *testing.T) {
	const none = pb.Code_MESSAGE_NOT_FOUND
	for _, tc := range []struct {
		name string
		want pb.Code
		edit func(*pb.ReceiveMessageRequest)
	}{
		{"topic empty", pb.Code_ILLEGAL_TOPIC, named("g", "")},
		{"topic with a dot", pb.Code_ILLEGAL_TOPIC, named("g", "a.b")},
		{"topic of the system", pb.Code_ILLEGAL_TOPIC, named("g", "TBW102")},
		{"topic unknown", pb.Code_TOPIC_NOT_FOUND, named("g", "nobody")},
		{"queue absent", pb.Code_ILLEGAL_TOPIC, func(r *pb.ReceiveMessageRequest) { r.MessageQueue = nil }},
		{"group absent", pb.Code_ILLEGAL_CONSUMER_GROUP, func(r *pb.ReceiveMessageRequest) { r.Group = nil }},
		{"group with a dot", pb.Code_ILLEGAL_CONSUMER_GROUP, named("g.h", "orders")},
		{"group of 120", none, named(strings.Repeat("g", 120), "orders")},
		{"group of 121", pb.Code_ILLEGAL_CONSUMER_GROUP, named(strings.Repeat("g", 121), "orders")},
		{"group of the system", pb.Code_ILLEGAL_CONSUMER_GROUP, named("CID_RMQ_SYS_X", "orders")},
		{"group of a tool", pb.Code_ILLEGAL_CONSUMER_GROUP, named("TOOLS_CONSUMER", "orders")},
		{"group in order", pb.Code_NOT_IMPLEMENTED, named("in-order", "orders")},

		{"invisible absent", none, invisible(nil)},
		{"invisible 0", pb.Code_ILLEGAL_INVISIBLE_TIME, invisible(durationpb.New(0))},
		{"invisible negative", pb.Code_ILLEGAL_INVISIBLE_TIME, invisible(durationpb.New(-time.Second))},
		{"invisible 1 ms", none, invisible(durationpb.New(time.Millisecond))},
		{"invisible 12 h", none, invisible(durationpb.New(12 * time.Hour))},
		{"invisible 12 h 1 s", pb.Code_ILLEGAL_INVISIBLE_TIME, invisible(durationpb.New(12*time.Hour + time.Second))},
		{"invisible out of range", pb.Code_ILLEGAL_INVISIBLE_TIME, invisible(&durationpb.Duration{Seconds: 1, Nanos: -1})},
		{"invisible nonsense with auto-renew", none, func(r *pb.ReceiveMessageRequest) {
			r.AutoRenew, r.InvisibleDuration = true, durationpb.New(-time.Hour)
		}},

		{"filter absent", none, func(r *pb.ReceiveMessageRequest) { r.FilterExpression = nil }},
		{"filter of separators", pb.Code_ILLEGAL_FILTER_EXPRESSION, tagged(" || ")},
		{"filter of SQL", pb.Code_NOT_IMPLEMENTED, func(r *pb.ReceiveMessageRequest) {
			r.FilterExpression = &pb.FilterExpression{Type: pb.FilterType_SQL, Expression: "a = 1"}
		}},

		{"batch 0", none, func(r *pb.ReceiveMessageRequest) { r.BatchSize = 0 }},
		{"batch negative", none, func(r *pb.ReceiveMessageRequest) { r.BatchSize = -5 }},
		{"poll negative", none, polling(-time.Second)},
	} {
		bubble(t, func(f *fixture) {
			f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
			f.ctl.group(&controlv1.Group{Name: "in-order", Fifo: true})
			f.with("c", func(c *client) {
				g := c.receive(receive("g", "orders", tc.edit))
				if g.err != nil {
					f.t.Fatalf("%s: %v", tc.name, g.err)
				}
				wantCode(f.t, tc.name, g, tc.want)
				if g.order != "sd" || g.took != 0 {
					f.t.Errorf("%s: stream %q after %v", tc.name, g.order, g.took)
				}
			})
		})
	}
}

// TestPollTime says how long a receive waits for nothing.
func TestPollTime(t *testing.T) {
	for _, tc := range []struct {
		name     string
		poll     time.Duration // negative: absent
		deadline time.Duration // 0: none
		want     time.Duration
	}{
		{"none at all", 0, time.Minute, 0},
		{"as asked", 7 * time.Second, time.Minute, 7 * time.Second},
		{"too long", time.Hour, 2 * time.Hour, 30 * time.Second},
		{"as long as the deadline", 20 * time.Second, 20 * time.Second, 19500 * time.Millisecond},
		{"absent", -1, 8 * time.Second, 6500 * time.Millisecond},
		{"absent, short deadline", -1, 1200 * time.Millisecond, 0},
		{"absent, no deadline", -1, 0, 20 * time.Second},
		{"absent, long deadline", -1, time.Hour, 30 * time.Second},
		{"tiny deadline", 20 * time.Second, 300 * time.Millisecond, 0},
	} {
		bubble(t, func(f *fixture) {
			f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
			f.with("c", func(c *client) {
				r := receive("g", "orders", polling(max(tc.poll, 0)))
				if tc.poll < 0 {
					r.LongPollingTimeout = nil
				}
				ctx, cancel := c.ctx, context.CancelFunc(func() {})
				if tc.deadline > 0 {
					ctx, cancel = context.WithTimeout(c.ctx, tc.deadline)
				}
				defer cancel()
				g := c.receiveIn(ctx, r)
				if g.err != nil || g.order != "sd" {
					f.t.Fatalf("%s: %v, stream %q", tc.name, g.err, g.order)
				}
				wantCode(f.t, tc.name, g, pb.Code_MESSAGE_NOT_FOUND)
				if diff := (g.took - tc.want).Abs(); diff > 5*time.Millisecond {
					f.t.Errorf("%s: %v, want %v", tc.name, g.took, tc.want)
				}
			})
		})
	}
}

// TestReceiveWakes says that a message is delivered when it comes, whatever shard
// it is on, to one of those who wait.
func TestReceiveWakes(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			const waiting = 16
			var all sync.WaitGroup
			var served atomic.Int32
			for range waiting {
				all.Go(func() {
					if g := c.receive(receive("g", "orders", polling(30*time.Second))); len(g.messages) == 1 {
						served.Add(1)
					}
				})
			}
			synctest.Wait()
			for i := range waiting {
				c.mustSend("orders", strconv.Itoa(i))
				synctest.Wait()
				if n := int(served.Load()); n != i+1 {
					f.t.Fatalf("%d receives served after %d messages", n, i+1)
				}
			}
			all.Wait()
			if leased, _, _ := f.node.Counts(f.groupID("g")); leased != waiting {
				f.t.Errorf("%d leases for %d messages", leased, waiting)
			}
		})
	})
}

// TestReceiveAllShards says that one receive after the other gets everything, in
// batches of at most 32, whatever queue they name.
func TestReceiveAllShards(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			for i := range 100 {
				c.mustSend("orders", strconv.Itoa(i))
			}
			seen := map[string]bool{}
			for len(seen) < 100 {
				g := c.receive(receive("g", "orders", func(r *pb.ReceiveMessageRequest) { r.BatchSize, r.MessageQueue.Id = 1000, 3 }))
				if len(g.messages) == 0 || len(g.messages) > 32 {
					f.t.Fatalf("%d messages after %d", len(g.messages), len(seen))
				}
				for _, m := range g.messages {
					seen[m.GetSystemProperties().GetMessageId()] = true
				}
			}
		})
	})
}

func TestReceiveTags(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			for _, tag := range []string{"a", "b", "c"} {
				m := newMessage("orders", tag)
				tagOf(tag)(m)
				c.send(m)
			}
			c.mustSend("orders", "untagged")
			for expression, want := range map[string]int{"*": 4, "": 4, "a": 1, "a || c": 2, "d": 0} {
				n := 0
				for {
					g := c.receive(receive(fmt.Sprintf("g%x", expression), "orders", tagged(expression)))
					if len(g.messages) == 0 {
						break
					}
					n += len(g.messages)
				}
				if n != want {
					f.t.Errorf("%q: %d messages, want %d", expression, n, want)
				}
			}
			var all sync.WaitGroup
			all.Go(func() {
				if g := c.receive(receive("g", "orders", tagged("x"), polling(10*time.Second))); g.ids() != "late" {
					f.t.Errorf("waited for x, got %q", g.ids())
				}
			})
			synctest.Wait()
			c.mustSend("orders", "other")
			m := newMessage("orders", "late")
			tagOf("x")(m)
			c.send(m)
			all.Wait()
		})
	})
}

// TestReceiveTake says what a shard is asked.
func TestReceiveTake(t *testing.T) {
	takeOf := func(f *fixture, edits ...func(*pb.ReceiveMessageRequest)) *storeapi.Take {
		f.node.Requests()
		f.with("c", func(c *client) { c.receive(receive("g", "orders", edits...)) })
		for _, r := range f.node.Requests() {
			if take, is := r.(*storeapi.Take); is {
				return take
			}
		}
		f.t.Fatal("no shard was asked")
		return nil
	}
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.ctl.group(&controlv1.Group{Name: "g", InvisibleMs: 45_000})
		take := takeOf(f)
		if take.InvisibleMS != 60_000 || take.AutoRenew || take.Max != 32 || take.Client != "c" || take.BytesMax != 2*takeBytesMin || take.AttemptHash != 0 {
			f.t.Errorf("%+v", take)
		}
		if take := takeOf(f, invisible(nil)); take.InvisibleMS != 45_000 {
			f.t.Errorf("no duration: %d ms, want the group's", take.InvisibleMS)
		}
		if take := takeOf(f, invisible(durationpb.New(time.Microsecond))); take.InvisibleMS != 1 {
			f.t.Errorf("1 µs: %d ms", take.InvisibleMS)
		}
		renewed := takeOf(f, func(r *pb.ReceiveMessageRequest) {
			r.AutoRenew, r.InvisibleDuration, r.BatchSize = true, durationpb.New(time.Hour), 7
		})
		if !renewed.AutoRenew || renewed.InvisibleMS != 60_000 || renewed.Max != 7 {
			f.t.Errorf("auto-renew: %+v", renewed)
		}
	})
}

// TestClientGone says that what was leased for a client that is gone is given back
// at once and does not count.
func TestClientGone(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			c.mustSend("orders", "m")
			gone := f.client("gone")
			f.node.Intercept(func(op *storeapi.Op) bool {
				if take, is := op.Request.(*storeapi.Take); is && take.Client == "gone" {
					gone.stop() // while the shard works
					time.AfterFunc(100*time.Millisecond, func() { f.node.Serve(op) })
					return true
				}
				return false
			})
			gone.receive(receive("g", "orders"))
			gone.close()
			timer := time.NewTimer(time.Second)
			<-timer.C
			if leased, _, _ := f.node.Counts(f.groupID("g")); leased != 0 {
				f.t.Errorf("%d leases for a client that is gone", leased)
			}
			g := c.receive(receive("g", "orders"))
			if g.ids() != "m" || g.messages[0].GetSystemProperties().GetDeliveryAttempt() != 1 {
				f.t.Errorf("the next receive: %v", g.messages)
			}
		})
	})
}

// TestWaitingClientGone says that a client that goes while it waits leaves nothing.
func TestWaitingClientGone(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		gone := f.client("gone")
		var all sync.WaitGroup
		all.Go(func() { gone.receive(receive("g", "orders", polling(30*time.Second))) })
		synctest.Wait()
		if f.proxy.lot.Waiting() != 1 {
			f.t.Fatal("the receive does not wait")
		}
		gone.close()
		all.Wait()
		synctest.Wait()
		if f.proxy.lot.Waiting() != 0 {
			f.t.Error("the receive still waits")
		}
	})
}

// TestReceiveCodes says what a consumer hears of a store: failures that pass are
// waited out; if none of the shards ever answers, that is said, and not at once.
func TestReceiveCodes(t *testing.T) {
	for code, want := range map[storeapi.Code]struct {
		code   pb.Code
		atOnce bool
	}{
		storeapi.TopicNotFound:  {pb.Code_TOPIC_NOT_FOUND, true},
		storeapi.GroupNotFound:  {pb.Code_CONSUMER_GROUP_NOT_FOUND, true},
		storeapi.NotImplemented: {pb.Code_NOT_IMPLEMENTED, true},
		storeapi.Internal:       {pb.Code_INTERNAL_SERVER_ERROR, false},
		storeapi.NotLeader:      {pb.Code_TOO_MANY_REQUESTS, false},
		storeapi.Unavailable:    {pb.Code_TOO_MANY_REQUESTS, false},
		storeapi.Overloaded:     {pb.Code_TOO_MANY_REQUESTS, false},
		storeapi.Unknown:        {pb.Code_PROXY_TIMEOUT, true},
	} {
		bubble(t, func(f *fixture) {
			f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
			f.node.Intercept(func(op *storeapi.Op) bool {
				op.Done(storeapi.Reply{Code: code})
				return true
			})
			f.with("c", func(c *client) {
				g := c.receive(receive("g", "orders"))
				if g.err != nil || g.order != "sd" {
					f.t.Fatalf("%v: %v %q", code, g.err, g.order)
				}
				wantCode(f.t, code.String(), g, want.code)
				if want.atOnce != (g.took < 500*time.Millisecond) {
					f.t.Errorf("%v: answered after %v", code, g.took)
				}
				ctx, cancel := context.WithTimeout(c.ctx, time.Second)
				defer cancel()
				if g = c.receiveIn(ctx, receive("g", "orders")); g.err != nil || g.took > 600*time.Millisecond {
					f.t.Errorf("%v with a deadline of 1 s: %v after %v", code, g.err, g.took)
				}
			})
		})
	}
}

// TestReceiveHeals says that a receive that found no leader gets its message when
// there is one.
func TestReceiveHeals(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			c.mustSend("orders", "m")
			f.node.Intercept(func(op *storeapi.Op) bool {
				op.Done(storeapi.Reply{Code: storeapi.NotLeader})
				return true
			})
			time.AfterFunc(3*time.Second, func() { f.node.Intercept(nil) })
			g := c.receive(receive("g", "orders", polling(20*time.Second)))
			if g.ids() != "m" || g.took > 5*time.Second {
				f.t.Errorf("%v %q after %v", g.status, g.ids(), g.took)
			}
		})
	})
}

// TestOneDeadShard says that a shard that cannot be reached does not hide the
// messages of others, nor spoil an empty answer.
func TestOneDeadShard(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			f.node.Intercept(func(op *storeapi.Op) bool {
				if op.Shard == 1 {
					op.Done(storeapi.Reply{Code: storeapi.Unavailable})
				}
				return op.Shard == 1
			})
			wantCode(f.t, "empty", c.receive(receive("g", "orders", polling(2*time.Second))), pb.Code_MESSAGE_NOT_FOUND)
			c.mustSend("orders", "m1", "m2")
			if g := c.receive(receive("g", "orders", polling(time.Second))); g.ids() != "m1 m2" {
				f.t.Errorf("%v %q", g.status, g.ids())
			}
		})
	})
}

// TestOverloadIsPaced says that clients that come back at once cannot make a
// storm of calls out of an overload.
func TestOverloadIsPaced(t *testing.T) {
	few := func(c *Config, _ *controlv1.Cluster) { c.ReceiveBytesMax = takeBytesMin + 1000 }
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		if f.proxy.receiving.reserve(f.t.Context(), 0) == 0 { // as if so much were on its way
			f.t.Fatal("no room")
		}
		f.with("c", func(c *client) {
			start, calls := time.Now(), 0
			for time.Since(start) < 10*time.Second {
				g := c.receive(receive("g", "orders", polling(20*time.Second)))
				wantCode(f.t, "overload", g, pb.Code_TOO_MANY_REQUESTS)
				calls++
				timer := time.NewTimer(20 * time.Millisecond)
				<-timer.C
			}
			if calls > 10 {
				f.t.Errorf("%d calls in 10 s", calls)
			}
			f.proxy.receiving.release(takeBytesMin)
			c.mustSend("orders", "m")
			if g := c.receive(receive("g", "orders")); g.ids() != "m" {
				f.t.Errorf("after the overload: %v %q", g.status, g.ids())
			}
		})
		synctest.Wait()
		if n := f.proxy.receiving.used.Load(); n != 0 {
			f.t.Errorf("%d bytes are still on their way", n)
		}
	}, few)
}

// leaving is the stream of a client that goes before the end of it arrives.
type leaving struct {
	grpc.ServerStream
	leave context.CancelFunc
}

func (l *leaving) SendMsg(m any) error {
	if r, is := m.(*pb.ReceiveMessageResponse); is && r.GetDeliveryTimestamp() != nil {
		l.leave()
	}
	return nil
}

// TestReceiveGoneLate says that what a client did not read to the end is given back.
func TestReceiveGoneLate(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) { c.mustSend("orders", "m") })
		ctx, cancel := context.WithCancel(metadata.NewIncomingContext(f.t.Context(), metadata.Pairs(headerClientID, "gone")))
		c, bad := f.proxy.begin(ctx, "ReceiveMessage")
		if bad != nil {
			f.t.Fatal(bad)
		}
		if _, err := f.proxy.receiveMessage(&c, receive("g", "orders"), &leaving{leave: cancel}); err == nil {
			f.t.Error("the call ended well")
		}
		f.with("c", func(c *client) {
			if g := c.receive(receive("g", "orders")); g.ids() != "m" || g.messages[0].GetSystemProperties().GetDeliveryAttempt() != 1 {
				f.t.Errorf("the next receive: %v", g.messages)
			}
		})
	})
}

// slowly has every Take answered that much later.
func slowly(f *fixture, d time.Duration, seen func(*storeapi.Take)) {
	f.node.Intercept(func(op *storeapi.Op) bool {
		take, is := op.Request.(*storeapi.Take)
		if is {
			seen(take)
			time.AfterFunc(d, func() { f.node.Serve(op) })
		}
		return is
	})
}

// TestReceiveBudget says that receives at once never ask for more bytes, nor hold
// more, than the proxy may have on their way, and that they wait for room.
func TestReceiveBudget(t *testing.T) {
	const limit = 8 * takeBytesMin
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			for i := range 20 {
				m := newMessage("orders", strconv.Itoa(i))
				m.Body = make([]byte, limit/4)
				wantCode(f.t, "send", c.send(m), pb.Code_OK)
			}
			slowly(f, 10*time.Millisecond, func(*storeapi.Take) {
				if used := f.proxy.receiving.used.Load(); used > limit {
					f.t.Errorf("%d bytes at once, at most %d are allowed", used, limit)
				}
			})
			var all sync.WaitGroup
			for range 40 {
				all.Go(func() {
					if g := c.receive(receive("g", "orders")); g.status.GetCode() == pb.Code_TOO_MANY_REQUESTS && len(g.messages) > 0 {
						f.t.Errorf("messages with %v", g.status)
					}
				})
			}
			all.Wait()
			timer := time.NewTimer(time.Second)
			<-timer.C
			for {
				g := c.receive(receive("g", "orders"))
				if g.status.GetCode() == pb.Code_MESSAGE_NOT_FOUND {
					break
				}
				wantCode(f.t, "what was given back", g, pb.Code_OK)
				for _, m := range g.messages {
					if m.GetSystemProperties().GetDeliveryAttempt() != 1 {
						f.t.Errorf("attempt %d of a message that nobody saw", m.GetSystemProperties().GetDeliveryAttempt())
					}
				}
			}
		})
		synctest.Wait()
		if used := f.proxy.receiving.used.Load(); used != 0 || !f.proxy.receiving.room.TryAcquire(limit) {
			f.t.Errorf("%d bytes are still on their way", used)
		}
	}, func(c *Config, _ *controlv1.Cluster) { c.ReceiveBytesMax = limit })
}

// TestReceiveSlowShards says that a client gets its answer in time however slow the
// shards are.
func TestReceiveSlowShards(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			c.receive(receive("g", "orders"))
			for _, limit := range []time.Duration{400 * time.Millisecond, 800 * time.Millisecond, 5 * time.Second} {
				f.node.Intercept(func(op *storeapi.Op) bool {
					_, is := op.Request.(*storeapi.Take)
					if is {
						time.AfterFunc(time.Until(op.Deadline), func() { f.node.Serve(op) })
					}
					return is
				})
				ctx, cancel := context.WithTimeout(c.ctx, limit)
				if g := c.receiveIn(ctx, receive("g", "orders", polling(time.Second))); g.err != nil || len(g.messages) > 0 {
					f.t.Errorf("deadline in %v: %v after %v", limit, g.err, g.took)
				}
				cancel()
			}
		})
	})
}

// TestReceiveGoneEarly says that no other shard is asked for a client that is gone.
func TestReceiveGoneEarly(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		c, takes := f.client("c"), 0
		slowly(f, 100*time.Millisecond, func(*storeapi.Take) {
			takes++
			c.stop()
		})
		c.receive(receive("g", "orders", polling(time.Second)))
		c.close()
		timer := time.NewTimer(5 * time.Second)
		<-timer.C
		if takes != 1 {
			f.t.Errorf("%d shards asked", takes)
		}
	})
}

// TestTrickle says that a consumer that waits for single messages does not ask
// every shard before and after each of them.
func TestTrickle(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			c.receive(receive("g", "orders", polling(time.Second)))
			f.node.Requests()
			const messages = 10
			var sends sync.WaitGroup
			defer sends.Wait()
			for i := range messages {
				sends.Add(1)
				time.AfterFunc(100*time.Millisecond, func() {
					defer sends.Done()
					c.mustSend("orders", strconv.Itoa(i))
				})
				if g := c.receive(receive("g", "orders", polling(20*time.Second))); len(g.messages) != 1 {
					f.t.Fatalf("%v", g.status)
				}
			}
			n := 0
			for _, r := range f.node.Requests() {
				if _, sent := r.(*storeapi.Append); !sent {
					n++
				}
			}
			if n > 4*messages {
				f.t.Errorf("%d operations for %d messages on 2 shards", n, messages)
			}
		})
	})
}

// TestTopicDeleted says that receives that wait for a topic end with it.
func TestTopicDeleted(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			time.AfterFunc(time.Second, func() { f.node.DropParks(storeapi.TopicNotFound) })
			g := c.receive(receive("g", "orders", polling(20*time.Second)))
			wantCode(f.t, "deleted while it waited", g, pb.Code_TOPIC_NOT_FOUND)
			if g.took != time.Second {
				f.t.Errorf("ended after %v", g.took)
			}
		})
	})
}

// TestReceiveWithoutKey says that nothing is leased that could never be settled.
func TestReceiveWithoutKey(t *testing.T) {
	noKeys := func(_ *Config, c *controlv1.Cluster) { c.HandleKeys = nil }
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			c.mustSend("orders", "m")
			wantCode(f.t, "no key", c.receive(receive("g", "orders")), pb.Code_INTERNAL_SERVER_ERROR)
			if leased, _, _ := f.node.Counts(f.groupID("g")); leased != 0 {
				f.t.Errorf("%d leases", leased)
			}
		})
	}, noKeys)
}

// TestReceiveNamespace says that a message comes back with the namespace of the
// receive.
func TestReceiveNamespace(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			c.mustSend("orders", "m")
			g := c.receive(receive("g", "orders", func(r *pb.ReceiveMessageRequest) { r.MessageQueue.Topic.ResourceNamespace = "ns" }))
			if topic := g.messages[0].GetTopic(); topic.GetResourceNamespace() != "ns" || topic.GetName() != "orders" {
				f.t.Errorf("topic %v", topic)
			}
		})
	})
}

// TestLargeMessages says that messages up to the limit arrive whole, and that a
// batch of them is bounded.
func TestLargeMessages(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			for i := range 4 {
				m := newMessage("orders", strconv.Itoa(i))
				m.Body = []byte(strings.Repeat(strconv.Itoa(i), bodyMax-i))
				wantCode(f.t, "send", c.send(m), pb.Code_OK)
			}
			seen := 0
			for seen < 4 {
				g := c.receive(receive("g", "orders"))
				if len(g.messages) != 1 {
					f.t.Fatalf("%d messages of 4 MiB in one batch: %v", len(g.messages), g.status)
				}
				id := g.messages[0].GetSystemProperties().GetMessageId()
				if body := g.messages[0].GetBody(); strings.Trim(string(body), id) != "" || len(body) < bodyMax-3 {
					f.t.Errorf("message %s: body of %d bytes", id, len(body))
				}
				seen++
			}
		})
	})
}
