// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"testing"
	"time"

	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// TestSendReceiveAck is the life of a message.
func TestSendReceiveAck(t *testing.T) {
	bubble(t, func(f *fixture) {
		t := f.t
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		producer, consumer := f.client("producer"), f.client("consumer")
		defer producer.close()
		defer consumer.close()
		m := newMessage("orders", "m1")
		m.SystemProperties.Tag, m.SystemProperties.Keys = new("t"), []string{"k"}
		m.UserProperties = map[string]string{"colour": "blue"}
		sent := producer.send(m)
		wantCode(t, "send", sent, pb.Code_OK)
		if e := sent.GetEntries(); len(e) != 1 || e[0].GetMessageId() != "m1" || e[0].GetTransactionId() == "" || e[0].GetStatus().GetCode() != pb.Code_OK {
			t.Errorf("entries %v", e)
		}
		g := consumer.receive(receive("g", "orders"))
		wantCode(t, "receive", g, pb.Code_OK)
		if g.order != "smd" || g.delivered.IsZero() {
			t.Fatalf("stream %q, delivered %v", g.order, g.delivered)
		}
		got, sp := g.messages[0], g.messages[0].GetSystemProperties()
		if string(got.GetBody()) != "body of m1" || got.GetUserProperties()["colour"] != "blue" || got.GetTopic().GetName() != "orders" ||
			sp.GetTag() != "t" || sp.GetDeliveryAttempt() != 1 || sp.GetReceiptHandle() == "" || sp.GetStoreHost() != "store-1" ||
			sp.GetQueueOffset() != 0 || sp.GetBornTimestamp() == nil || sp.GetBodyEncoding() != pb.Encoding_IDENTITY {
			t.Errorf("delivered %v", got)
		}
		wantCode(t, "ack", consumer.ack("g", "orders", got), pb.Code_OK)
		wantCode(t, "ack again", consumer.ack("g", "orders", got), pb.Code_OK)
		wantCode(t, "receive again", consumer.receive(receive("g", "orders")), pb.Code_MESSAGE_NOT_FOUND)
		if _, done, _ := f.node.Counts(f.groupID("g")); done != 1 {
			t.Errorf("%d done, want 1", done)
		}
	})
}

// TestRedelivery says that what is not settled comes again, and counts.
func TestRedelivery(t *testing.T) {
	bubble(t, func(f *fixture) {
		t := f.t
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			c.mustSend("orders", "m1")
			first := c.receive(receive("g", "orders"))
			start := time.Now()
			for range 2 {
				wantCode(t, "while leased", c.receive(receive("g", "orders", polling(25*time.Second))), pb.Code_MESSAGE_NOT_FOUND)
			}
			second := c.receive(receive("g", "orders", polling(25*time.Second)))
			if second.ids() != "m1" || second.messages[0].GetSystemProperties().GetDeliveryAttempt() != 2 {
				t.Fatalf("%v %v", second.status, second.messages)
			}
			if took := time.Since(start); took < time.Minute-time.Millisecond || took > time.Minute+time.Second {
				t.Errorf("came again after %v, want a minute", took)
			}
			wantCode(t, "ack of the first delivery", c.ack("g", "orders", first.messages[0]), pb.Code_INVALID_RECEIPT_HANDLE)
			wantCode(t, "ack of the second", c.ack("g", "orders", second.messages[0]), pb.Code_OK)
		})
	})
}
