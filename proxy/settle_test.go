// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/handle"
)

// leased sends n messages and receives them all.
func (c *client) leased(topic, group string, n int) (messages []*pb.Message) {
	c.f.t.Helper()
	for i := range n {
		c.mustSend(topic, strconv.Itoa(i))
	}
	for len(messages) < n {
		g := c.receive(receive(group, topic))
		if len(g.messages) == 0 {
			c.f.t.Fatalf("%d of %d messages: %v", len(messages), n, g.status)
		}
		messages = append(messages, g.messages...)
	}
	return messages
}

func (c *client) change(group, topic, text string, edits ...func(*pb.ChangeInvisibleDurationRequest)) *pb.ChangeInvisibleDurationResponse {
	c.f.t.Helper()
	r := &pb.ChangeInvisibleDurationRequest{
		Group: resource(group), Topic: resource(topic), ReceiptHandle: text, InvisibleDuration: durationpb.New(time.Minute),
	}
	for _, e := range edits {
		e(r)
	}
	resp, err := c.ChangeInvisibleDuration(c.ctx, r)
	if err != nil {
		c.f.t.Fatal(err)
	}
	return resp
}

func (c *client) forward(group, topic, text string) *pb.ForwardMessageToDeadLetterQueueResponse {
	c.f.t.Helper()
	resp, err := c.ForwardMessageToDeadLetterQueue(c.ctx, &pb.ForwardMessageToDeadLetterQueueRequest{
		Group: resource(group), Topic: resource(topic), ReceiptHandle: text, MessageId: "0",
	})
	if err != nil {
		c.f.t.Fatal(err)
	}
	return resp
}

func handleOf(m *pb.Message) string { return m.GetSystemProperties().GetReceiptHandle() }

func withText(text string) *pb.Message {
	return &pb.Message{SystemProperties: &pb.SystemProperties{MessageId: "m", ReceiptHandle: new(text)}}
}

// TestHandlesRefused says that a handle that is not one of the request's topic and
// group in this cluster is refused by every call, without asking a shard.
func TestHandlesRefused(t *testing.T) {
	bubble(t, func(f *fixture) {
		for _, name := range []string{"orders", "other"} {
			f.ctl.topic(name, controlv1.TopicType_TOPIC_TYPE_NORMAL)
		}
		f.with("c", func(c *client) {
			text := handleOf(c.leased("orders", "g", 1)[0])
			c.leased("other", "h", 1)
			genuine, err := f.proxy.handles.Load().Parse(text)
			if err != nil {
				f.t.Fatal(err)
			}
			foreign := handle.NewCodec("another cluster", []handle.Key{{ID: 1, Secret: []byte("a secret of the cluster")}})
			f.node.Requests()
			for _, tc := range []struct{ name, group, topic, text string }{
				{"empty", "g", "orders", ""},
				{"nonsense", "g", "orders", "nonsense"},
				{"truncated", "g", "orders", text[:len(text)-1]},
				{"forged", "g", "orders", text[:len(text)-1] + string(text[len(text)-1]^1)},
				{"of another cluster", "g", "orders", string(foreign.Append(nil, &genuine))},
				{"of another group", "h", "orders", text},
				{"of another topic", "g", "other", text},
				{"of a group that is gone", "nobody", "orders", text},
				{"of a topic that is gone", "g", "nobody", text},
			} {
				const want = pb.Code_INVALID_RECEIPT_HANDLE
				ack := c.ack(tc.group, tc.topic, withText(tc.text))
				wantCode(f.t, "ack, "+tc.name, ack, want)
				wantCode(f.t, "ack entry, "+tc.name, ack.GetEntries()[0], want)
				wantCode(f.t, "change, "+tc.name, c.change(tc.group, tc.topic, tc.text), want)
				wantCode(f.t, "forward, "+tc.name, c.forward(tc.group, tc.topic, tc.text), want)
			}
			for _, tc := range []struct {
				group, topic string
				want         pb.Code
			}{{"g.h", "orders", pb.Code_ILLEGAL_CONSUMER_GROUP}, {"g", "a.b", pb.Code_ILLEGAL_TOPIC}, {"", "orders", pb.Code_ILLEGAL_CONSUMER_GROUP}} {
				wantCode(f.t, "ack", c.ack(tc.group, tc.topic, withText(text)), tc.want)
				wantCode(f.t, "change", c.change(tc.group, tc.topic, text), tc.want)
				wantCode(f.t, "forward", c.forward(tc.group, tc.topic, text), tc.want)
			}
			for _, r := range f.node.Requests() {
				f.t.Errorf("a shard was asked: %T", r)
			}
			wantCode(f.t, "the genuine one", c.ack("g", "orders", withText(text)), pb.Code_OK)
		})
	})
}

// TestHandlesSurvive says that handles outlive the proxy that made them and a
// rotation of keys, as long as the old key is there.
func TestHandlesSurvive(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		var messages []*pb.Message
		f.with("a", func(c *client) { messages = c.leased("orders", "g", 2) })
		old := &controlv1.HandleKey{Id: 1, Secret: []byte("a secret of the cluster")}
		next := &controlv1.HandleKey{Id: 2, Secret: []byte("the next secret")}
		rotate := func(keys ...*controlv1.HandleKey) {
			f.ctl.apply(&controlv1.WatchResponse{Cluster: &controlv1.Cluster{Uuid: "c1", Name: "test-cluster", HandleKeys: keys}})
		}
		f.with("b", func(c *client) {
			rotate(old, next)
			wantCode(f.t, "while both keys are there", c.ack("g", "orders", messages[0]), pb.Code_OK)
			rotate(next)
			wantCode(f.t, "when the old key is gone", c.ack("g", "orders", messages[1]), pb.Code_INVALID_RECEIPT_HANDLE)
		})
	})
}

// TestAckMany says that a batch may lie on several shards, that its entries have
// outcomes of their own, and that the response keeps their order.
func TestAckMany(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			messages := c.leased("orders", "g", 20)
			bad := withText("nonsense")
			batch := append(append(append([]*pb.Message{}, messages[:10]...), bad), messages[10:]...)
			resp := c.ack("g", "orders", batch...)
			wantCode(f.t, "batch", resp, pb.Code_MULTIPLE_RESULTS)
			for i, e := range resp.GetEntries() {
				want := pb.Code_OK
				if i == 10 {
					want = pb.Code_INVALID_RECEIPT_HANDLE
				}
				wantCode(f.t, fmt.Sprint("entry ", i), e, want)
				if e.GetReceiptHandle() != handleOf(batch[i]) || e.GetMessageId() != batch[i].GetSystemProperties().GetMessageId() {
					f.t.Errorf("entry %d is of another message", i)
				}
			}
			if _, done, _ := f.node.Counts(f.groupID("g")); done != 20 {
				f.t.Errorf("%d done, want 20", done)
			}
			wantCode(f.t, "batch of good ones", c.ack("g", "orders", messages...), pb.Code_OK)
			wantCode(f.t, "batch of bad ones", c.ack("g", "orders", bad, bad), pb.Code_INVALID_RECEIPT_HANDLE)
			wantCode(f.t, "no entries", c.ack("g", "orders"), pb.Code_INTERNAL_SERVER_ERROR)
			shards := map[int]bool{}
			for _, r := range f.node.Requests() {
				if s, is := r.(*storeapi.Settle); is && len(s.Items) > 1 {
					shards[len(s.Items)] = true
				}
			}
			if len(shards) == 0 {
				f.t.Error("items of one shard did not go together")
			}
		})
	})
}

// TestSettleCodes says what a consumer hears of a store: final outcomes have the
// one code on which clients give up, all else may be tried again.
func TestSettleCodes(t *testing.T) {
	for code, want := range map[storeapi.Code]pb.Code{
		storeapi.InvalidHandle: pb.Code_INVALID_RECEIPT_HANDLE,
		storeapi.TopicNotFound: pb.Code_INVALID_RECEIPT_HANDLE,
		storeapi.GroupNotFound: pb.Code_INVALID_RECEIPT_HANDLE,
		storeapi.NotLeader:     pb.Code_TOO_MANY_REQUESTS,
		storeapi.Unavailable:   pb.Code_TOO_MANY_REQUESTS,
		storeapi.Overloaded:    pb.Code_TOO_MANY_REQUESTS,
		storeapi.Expired:       pb.Code_PROXY_TIMEOUT,
		storeapi.Unknown:       pb.Code_PROXY_TIMEOUT,
		storeapi.Internal:      pb.Code_INTERNAL_SERVER_ERROR,
	} {
		bubble(t, func(f *fixture) {
			f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
			f.with("c", func(c *client) {
				messages := c.leased("orders", "g", 3)
				failing[*storeapi.Settle](f, code)
				wantCode(f.t, "ack, "+code.String(), c.ack("g", "orders", messages[0]), want)
				many := c.ack("g", "orders", messages...)
				wantCode(f.t, "ack of many, "+code.String(), many, want)
				if len(many.GetEntries()) != 3 {
					f.t.Errorf("%v: %d entries", code, len(many.GetEntries()))
				}
				changed := c.change("g", "orders", handleOf(messages[0]))
				wantCode(f.t, "change, "+code.String(), changed, want)
				if changed.GetReceiptHandle() != handleOf(messages[0]) {
					f.t.Errorf("%v: the handle is lost", code)
				}
				wantCode(f.t, "forward, "+code.String(), c.forward("g", "orders", handleOf(messages[0])), want)
			})
		})
	}
}

// TestSettleRetries says that settling is tried again until it is done.
func TestSettleRetries(t *testing.T) {
	for _, code := range []storeapi.Code{storeapi.NotLeader, storeapi.Unavailable, storeapi.Unknown, storeapi.Expired, storeapi.NeedConfig} {
		bubble(t, func(f *fixture) {
			f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
			f.with("c", func(c *client) {
				m := c.leased("orders", "g", 1)[0]
				n := 0
				f.node.Intercept(func(op *storeapi.Op) bool {
					if _, is := op.Request.(*storeapi.Settle); !is || n == 3 {
						return false
					}
					n++
					op.Done(storeapi.Reply{Code: code})
					return true
				})
				wantCode(f.t, code.String(), c.ack("g", "orders", m), pb.Code_OK)
			})
		})
	}
}

// TestChangeInvisible says what durations mean.
func TestChangeInvisible(t *testing.T) {
	duration := func(d *durationpb.Duration) func(*pb.ChangeInvisibleDurationRequest) {
		return func(r *pb.ChangeInvisibleDurationRequest) { r.InvisibleDuration = d }
	}
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			text := handleOf(c.leased("orders", "g", 1)[0])
			for _, tc := range []struct {
				name string
				d    *durationpb.Duration
				want pb.Code
			}{
				{"negative", durationpb.New(-time.Millisecond), pb.Code_ILLEGAL_INVISIBLE_TIME},
				{"12 h 1 s", durationpb.New(12*time.Hour + time.Second), pb.Code_ILLEGAL_INVISIBLE_TIME},
				{"out of range", &durationpb.Duration{Seconds: 1 << 60}, pb.Code_ILLEGAL_INVISIBLE_TIME},
				{"12 h", durationpb.New(12 * time.Hour), pb.Code_OK},
				{"1 s", durationpb.New(time.Second), pb.Code_OK},
				{"twice", durationpb.New(time.Second), pb.Code_OK},
			} {
				resp := c.change("g", "orders", text, duration(tc.d))
				wantCode(f.t, tc.name, resp, tc.want)
				if resp.GetReceiptHandle() != text {
					f.t.Errorf("%s: handle %q", tc.name, resp.GetReceiptHandle())
				}
			}
			g := c.receive(receive("g", "orders", polling(5*time.Second)))
			if g.ids() != "0" || g.messages[0].GetSystemProperties().GetDeliveryAttempt() != 2 || g.took != time.Second {
				f.t.Fatalf("%q after %v", g.ids(), g.took)
			}
			wantCode(f.t, "given back", c.change("g", "orders", handleOf(g.messages[0]), duration(durationpb.New(0))), pb.Code_OK)
			g = c.receive(receive("g", "orders"))
			if g.ids() != "0" || g.messages[0].GetSystemProperties().GetDeliveryAttempt() != 3 {
				f.t.Fatalf("%q", g.ids())
			}
			suspend := func(r *pb.ChangeInvisibleDurationRequest) { r.Suspend = new(true) }
			wantCode(f.t, "suspended", c.change("g", "orders", handleOf(g.messages[0]), duration(nil), suspend), pb.Code_OK)
			g = c.receive(receive("g", "orders"))
			if g.ids() != "0" || g.messages[0].GetSystemProperties().GetDeliveryAttempt() != 3 {
				f.t.Errorf("after a suspension: attempt %d, want 3 again", g.messages[0].GetSystemProperties().GetDeliveryAttempt())
			}
		})
	})
}

func TestForward(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			m := c.leased("orders", "g", 1)[0]
			wantCode(f.t, "forward", c.forward("g", "orders", handleOf(m)), pb.Code_OK)
			wantCode(f.t, "forward again", c.forward("g", "orders", handleOf(m)), pb.Code_OK)
			if _, _, buried := f.node.Counts(f.groupID("g")); buried != 1 {
				f.t.Errorf("%d buried", buried)
			}
		})
	})
}
