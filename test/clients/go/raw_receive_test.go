// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mansiomq/mansio/test/clients/go/internal/raw"
)

type receiveCase struct {
	name string
	want v2.Code
	edit func(*v2.ReceiveMessageRequest)
}

// TestRawReceiveLimits says what ReceiveMessage refuses; the stream of a refusal is status, delivery timestamp, end.
func TestRawReceiveLimits(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "normal")
	c := dial(t)
	for _, tc := range slices.Concat(receiveNameCases(), receiveTimeCases(), receiveFilterCases()) {
		t.Run(tc.name, func(t *testing.T) {
			got := receiveOnce(t, c, raw.Receive{Group: unique(t), Topic: topic, Invisible: time.Minute, Edit: tc.edit})
			wantCode(t, "receive", got.Status, tc.want)
			if got.Order != "sd" {
				t.Errorf("frames %q, want status then delivery timestamp", got.Order)
			}
		})
	}
}

func receiveNameCases() []receiveCase {
	topic := func(name string) func(*v2.ReceiveMessageRequest) {
		return func(r *v2.ReceiveMessageRequest) { r.MessageQueue.Topic = raw.Resource(name) }
	}
	group := func(name string) func(*v2.ReceiveMessageRequest) {
		return func(r *v2.ReceiveMessageRequest) { r.Group = raw.Resource(name) }
	}
	return []receiveCase{
		{"topic empty", v2.Code_ILLEGAL_TOPIC, topic("")},
		{"topic with a dot", v2.Code_ILLEGAL_TOPIC, topic("a.b")},
		{"topic of the system", v2.Code_ILLEGAL_TOPIC, topic("TBW102")},
		{"topic unknown", v2.Code_TOPIC_NOT_FOUND, topic("no-such-topic")},
		{"queue absent", v2.Code_ILLEGAL_TOPIC, func(r *v2.ReceiveMessageRequest) { r.MessageQueue = nil }},
		{"group absent", v2.Code_ILLEGAL_CONSUMER_GROUP, func(r *v2.ReceiveMessageRequest) { r.Group = nil }},
		{"group blank", v2.Code_ILLEGAL_CONSUMER_GROUP, group(" ")},
		{"group with a dot", v2.Code_ILLEGAL_CONSUMER_GROUP, group("g.h")},
		{"group of 121 characters", v2.Code_ILLEGAL_CONSUMER_GROUP, group(strings.Repeat("g", 121))},
		{"group of 120 characters", v2.Code_MESSAGE_NOT_FOUND, group(strings.Repeat("g", 120))},
		{"group of the system", v2.Code_ILLEGAL_CONSUMER_GROUP, group("CID_RMQ_SYS_TRANS")},
	}
}

func receiveTimeCases() []receiveCase {
	invisible := func(d time.Duration) func(*v2.ReceiveMessageRequest) {
		return func(r *v2.ReceiveMessageRequest) { r.InvisibleDuration = durationpb.New(d) }
	}
	return []receiveCase{
		{"invisible 0", v2.Code_ILLEGAL_INVISIBLE_TIME, invisible(0)},
		{"invisible negative", v2.Code_ILLEGAL_INVISIBLE_TIME, invisible(-time.Second)},
		{"invisible 1 ms", v2.Code_MESSAGE_NOT_FOUND, invisible(time.Millisecond)},
		{"invisible 12 h", v2.Code_MESSAGE_NOT_FOUND, invisible(12 * time.Hour)},
		{"invisible 12 h and 1 s", v2.Code_ILLEGAL_INVISIBLE_TIME, invisible(12*time.Hour + time.Second)},
		{"invisible absent", v2.Code_MESSAGE_NOT_FOUND, func(r *v2.ReceiveMessageRequest) { r.InvisibleDuration = nil }},
		{"invisible ignored with auto-renew", v2.Code_MESSAGE_NOT_FOUND, func(r *v2.ReceiveMessageRequest) {
			r.AutoRenew = true
			r.InvisibleDuration = durationpb.New(-time.Hour)
		}},
		{"batch 0", v2.Code_MESSAGE_NOT_FOUND, func(r *v2.ReceiveMessageRequest) { r.BatchSize = 0 }},
		{"batch negative", v2.Code_MESSAGE_NOT_FOUND, func(r *v2.ReceiveMessageRequest) { r.BatchSize = -1 }},
		{"poll negative", v2.Code_MESSAGE_NOT_FOUND, func(r *v2.ReceiveMessageRequest) {
			r.LongPollingTimeout = durationpb.New(-time.Second)
		}},
	}
}

func receiveFilterCases() []receiveCase {
	filter := func(kind v2.FilterType, text string) func(*v2.ReceiveMessageRequest) {
		return func(r *v2.ReceiveMessageRequest) {
			r.FilterExpression = &v2.FilterExpression{Type: kind, Expression: text}
		}
	}
	return []receiveCase{
		{"filter absent", v2.Code_MESSAGE_NOT_FOUND, func(r *v2.ReceiveMessageRequest) { r.FilterExpression = nil }},
		{"filter empty", v2.Code_MESSAGE_NOT_FOUND, filter(v2.FilterType_TAG, "")},
		{"filter of no type", v2.Code_MESSAGE_NOT_FOUND, filter(v2.FilterType_FILTER_TYPE_UNSPECIFIED, "a")},
		{"filter of separators only", v2.Code_ILLEGAL_FILTER_EXPRESSION, filter(v2.FilterType_TAG, " || ")},
		{"filter SQL of a later day", v2.Code_NOT_IMPLEMENTED, filter(v2.FilterType_SQL, "a = 1")},
	}
}

// TestRawReceiveFields checks every field of a delivered message.
func TestRawReceiveFields(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "normal")
	group := unique(t)
	c := dial(t)
	before := time.Now().Add(-time.Second)

	sent := raw.Message(topic, "")
	sent.Body = bytes.Repeat([]byte{0, 1, 0xff, 'x'}, 300)
	sent.Topic.ResourceNamespace = ""
	sent.UserProperties = map[string]string{"colour": "blue", "ключ": "значение"}
	sp := sent.SystemProperties
	sp.Tag = proto.String("t1")
	sp.Keys = []string{"order-1", "order-2"}
	sp.TraceContext = proto.String("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	sp.BodyDigest = &v2.Digest{Type: v2.DigestType_CRC32, Checksum: "WRONG"}
	sp.BodyEncoding = v2.Encoding_ENCODING_UNSPECIFIED
	forged := proto.Clone(sent).(*v2.Message)
	// What only the server may say must not survive the way in.
	forged.SystemProperties.ReceiptHandle = proto.String("forged")
	forged.SystemProperties.DeliveryAttempt = proto.Int32(77)
	forged.SystemProperties.QueueOffset = proto.Int64(4711)
	forged.SystemProperties.QueueId = 99
	forged.SystemProperties.StoreHost = "forged"
	forged.SystemProperties.StoreTimestamp = timestamppb.New(time.Unix(1, 0))
	forged.SystemProperties.InvisibleDuration = durationpb.New(time.Hour)
	forged.SystemProperties.DeadLetterQueue = &v2.DeadLetterQueue{Topic: "forged", MessageId: "forged"}

	resp, err := c.Send(t.Context(), forged)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "send", resp.GetStatus(), v2.Code_OK)
	received := receiveOnce(t, c, raw.Receive{Group: group, Topic: topic, Invisible: time.Minute, Poll: 5 * time.Second})
	wantCode(t, "receive", received.Status, v2.Code_OK)
	if received.Order != "smd" {
		t.Errorf("frames %q, want status, message, delivery timestamp", received.Order)
	}
	wantRecent(t, "delivery timestamp of the stream", received.Delivered, before)
	if len(received.Messages) != 1 {
		t.Fatalf("%d messages, want 1", len(received.Messages))
	}
	got := received.Messages[0]
	wantServerFields(t, got, resp.GetEntries()[0].GetOffset(), before)

	want := proto.Clone(sent).(*v2.Message)
	want.SystemProperties.BodyDigest = &v2.Digest{
		Type: v2.DigestType_MD5, Checksum: fmt.Sprintf("%X", md5.Sum(sent.Body)),
	}
	want.SystemProperties.BodyEncoding = v2.Encoding_IDENTITY
	serverOwned := protocmp.IgnoreFields(&v2.SystemProperties{},
		"receipt_handle", "store_timestamp", "store_host", "queue_id", "queue_offset", "delivery_attempt")
	if diff := cmp.Diff(want, got, protocmp.Transform(), serverOwned); diff != "" {
		t.Errorf("delivered message differs from the sent one (-want +got):\n%s", diff)
	}
}

func wantServerFields(t *testing.T, m *v2.Message, offset int64, before time.Time) {
	t.Helper()
	sp := m.GetSystemProperties()
	if h := sp.GetReceiptHandle(); h == "" || h == "forged" || len(h) > 1024 {
		t.Errorf("receipt handle %q", h)
	}
	if sp.GetDeliveryAttempt() != 1 {
		t.Errorf("delivery attempt %d, want 1", sp.GetDeliveryAttempt())
	}
	if sp.GetQueueOffset() != offset {
		t.Errorf("queue offset %d, but the send was answered %d", sp.GetQueueOffset(), offset)
	}
	if sp.GetQueueId() < 0 || sp.GetQueueId() > 7 {
		t.Errorf("queue id %d of a topic with 8 queues", sp.GetQueueId())
	}
	if sp.GetStoreHost() == "" || sp.GetStoreHost() == "forged" {
		t.Errorf("store host %q", sp.GetStoreHost())
	}
	wantRecent(t, "store timestamp", sp.GetStoreTimestamp(), before)
}

func wantRecent(t *testing.T, what string, ts *timestamppb.Timestamp, before time.Time) {
	t.Helper()
	if ts == nil {
		t.Errorf("%s is absent", what)
		return
	}
	if at := ts.AsTime(); at.Before(before) || at.After(time.Now().Add(time.Minute)) {
		t.Errorf("%s is %v, not about now", what, at)
	}
}

// TestRawReceivePresence checks the fields that must be absent, or filled in, when the sender left them out.
func TestRawReceivePresence(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "normal")
	c := dial(t)
	bare := raw.Message(topic, "bare")
	bare.SystemProperties = &v2.SystemProperties{MessageId: raw.MessageID()}
	send(t, c, bare)
	m := receive(t, c, raw.Receive{Group: unique(t), Topic: topic, Invisible: time.Minute})[0]
	sp := m.GetSystemProperties()
	absent := map[string]bool{
		"tag": sp.Tag != nil, "keys": len(sp.Keys) > 0, "message_group": sp.MessageGroup != nil,
		"trace_context": sp.TraceContext != nil, "priority": sp.Priority != nil, "lite_topic": sp.LiteTopic != nil,
		"delivery_timestamp": sp.DeliveryTimestamp != nil, "dead_letter_queue": sp.DeadLetterQueue != nil,
		"invisible_duration": sp.InvisibleDuration != nil, "user_properties": len(m.UserProperties) > 0,
		"orphaned_transaction_recovery_duration": sp.OrphanedTransactionRecoveryDuration != nil,
	}
	for field, present := range absent {
		if present {
			t.Errorf("%s is present, but nobody set it", field)
		}
	}
	if sp.GetBornTimestamp() == nil || sp.GetBornHost() == "" {
		t.Errorf("born timestamp %v, born host %q: both must be filled in", sp.GetBornTimestamp(), sp.GetBornHost())
	}
	if sp.GetMessageType() != v2.MessageType_NORMAL {
		t.Errorf("message type %v, want NORMAL", sp.GetMessageType())
	}
	if sp.GetBodyEncoding() != v2.Encoding_IDENTITY {
		t.Errorf("body encoding %v, want IDENTITY", sp.GetBodyEncoding())
	}
}

// TestRawReceiveCompressed says that a compressed body passes through untouched, with the digest of the stored bytes.
func TestRawReceiveCompressed(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "normal")
	c := dial(t)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(bytes.Repeat([]byte("mansio "), 1000)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	m := raw.Message(topic, "")
	m.Body = packed.Bytes()
	m.SystemProperties.BodyEncoding = v2.Encoding_GZIP
	send(t, c, m)
	got := receive(t, c, raw.Receive{Group: unique(t), Topic: topic, Invisible: time.Minute})[0]
	if !bytes.Equal(got.GetBody(), m.Body) {
		t.Error("the body changed on its way")
	}
	if e := got.GetSystemProperties().GetBodyEncoding(); e != v2.Encoding_GZIP {
		t.Errorf("encoding %v, want GZIP", e)
	}
	if sum := got.GetSystemProperties().GetBodyDigest().GetChecksum(); sum != fmt.Sprintf("%X", md5.Sum(m.Body)) {
		t.Errorf("digest %s is not that of the bytes", sum)
	}
}

// TestRawReceiveEmpty says when and how a receive without messages ends.
func TestRawReceiveEmpty(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "normal")
	c := dial(t)
	wantNothing(t, c, raw.Receive{Group: unique(t), Topic: topic, Invisible: time.Minute}, 0) // the connection stands
	cases := []struct {
		name         string
		poll         time.Duration // negative: field absent
		deadline     time.Duration
		after, until time.Duration
	}{
		{"poll 0 answers at once", 0, 10 * time.Second, 0, time.Second},
		{"poll 1 s", time.Second, 10 * time.Second, 900 * time.Millisecond, 3 * time.Second},
		{"deadline equals poll, as Rust has it", 4 * time.Second, 4 * time.Second, 2 * time.Second, 4 * time.Second},
		{"no poll field: before the deadline", -1, 3 * time.Second, time.Second, 3 * time.Second},
		{"deadline of 490 ms answers at once", 10 * time.Second, 490 * time.Millisecond, 0, 490 * time.Millisecond},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			got := receiveOnce(t, c, raw.Receive{
				Group: unique(t), Topic: topic, Invisible: time.Minute, Poll: tc.poll, Deadline: tc.deadline,
			})
			took := time.Since(start)
			wantCode(t, "receive", got.Status, v2.Code_MESSAGE_NOT_FOUND)
			if got.Order != "sd" {
				t.Errorf("frames %q, want status then delivery timestamp", got.Order)
			}
			if took < tc.after || took > tc.until {
				t.Errorf("answered after %v, want %v to %v", took, tc.after, tc.until)
			}
		})
	}
}

// TestRawReceiveWakes says that a parked receive is answered when a message comes, not when its time is over.
func TestRawReceiveWakes(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "normal")
	group := unique(t)
	c := dial(t)
	wantNothing(t, c, raw.Receive{Group: group, Topic: topic, Invisible: time.Minute}, 0)
	type answer struct {
		got  raw.Received
		err  error
		took time.Duration
	}
	answers := make(chan answer, 1)
	start := time.Now()
	go func() {
		got, err := c.Receive(t.Context(), raw.Receive{
			Group: group, Topic: topic, Invisible: time.Minute, Poll: 20 * time.Second,
		})
		answers <- answer{got, err, time.Since(start)}
	}()
	// The receive counts as parked when it has not answered for a while.
	parked := time.NewTimer(500 * time.Millisecond)
	defer parked.Stop()
	select {
	case a := <-answers:
		t.Fatalf("the receive of an empty topic answered %v after %v", a.got.Status, a.took)
	case <-parked.C:
	}
	id := send(t, c, raw.Message(topic, "wake"))
	a := <-answers
	if a.err != nil {
		t.Fatal(a.err)
	}
	if len(a.got.Messages) != 1 || a.got.Messages[0].GetSystemProperties().GetMessageId() != id {
		t.Fatalf("received %d messages, status %v", len(a.got.Messages), a.got.Status)
	}
	if a.took > 5*time.Second {
		t.Errorf("woke after %v", a.took)
	}
}

// TestRawReceiveBatch says that a batch is capped at 32 and that the queue named in the request does not matter.
func TestRawReceiveBatch(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "normal")
	group := unique(t)
	c := dial(t)
	want := map[string]bool{}
	for i := range 40 {
		want[send(t, c, raw.Message(topic, fmt.Sprint(i)))] = true
	}
	seen := map[string]bool{}
	limit := time.Now().Add(15 * time.Second)
	for len(seen) < len(want) && time.Now().Before(limit) {
		got := receiveOnce(t, c, raw.Receive{
			Group: group, Topic: topic, Batch: 1000, Invisible: time.Minute, Poll: time.Second,
			Edit: func(r *v2.ReceiveMessageRequest) { r.MessageQueue.Id = 7 },
		})
		if len(got.Messages) > 32 {
			t.Errorf("%d messages in one batch, want at most 32", len(got.Messages))
		}
		for _, m := range got.Messages {
			id := m.GetSystemProperties().GetMessageId()
			if seen[id] || !want[id] {
				t.Errorf("message %s twice or never sent", id)
			}
			seen[id] = true
		}
	}
	if len(seen) != len(want) {
		t.Errorf("received %d of %d messages", len(seen), len(want))
	}
}

// TestRawReceiveTags says which messages a TAG expression lets through.
func TestRawReceiveTags(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "normal")
	c := dial(t)
	for _, tag := range []string{"a", "b", "c", "ab", ""} {
		m := raw.Message(topic, "tag:"+tag)
		if tag != "" {
			m.SystemProperties.Tag = proto.String(tag)
		}
		send(t, c, m)
	}
	cases := []struct{ expression, want string }{
		{"*", "tag:,tag:a,tag:ab,tag:b,tag:c"},
		{"a", "tag:a"},
		{"a || b", "tag:a,tag:b"},
		{" b||  c ||", "tag:b,tag:c"},
		{"A", ""},
		{"ab||zzz", "tag:ab"},
	}
	for _, tc := range cases {
		t.Run(tc.expression, func(t *testing.T) {
			t.Parallel()
			var bodies []string
			group := unique(t)
			for {
				got := receiveOnce(t, c, raw.Receive{
					Group: group, Topic: topic, Tags: tc.expression, Invisible: time.Minute, Poll: time.Second,
				})
				if len(got.Messages) == 0 {
					break
				}
				for _, m := range got.Messages {
					bodies = append(bodies, string(m.GetBody()))
				}
			}
			slices.Sort(bodies)
			if got := strings.Join(bodies, ","); got != tc.want {
				t.Errorf("received %q, want %q", got, tc.want)
			}
		})
	}
}
