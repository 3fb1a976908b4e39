// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mansiomq/mansio/test/clients/go/internal/raw"
)

const (
	bodyMax       = 4 << 20 // bytes of one message's body
	propertiesMax = 128     // user properties of one message
	propertyBytes = 16384   // bytes of property keys and values, tag and keys together
)

// reservedKeys are the property names that carry meaning inside the classic broker, so no user may set them.
var reservedKeys = strings.Fields(`KEYS TAGS WAIT DELAY RETRY_TOPIC REAL_TOPIC REAL_QID TRAN_MSG PGROUP MIN_OFFSET
	MAX_OFFSET BUYER_ID ORIGIN_MESSAGE_ID TRANSFER_FLAG CORRECTION_FLAG MQ2_FLAG RECONSUME_TIME MSG_REGION TRACE_ON
	UNIQ_KEY EXTEND_UNIQ_INFO MAX_RECONSUME_TIMES CONSUME_START_TIME POP_CK POP_CK_OFFSET 1ST_POP_TIME
	TRAN_PREPARED_QUEUE_OFFSET DUP_INFO INSTANCE_ID CORRELATION_ID REPLY_TO_CLIENT TTL ARRIVE_TIME PUSH_REPLY_TIME
	CLUSTER MSG_TYPE INNER_MULTI_QUEUE_OFFSET TIMER_DELAY_MS TIMER_DELAY_SEC TIMER_DELIVER_MS TIMER_ENQUEUE_MS
	TIMER_DEQUEUE_MS TIMER_ROLL_TIMES TIMER_OUT_MS TIMER_DEL_UNIQKEY TIMER_DELAY_LEVEL __BORNHOST BORN_TIMESTAMP
	DLQ_ORIGIN_TOPIC DLQ_ORIGIN_MESSAGE_ID __CRC32#`)

var systemTopics = strings.Fields(`TBW102 SCHEDULE_TOPIC_XXXX BenchmarkTest RMQ_SYS_TRANS_HALF_TOPIC RMQ_SYS_TRACE_TOPIC
	RMQ_SYS_TRANS_OP_HALF_TOPIC TRANS_CHECK_MAX_TIME_TOPIC SELF_TEST_TOPIC OFFSET_MOVED_EVENT CHECKPOINT_TOPIC
	rmq_sys_anything`)

type sendCase struct {
	name string
	want v2.Code
	edit func(*v2.Message)
}

// TestRawSendLimits says what SendMessage refuses, one rule at a time, each with the largest value that passes.
func TestRawSendLimits(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "normal")
	c := dial(t)
	cases := append(bodyCases(), propertyCases()...)
	cases = append(cases, tagAndKeyCases()...)
	cases = append(cases, identityCases()...)
	cases = append(cases, topicCases()...)
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			m := raw.Message(topic, "body")
			tc.edit(m)
			resp, err := c.Send(t.Context(), m)
			if err != nil {
				t.Fatalf("a business error must be a payload status: %v", err)
			}
			wantCode(t, "send", resp.GetStatus(), tc.want)
			if tc.want == v2.Code_OK {
				wantSent(t, resp, m)
			}
		})
	}
}

func wantSent(t *testing.T, resp *v2.SendMessageResponse, messages ...*v2.Message) {
	t.Helper()
	if len(resp.GetEntries()) != len(messages) {
		t.Fatalf("%d entries for %d messages", len(resp.GetEntries()), len(messages))
	}
	for i, entry := range resp.GetEntries() {
		id := messages[i].GetSystemProperties().GetMessageId()
		wantCode(t, "send entry", entry.GetStatus(), v2.Code_OK)
		if entry.GetMessageId() != id {
			t.Errorf("entry %d: message id %q, want %q", i, entry.GetMessageId(), id)
		}
		if entry.GetTransactionId() == "" {
			t.Errorf("entry %d: empty transaction id", i)
		}
		if entry.GetRecallHandle() != "" {
			t.Errorf("entry %d: a recall handle for a message that is not delayed", i)
		}
	}
}

func bodyCases() []sendCase {
	return []sendCase{
		{"body empty", v2.Code_MESSAGE_BODY_EMPTY, func(m *v2.Message) { m.Body = nil }},
		{"body 4 MiB", v2.Code_OK, func(m *v2.Message) { m.Body = make([]byte, bodyMax) }},
		{"body 4 MiB + 1", v2.Code_MESSAGE_BODY_TOO_LARGE, func(m *v2.Message) { m.Body = make([]byte, bodyMax+1) }},
		{"body 19 MiB", v2.Code_MESSAGE_BODY_TOO_LARGE, func(m *v2.Message) { m.Body = make([]byte, 19<<20) }},
		{"digest wrong", v2.Code_OK, func(m *v2.Message) {
			m.SystemProperties.BodyDigest = &v2.Digest{Type: v2.DigestType_SHA1, Checksum: "no such sum"}
		}},
		{"born timestamp absent", v2.Code_OK, func(m *v2.Message) { m.SystemProperties.BornTimestamp = nil }},
		{"born host absent", v2.Code_OK, func(m *v2.Message) { m.SystemProperties.BornHost = "" }},
		{"queue id nonsense", v2.Code_OK, func(m *v2.Message) { m.SystemProperties.QueueId = -7 }},
	}
}

func propertyCases() []sendCase {
	set := func(key, value string) func(*v2.Message) {
		return func(m *v2.Message) { m.UserProperties = map[string]string{key: value} }
	}
	count := func(n int) func(*v2.Message) {
		return func(m *v2.Message) {
			m.UserProperties = map[string]string{}
			for i := range n {
				m.UserProperties[fmt.Sprintf("p%d", i)] = "v"
			}
		}
	}
	cases := []sendCase{
		{"properties 128", v2.Code_OK, count(propertiesMax)},
		{"properties 129", v2.Code_MESSAGE_PROPERTIES_TOO_LARGE, count(propertiesMax + 1)},
		{"property key with control character", v2.Code_ILLEGAL_MESSAGE_PROPERTY_KEY, set("a\x01b", "v")},
		{"property value with control character", v2.Code_ILLEGAL_MESSAGE_PROPERTY_KEY, set("k", "a\x7fb")},
		{"property value with C1 control character", v2.Code_ILLEGAL_MESSAGE_PROPERTY_KEY, set("k", "a\u0085b")},
		{"property key reserved in other case", v2.Code_OK, set("keys", "v")},
		{"property bytes at the limit", v2.Code_OK, set("k", strings.Repeat("v", propertyBytes-1))},
		{"property bytes beyond", v2.Code_MESSAGE_PROPERTIES_TOO_LARGE, set("k", strings.Repeat("v", propertyBytes))},
		{"property bytes count UTF-8", v2.Code_MESSAGE_PROPERTIES_TOO_LARGE, set("k", strings.Repeat("é", propertyBytes/2))},
		{"property bytes count the tag", v2.Code_MESSAGE_PROPERTIES_TOO_LARGE, func(m *v2.Message) {
			set("k", strings.Repeat("v", propertyBytes-2))(m)
			m.SystemProperties.Tag = proto.String("ab")
		}},
		{"property bytes count the keys", v2.Code_MESSAGE_PROPERTIES_TOO_LARGE, func(m *v2.Message) {
			set("k", strings.Repeat("v", propertyBytes-2))(m)
			m.SystemProperties.Keys = []string{"ab"}
		}},
	}
	for _, key := range reservedKeys {
		cases = append(cases, sendCase{"property key " + key, v2.Code_ILLEGAL_MESSAGE_PROPERTY_KEY, set(key, "v")})
	}
	return cases
}

func tagAndKeyCases() []sendCase {
	tag := func(s string) func(*v2.Message) {
		return func(m *v2.Message) { m.SystemProperties.Tag = proto.String(s) }
	}
	keys := func(s ...string) func(*v2.Message) {
		return func(m *v2.Message) { m.SystemProperties.Keys = s }
	}
	return []sendCase{
		{"tag empty", v2.Code_OK, tag("")},
		{"tag with blank inside", v2.Code_OK, tag("a b")},
		{"tag blank", v2.Code_ILLEGAL_MESSAGE_TAG, tag("  ")},
		{"tag with bar", v2.Code_ILLEGAL_MESSAGE_TAG, tag("a|b")},
		{"tag with control character", v2.Code_ILLEGAL_MESSAGE_TAG, tag("a\nb")},
		{"keys", v2.Code_OK, keys("k1", "k2")},
		{"key blank", v2.Code_ILLEGAL_MESSAGE_KEY, keys("k1", " ")},
		{"key with control character", v2.Code_ILLEGAL_MESSAGE_KEY, keys("a\tb")},
	}
}

func identityCases() []sendCase {
	id := func(s string) func(*v2.Message) {
		return func(m *v2.Message) { m.SystemProperties.MessageId = s }
	}
	group := func(s string) func(*v2.Message) {
		return func(m *v2.Message) {
			m.SystemProperties.MessageGroup = proto.String(s)
			m.SystemProperties.MessageType = v2.MessageType_FIFO
		}
	}
	return []sendCase{
		{"message id of any shape", v2.Code_OK, id("order 66 / é")},
		{"message id empty", v2.Code_ILLEGAL_MESSAGE_ID, id("")},
		{"message id blank", v2.Code_ILLEGAL_MESSAGE_ID, id("  ")},
		{"message group blank", v2.Code_ILLEGAL_MESSAGE_GROUP, group(" ")},
		{"message group empty", v2.Code_ILLEGAL_MESSAGE_GROUP, group("")},
		{"message group 64 bytes", v2.Code_ILLEGAL_MESSAGE_GROUP, group(strings.Repeat("g", 64))},
		{"message group with control character", v2.Code_ILLEGAL_MESSAGE_GROUP, group("a\x02b")},
		{"orphan check after more than an hour", v2.Code_BAD_REQUEST, func(m *v2.Message) {
			m.SystemProperties.MessageType = v2.MessageType_TRANSACTION
			m.SystemProperties.OrphanedTransactionRecoveryDuration = durationpb.New(time.Hour + time.Second)
		}},
		{"delivery in two years", v2.Code_ILLEGAL_DELIVERY_TIME, func(m *v2.Message) {
			m.SystemProperties.MessageType = v2.MessageType_DELAY
			m.SystemProperties.DeliveryTimestamp = timestamppb.New(time.Now().Add(2 * 365 * 24 * time.Hour))
		}},
		{"message group on a topic of normal messages", v2.Code_MESSAGE_PROPERTY_CONFLICT_WITH_TYPE, group("g")},
		{"delay on a topic of normal messages", v2.Code_MESSAGE_PROPERTY_CONFLICT_WITH_TYPE, func(m *v2.Message) {
			m.SystemProperties.MessageType = v2.MessageType_DELAY
			m.SystemProperties.DeliveryTimestamp = timestamppb.New(time.Now().Add(time.Minute))
		}},
		{"transaction on a topic of normal messages", v2.Code_MESSAGE_PROPERTY_CONFLICT_WITH_TYPE, func(m *v2.Message) {
			m.SystemProperties.MessageType = v2.MessageType_TRANSACTION
		}},
		{"declared type is not looked at", v2.Code_OK, func(m *v2.Message) {
			m.SystemProperties.MessageType = v2.MessageType_MESSAGE_TYPE_UNSPECIFIED
		}},
	}
}

func topicCases() []sendCase {
	topic := func(name string) func(*v2.Message) {
		return func(m *v2.Message) { m.Topic = raw.Resource(name) }
	}
	cases := []sendCase{
		{"topic absent", v2.Code_ILLEGAL_TOPIC, func(m *v2.Message) { m.Topic = nil }},
		{"topic empty", v2.Code_ILLEGAL_TOPIC, topic("")},
		{"topic blank", v2.Code_ILLEGAL_TOPIC, topic("  ")},
		{"topic with a dot", v2.Code_ILLEGAL_TOPIC, topic("a.b")},
		{"topic of 128 characters", v2.Code_ILLEGAL_TOPIC, topic(strings.Repeat("t", 128))},
		{"topic of 127 characters, unknown", v2.Code_TOPIC_NOT_FOUND, topic(strings.Repeat("t", 127))},
		{"topic unknown", v2.Code_TOPIC_NOT_FOUND, topic("no-such-topic")},
	}
	for _, name := range systemTopics {
		cases = append(cases, sendCase{"topic " + name, v2.Code_ILLEGAL_TOPIC, topic(name)})
	}
	return cases
}

// TestRawSendRequest says what is refused about a request as a whole, and that a batch keeps its order.
func TestRawSendRequest(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "normal")
	c := dial(t)

	t.Run("no message", func(t *testing.T) {
		resp, err := c.Send(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, "send", resp.GetStatus(), v2.Code_MESSAGE_CORRUPTED)
	})
	t.Run("two topics", func(t *testing.T) {
		resp, err := c.Send(t.Context(), raw.Message(topic, "a"), raw.Message(topic+"-other", "b"))
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, "send", resp.GetStatus(), v2.Code_MESSAGE_CORRUPTED)
	})
	t.Run("one bad message of three sends none", func(t *testing.T) {
		bad := raw.Message(topic, "b")
		bad.Body = nil
		resp, err := c.Send(t.Context(), raw.Message(topic, "a"), bad, raw.Message(topic, "c"))
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, "send", resp.GetStatus(), v2.Code_MESSAGE_BODY_EMPTY)
		wantNothing(t, c, raw.Receive{Group: unique(t), Topic: topic, Invisible: time.Minute}, 300*time.Millisecond)
	})
	t.Run("batch", func(t *testing.T) {
		messages := []*v2.Message{raw.Message(topic, "a"), raw.Message(topic, "b"), raw.Message(topic, "c")}
		resp, err := c.Send(t.Context(), messages...)
		if err != nil {
			t.Fatal(err)
		}
		wantCode(t, "send", resp.GetStatus(), v2.Code_OK)
		wantSent(t, resp, messages...)
		for i, entry := range resp.GetEntries() {
			if want := resp.GetEntries()[0].GetOffset() + int64(i); entry.GetOffset() != want {
				t.Errorf("entry %d: offset %d, want %d: a batch is stored side by side", i, entry.GetOffset(), want)
			}
		}
	})
}

// TestRawSendTypesOfLater says that message types whose views are missing are refused, never delivered at once.
func TestRawSendTypesOfLater(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "mixed")
	group := unique(t)
	c := dial(t)
	cases := []sendCase{
		{"message group", v2.Code_NOT_IMPLEMENTED, func(m *v2.Message) {
			m.SystemProperties.MessageGroup = proto.String(strings.Repeat("g", 63))
		}},
		{"delay", v2.Code_NOT_IMPLEMENTED, func(m *v2.Message) {
			m.SystemProperties.DeliveryTimestamp = timestamppb.New(time.Now().Add(time.Minute))
		}},
		{"transaction", v2.Code_NOT_IMPLEMENTED, func(m *v2.Message) {
			m.SystemProperties.MessageType = v2.MessageType_TRANSACTION
		}},
		{"priority", v2.Code_NOT_IMPLEMENTED, func(m *v2.Message) { m.SystemProperties.Priority = proto.Int32(1) }},
		{"lite topic", v2.Code_NOT_IMPLEMENTED, func(m *v2.Message) { m.SystemProperties.LiteTopic = proto.String("l") }},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			m := raw.Message(topic, "body")
			tc.edit(m)
			resp, err := c.Send(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, "send", resp.GetStatus(), tc.want)
		})
	}
	wantNothing(t, c, raw.Receive{Group: group, Topic: topic, Invisible: time.Minute}, 300*time.Millisecond)

	t.Run("delivery time in the past delivers now", func(t *testing.T) {
		m := raw.Message(topic, "late")
		m.SystemProperties.MessageType = v2.MessageType_DELAY
		m.SystemProperties.DeliveryTimestamp = timestamppb.New(time.Now().Add(-time.Minute))
		id := send(t, c, m)
		got := receive(t, c, raw.Receive{Group: group, Topic: topic, Invisible: time.Minute})
		if got[0].GetSystemProperties().GetMessageId() != id {
			t.Errorf("received %q, want %q", got[0].GetSystemProperties().GetMessageId(), id)
		}
	})
}
