// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
	"github.com/apache/rocketmq-clients/golang/v5/credentials"
	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"
)

const sdkWithin = 20 * time.Second // the longest a case waits for a message

// TestSDK runs the official client, first over TLS as it comes, then over plaintext. The switch is a variable of the
// SDK's package, so the two rounds follow each other and the cases of a round run side by side.
func TestSDK(t *testing.T) {
	t.Parallel()
	rmq.ResetLogger()
	for _, mode := range []string{"TLS", "plaintext"} {
		t.Run(mode, func(t *testing.T) {
			rmq.EnableSsl = mode == "TLS"
			for name, run := range sdkCases(rmq.EnableSsl) {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					run(t)
				})
			}
		})
	}
}

// sdkCases returns the cases of a round; what takes long, or a cluster, is in the first round only.
func sdkCases(first bool) map[string]func(*testing.T) {
	cases := map[string]func(*testing.T){
		"send sync and async":                   sdkSend,
		"simple consumer receives and settles":  sdkSimple,
		"redelivery after the invisible time":   sdkRedelivery,
		"push consumer with a tag filter":       sdkPush,
		"push consumer that fails: dead letter": sdkPushDeadLetter,
		"unacknowledged: dead letter":           sdkDeadLetter,
		"unknown topic":                         sdkUnknownTopic,
		"illegal messages":                      sdkIllegal,
	}
	if first {
		cases["settle through another proxy"] = sdkOtherProxy
	}
	if first && os.Getenv("SLOW") == "1" {
		cases["push consumer slower than its lease"] = sdkSlowPush
	}
	return cases
}

func sdkConfig(group string) *rmq.Config {
	return &rmq.Config{
		Endpoint: shared.Addr, ConsumerGroup: group, Credentials: &credentials.SessionCredentials{},
	}
}

// newClient makes an SDK client that may send messages of 4 MiB; the SDK's own limit is 2 MiB per request.
func newClient(config *rmq.Config, opts ...rmq.ClientOption) (rmq.Client, error) {
	return rmq.NewClient(config, append(opts, rmq.WithRpcClientOptions(
		rmq.WithRpcClientConnOption(rmq.WithMaxCallSendMsgSize(16<<20))))...)
}

func sdkProducer(t *testing.T, topics ...string) rmq.Producer {
	t.Helper()
	p, err := rmq.NewProducer(sdkConfig(""), rmq.WithTopics(topics...), rmq.WithClientFunc(newClient))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.GracefulStop(); err != nil {
			t.Errorf("stop of the producer: %v", err)
		}
	})
	return p
}

func sdkSimpleConsumer(t *testing.T, group, topic, tags string) rmq.SimpleConsumer {
	t.Helper()
	c, err := rmq.NewSimpleConsumer(sdkConfig(group), rmq.WithSimpleAwaitDuration(time.Second),
		rmq.WithSimpleSubscriptionExpressions(map[string]*rmq.FilterExpression{topic: rmq.NewFilterExpression(tags)}))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.GracefulStop(); err != nil {
			t.Errorf("stop of the simple consumer: %v", err)
		}
	})
	return c
}

// sdkPushConsumer runs a push consumer with the handler. Its stop waits for the long poll under way, up to 20 s, so
// the test does not wait for its stop.
func sdkPushConsumer(
	t *testing.T, group, topic, tags string, handle func(*rmq.MessageView) rmq.ConsumerResult,
) {
	t.Helper()
	c, err := rmq.NewPushConsumer(sdkConfig(group),
		rmq.WithPushSubscriptionExpressions(map[string]*rmq.FilterExpression{topic: rmq.NewFilterExpression(tags)}),
		rmq.WithPushMessageListener(&rmq.FuncMessageListener{Consume: handle}))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { go func() { _ = c.GracefulStop() }() })
}

func sdkMessage(topic, body, tag string) *rmq.Message {
	m := &rmq.Message{Topic: topic, Body: []byte(body)}
	if tag != "" {
		m.SetTag(tag)
	}
	return m
}

func sdkMustSend(t *testing.T, p rmq.Producer, m *rmq.Message) string {
	t.Helper()
	receipts, err := p.Send(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if len(receipts) != 1 || receipts[0].MessageID == "" {
		t.Fatalf("receipts %v", receipts)
	}
	return receipts[0].MessageID
}

// sdkReceive receives until at least one message comes.
func sdkReceive(t *testing.T, c rmq.SimpleConsumer, invisible time.Duration) []*rmq.MessageView {
	t.Helper()
	limit := time.Now().Add(sdkWithin)
	for time.Now().Before(limit) {
		got, err := c.Receive(t.Context(), 16, invisible)
		if err == nil {
			return got
		}
		if rpc, ok := rmq.AsErrRpcStatus(err); !ok || v2.Code(rpc.GetCode()) != v2.Code_MESSAGE_NOT_FOUND {
			t.Fatal(err)
		}
	}
	t.Fatalf("no message within %v", sdkWithin)
	return nil
}

// sdkNothing wants MESSAGE_NOT_FOUND, which the Go SDK hands to its user as an error.
func sdkNothing(t *testing.T, c rmq.SimpleConsumer) {
	t.Helper()
	got, err := c.Receive(t.Context(), 16, time.Minute)
	for _, m := range got {
		t.Errorf("unexpected message %s, attempt %d", m.GetMessageId(), m.GetDeliveryAttempt())
	}
	wantRPC(t, err, v2.Code_MESSAGE_NOT_FOUND)
}

func wantRPC(t *testing.T, err error, want v2.Code) {
	t.Helper()
	rpc, ok := rmq.AsErrRpcStatus(err)
	if !ok || v2.Code(rpc.GetCode()) != want {
		t.Errorf("error %v, want code %v", err, want)
	}
}

func sdkSend(t *testing.T) {
	topic := newTopic(t, "normal")
	p := sdkProducer(t, topic)
	c := sdkSimpleConsumer(t, unique(t), topic, "*")
	want := map[string]bool{}
	for i := range 5 {
		want[sdkMustSend(t, p, sdkMessage(topic, fmt.Sprint("sync ", i), ""))] = true
	}
	type result struct {
		receipts []*rmq.SendReceipt
		err      error
	}
	results := make(chan result, 5)
	for i := range 5 {
		p.SendAsync(t.Context(), sdkMessage(topic, fmt.Sprint("async ", i), ""),
			func(_ context.Context, receipts []*rmq.SendReceipt, err error) { results <- result{receipts, err} })
	}
	for range 5 {
		r := <-results
		if r.err != nil {
			t.Fatal(r.err)
		}
		want[r.receipts[0].MessageID] = true
	}
	big := sdkMessage(topic, strings.Repeat("x", bodyMax), "")
	want[sdkMustSend(t, p, big)] = true
	for len(want) > 0 {
		for _, m := range sdkReceive(t, c, time.Minute) {
			if !want[m.GetMessageId()] {
				t.Errorf("message %s twice or never sent", m.GetMessageId())
			}
			delete(want, m.GetMessageId())
		}
	}
}

func sdkSimple(t *testing.T) {
	topic := newTopic(t, "normal")
	p := sdkProducer(t, topic)
	c := sdkSimpleConsumer(t, unique(t), topic, "a")
	sdkMustSend(t, p, sdkMessage(topic, "filtered out", "b"))
	m := sdkMessage(topic, "hello", "a")
	m.SetKeys("k1", "k2")
	m.AddProperty("colour", "blue")
	id := sdkMustSend(t, p, m)

	got := sdkReceive(t, c, 2*time.Second)
	if len(got) != 1 {
		t.Fatalf("%d messages, want 1", len(got))
	}
	v := got[0]
	if v.GetMessageId() != id || string(v.GetBody()) != "hello" || v.GetTag() == nil || *v.GetTag() != "a" ||
		strings.Join(v.GetKeys(), ",") != "k1,k2" || v.GetProperties()["colour"] != "blue" ||
		v.GetDeliveryAttempt() != 1 || v.GetTopic() != topic || v.GetBornTimestamp() == nil {
		t.Errorf("received %+v", v)
	}
	// Held for longer than the first lease by the change, then settled.
	if err := c.ChangeInvisibleDuration(v, time.Minute); err != nil {
		t.Fatal(err)
	}
	sdkNothing(t, c)
	if err := c.Ack(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if err := c.ChangeInvisibleDuration(&rmq.MessageView{}, time.Second); err == nil {
		t.Error("a message that came from nowhere was accepted")
	}
}

func sdkRedelivery(t *testing.T) {
	topic := newTopic(t, "normal")
	p := sdkProducer(t, topic)
	c := sdkSimpleConsumer(t, unique(t), topic, "*")
	id := sdkMustSend(t, p, sdkMessage(topic, "again", ""))
	first := sdkReceive(t, c, 1500*time.Millisecond)[0]
	second := sdkReceive(t, c, time.Minute)[0]
	if second.GetMessageId() != id || first.GetDeliveryAttempt() != 1 || second.GetDeliveryAttempt() != 2 {
		t.Errorf("message %s, attempts %d and %d, want %s, 1 and 2", second.GetMessageId(), first.GetDeliveryAttempt(),
			second.GetDeliveryAttempt(), id)
	}
	wantRPC(t, c.ChangeInvisibleDuration(first, time.Minute), v2.Code_INVALID_RECEIPT_HANDLE)
	// 0 gives it back at once.
	if err := c.ChangeInvisibleDuration(second, 0); err != nil {
		t.Fatal(err)
	}
	third := sdkReceive(t, c, time.Minute)[0]
	if third.GetDeliveryAttempt() != 3 {
		t.Errorf("attempt %d, want 3", third.GetDeliveryAttempt())
	}
	if err := c.Ack(t.Context(), third); err != nil {
		t.Fatal(err)
	}
	sdkNothing(t, c)
}

func sdkPush(t *testing.T) {
	topic := newTopic(t, "normal")
	p := sdkProducer(t, topic)
	seen := make(chan string, 100)
	sdkPushConsumer(t, unique(t), topic, "a || b", func(m *rmq.MessageView) rmq.ConsumerResult {
		seen <- string(m.GetBody())
		return rmq.SUCCESS
	})
	want := map[string]bool{}
	for i, tag := range []string{"a", "b", "c", "", "a", "b"} {
		body := fmt.Sprint(tag, i)
		sdkMustSend(t, p, sdkMessage(topic, body, tag))
		if tag == "a" || tag == "b" {
			want[body] = true
		}
	}
	limit := time.NewTimer(sdkWithin)
	defer limit.Stop()
	for len(want) > 0 {
		select {
		case body := <-seen:
			if !want[body] {
				t.Errorf("message %q twice or not asked for", body)
			}
			delete(want, body)
		case <-limit.C:
			t.Fatalf("not received: %v", want)
		}
	}
	quiet := time.NewTimer(time.Second)
	defer quiet.Stop()
	select {
	case body := <-seen:
		t.Errorf("message %q too many", body)
	case <-quiet.C:
	}
}

// sdkPushDeadLetter fails each delivery: the SDK gives the message back, and the server puts it away after the last.
func sdkPushDeadLetter(t *testing.T) {
	topic, group := newTopic(t, "normal"), newGroup(t, 2)
	p := sdkProducer(t, topic)
	attempts := make(chan int32, 100)
	sdkPushConsumer(t, group, topic, "*", func(m *rmq.MessageView) rmq.ConsumerResult {
		attempts <- m.GetDeliveryAttempt()
		return rmq.FAILURE
	})
	id := sdkMustSend(t, p, sdkMessage(topic, "doomed", ""))
	limit := time.NewTimer(2 * sdkWithin)
	defer limit.Stop()
	for want := int32(1); want <= 2; want++ {
		select {
		case got := <-attempts:
			if got != want {
				t.Errorf("attempt %d, want %d", got, want)
			}
		case <-limit.C:
			t.Fatalf("attempt %d did not come", want)
		}
	}
	wantSDKDeadLetter(t, group, id)
}

func sdkDeadLetter(t *testing.T) {
	topic, group := newTopic(t, "normal"), newGroup(t, 2)
	p := sdkProducer(t, topic)
	c := sdkSimpleConsumer(t, group, topic, "*")
	id := sdkMustSend(t, p, sdkMessage(topic, "doomed", ""))
	for want := int32(1); want <= 2; want++ {
		if got := sdkReceive(t, c, time.Second)[0].GetDeliveryAttempt(); got != want {
			t.Errorf("attempt %d, want %d", got, want)
		}
	}
	wantSDKDeadLetter(t, group, id)
	sdkNothing(t, c)
}

func wantSDKDeadLetter(t *testing.T, group, id string) {
	t.Helper()
	dead := sdkSimpleConsumer(t, unique(t), "%DLQ%"+group, "*")
	m := sdkReceive(t, dead, time.Minute)[0]
	if m.GetMessageId() != id || string(m.GetBody()) != "doomed" {
		t.Errorf("dead letter %s %q, want %s", m.GetMessageId(), m.GetBody(), id)
	}
	if err := dead.Ack(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func sdkUnknownTopic(t *testing.T) {
	p, err := rmq.NewProducer(sdkConfig(""), rmq.WithTopics("no-such-topic"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err == nil || !strings.Contains(err.Error(), v2.Code_TOPIC_NOT_FOUND.String()) {
		t.Errorf("start with an unknown topic: %v, want TOPIC_NOT_FOUND", err)
	}
	known := newTopic(t, "normal")
	q := sdkProducer(t, known)
	_, err = q.Send(t.Context(), sdkMessage("no-such-topic", "lost", ""))
	wantRPC(t, err, v2.Code_TOPIC_NOT_FOUND)
	c, err := rmq.NewSimpleConsumer(sdkConfig(unique(t)), rmq.WithSimpleAwaitDuration(time.Second),
		rmq.WithSimpleSubscriptionExpressions(map[string]*rmq.FilterExpression{"no-such-topic": rmq.SUB_ALL}))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err == nil || !strings.Contains(err.Error(), v2.Code_TOPIC_NOT_FOUND.String()) {
		t.Errorf("start of a consumer with an unknown topic: %v, want TOPIC_NOT_FOUND", err)
	}
}

func sdkIllegal(t *testing.T) {
	topic := newTopic(t, "normal")
	p := sdkProducer(t, topic)
	cases := []struct {
		name string
		want v2.Code
		edit func(*rmq.Message)
	}{
		{"tag with a bar", v2.Code_ILLEGAL_MESSAGE_TAG, func(m *rmq.Message) { m.SetTag("a|b") }},
		{"tag blank", v2.Code_ILLEGAL_MESSAGE_TAG, func(m *rmq.Message) { m.SetTag(" ") }},
		{"key blank", v2.Code_ILLEGAL_MESSAGE_KEY, func(m *rmq.Message) { m.SetKeys(" ") }},
		{"key with control character", v2.Code_ILLEGAL_MESSAGE_KEY, func(m *rmq.Message) { m.SetKeys("a\x00b") }},
		{"property reserved", v2.Code_ILLEGAL_MESSAGE_PROPERTY_KEY, func(m *rmq.Message) { m.AddProperty("KEYS", "x") }},
		{"property with control character", v2.Code_ILLEGAL_MESSAGE_PROPERTY_KEY, func(m *rmq.Message) {
			m.AddProperty("a\nb", "x")
		}},
		{"body empty", v2.Code_MESSAGE_BODY_EMPTY, func(m *rmq.Message) { m.Body = nil }},
		{"topic name", v2.Code_ILLEGAL_TOPIC, func(m *rmq.Message) { m.Topic = "a.b" }},
	}
	for _, tc := range cases {
		m := sdkMessage(topic, "body", "")
		tc.edit(m)
		_, err := p.Send(t.Context(), m)
		if rpc, ok := rmq.AsErrRpcStatus(err); !ok || v2.Code(rpc.GetCode()) != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	// The SDK compares the body with max_body_size of the settings and sends nothing.
	_, err := p.Send(t.Context(), sdkMessage(topic, strings.Repeat("x", bodyMax+1), ""))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("max size=%d", bodyMax)) {
		t.Errorf("body beyond the limit: %v", err)
	}
	// The route names what the topic accepts, and the SDK refuses the rest by itself.
	fifo := sdkMessage(topic, "ordered", "")
	fifo.SetMessageGroup("g")
	if _, err := p.Send(t.Context(), fifo); err == nil || !strings.Contains(err.Error(), "message type") {
		t.Errorf("ordered message on a topic of normal ones: %v", err)
	}
	sdkMustSend(t, p, sdkMessage(topic, "the producer still works", ""))
}

// sdkSlowPush handles a message for longer than the 60 s of its lease: the server renews it while the client lives.
func sdkSlowPush(t *testing.T) {
	topic := newTopic(t, "normal")
	p := sdkProducer(t, topic)
	attempts := make(chan int32, 100)
	release := time.After(70 * time.Second)
	sdkPushConsumer(t, unique(t), topic, "*", func(m *rmq.MessageView) rmq.ConsumerResult {
		attempts <- m.GetDeliveryAttempt()
		<-release
		return rmq.SUCCESS
	})
	sdkMustSend(t, p, sdkMessage(topic, "slow", ""))
	limit := time.NewTimer(80 * time.Second)
	defer limit.Stop()
	count := 0
	for waiting := true; waiting; {
		select {
		case n := <-attempts:
			if count++; n != 1 || count > 1 {
				t.Errorf("delivery %d with attempt %d while the handler ran", count, n)
			}
		case <-limit.C:
			waiting = false
		}
	}
	if count == 0 {
		t.Error("the message did not come")
	}
}
