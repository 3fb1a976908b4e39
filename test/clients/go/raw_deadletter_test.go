// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bytes"
	"testing"
	"time"

	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"
	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/test/clients/go/internal/raw"
)

func forwardRequest(group string, m *v2.Message) *v2.ForwardMessageToDeadLetterQueueRequest {
	return &v2.ForwardMessageToDeadLetterQueueRequest{
		Group:               raw.Resource(group),
		Topic:               m.GetTopic(),
		ReceiptHandle:       m.GetSystemProperties().GetReceiptHandle(),
		MessageId:           m.GetSystemProperties().GetMessageId(),
		DeliveryAttempt:     attempt(m),
		MaxDeliveryAttempts: 2,
	}
}

// TestRawDeadLetterByAttempts says that the server moves a message whose last lease ran out, whether anybody asks for
// it or not.
func TestRawDeadLetterByAttempts(t *testing.T) {
	t.Parallel()
	l := leased{c: dial(t), topic: newTopic(t, "normal"), group: newGroup(t, 2)}
	sent := raw.Message(l.topic, "doomed")
	sent.SystemProperties.Tag = proto.String("t")
	sent.SystemProperties.Keys = []string{"k"}
	sent.UserProperties = map[string]string{"p": "v"}
	send(t, l.c, sent)
	for want := int32(1); want <= 2; want++ {
		if m := l.receive(t, shortLease); attempt(m) != want {
			t.Fatalf("attempt %d, want %d", attempt(m), want)
		}
	}
	dead := deadLetter(t, l.c, l.group)
	wantDeadLetter(t, dead, l.topic, sent)
	l.gone(t)
}

// TestRawDeadLetterByClient says that a client may give a message up before its last attempt.
func TestRawDeadLetterByClient(t *testing.T) {
	t.Parallel()
	l := lease(t, time.Minute)
	for range 2 {
		ctx, cancel := l.c.Call(t.Context())
		resp, err := l.c.ForwardMessageToDeadLetterQueue(ctx, forwardRequest(l.group, l.m))
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, "forward, also repeated", resp.GetStatus(), v2.Code_OK)
	}
	dead := deadLetter(t, l.c, l.group)
	wantDeadLetter(t, dead, l.topic, l.m)
	wantNothing(t, l.c, raw.Receive{
		Group: "%reader-of-" + l.group, Topic: "%DLQ%" + l.group, Invisible: time.Minute,
	}, 300*time.Millisecond)
	l.gone(t)
}

// deadLetter receives the one message of the group's dead letter topic and acknowledges it.
func deadLetter(t *testing.T, c *raw.Client, group string) *v2.Message {
	t.Helper()
	reader, topic := "%reader-of-"+group, "%DLQ%"+group
	got := receive(t, c, raw.Receive{Group: reader, Topic: topic, Invisible: time.Minute})
	if len(got) != 1 {
		t.Fatalf("%d dead letters, want 1", len(got))
	}
	ack(t, c, reader, got[0], v2.Code_OK)
	return got[0]
}

func wantDeadLetter(t *testing.T, dead *v2.Message, topic string, sent *v2.Message) {
	t.Helper()
	sp, want := dead.GetSystemProperties(), sent.GetSystemProperties()
	if !bytes.Equal(dead.GetBody(), sent.GetBody()) {
		t.Errorf("body %q, want %q", dead.GetBody(), sent.GetBody())
	}
	if origin := sp.GetDeadLetterQueue(); origin.GetTopic() != topic || origin.GetMessageId() != want.GetMessageId() {
		t.Errorf("dead_letter_queue %v, want topic %s and message %s", origin, topic, want.GetMessageId())
	}
	if sp.GetDeliveryAttempt() != 1 {
		t.Errorf("attempt %d of a fresh dead letter", sp.GetDeliveryAttempt())
	}
	if sp.GetTag() != want.GetTag() || len(sp.GetKeys()) != len(want.GetKeys()) ||
		len(dead.GetUserProperties()) != len(sent.GetUserProperties()) {
		t.Errorf("tag %q, keys %v, properties %v: not those of the message", sp.GetTag(), sp.GetKeys(),
			dead.GetUserProperties())
	}
}
