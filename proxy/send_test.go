// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

type sendCase struct {
	name string
	want pb.Code
	edit func(*pb.Message)
}

func property(key, value string) func(*pb.Message) {
	return func(m *pb.Message) { m.UserProperties = map[string]string{key: value} }
}

func propertiesOf(n int) func(*pb.Message) {
	return func(m *pb.Message) {
		m.UserProperties = map[string]string{}
		for i := range n {
			m.UserProperties[fmt.Sprint("p", i)] = "v"
		}
	}
}

func system(edit func(*pb.SystemProperties)) func(*pb.Message) {
	return func(m *pb.Message) { edit(m.SystemProperties) }
}

func tagOf(s string) func(*pb.Message) {
	return system(func(p *pb.SystemProperties) { p.Tag = new(s) })
}

func keysOf(s ...string) func(*pb.Message) {
	return system(func(p *pb.SystemProperties) { p.Keys = s })
}

func groupOf(s string) func(*pb.Message) {
	return system(func(p *pb.SystemProperties) { p.MessageGroup = new(s) })
}

func unknownField(size int) func(*pb.Message) {
	return func(m *pb.Message) {
		m.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), make([]byte, size)))
	}
}

func due(d time.Duration) func(*pb.Message) {
	return func(m *pb.Message) { m.SystemProperties.DeliveryTimestamp = timestamppb.New(time.Now().Add(d)) }
}

func sendCases() []sendCase {
	return []sendCase{
		{"topic absent", pb.Code_ILLEGAL_TOPIC, func(m *pb.Message) { m.Topic = nil }},
		{"topic blank", pb.Code_ILLEGAL_TOPIC, func(m *pb.Message) { m.Topic.Name = " " }},
		{"topic with a dot", pb.Code_ILLEGAL_TOPIC, func(m *pb.Message) { m.Topic.Name = "a.b" }},
		{"topic of the system", pb.Code_ILLEGAL_TOPIC, func(m *pb.Message) { m.Topic.Name = "CHECKPOINT_TOPIC" }},
		{"topic of 128 characters", pb.Code_ILLEGAL_TOPIC, func(m *pb.Message) { m.Topic.Name = strings.Repeat("t", 128) }},
		{"topic of 127 characters", pb.Code_TOPIC_NOT_FOUND, func(m *pb.Message) { m.Topic.Name = strings.Repeat("t", 127) }},
		{"topic unknown, body empty", pb.Code_MESSAGE_BODY_EMPTY, func(m *pb.Message) { m.Topic.Name, m.Body = "nobody", nil }},

		{"body empty", pb.Code_MESSAGE_BODY_EMPTY, func(m *pb.Message) { m.Body = nil }},
		{"body 1", pb.Code_OK, func(m *pb.Message) { m.Body = []byte{0} }},
		{"body 4 MiB", pb.Code_OK, func(m *pb.Message) { m.Body = make([]byte, 4<<20) }},
		{"body 4 MiB + 1", pb.Code_MESSAGE_BODY_TOO_LARGE, func(m *pb.Message) { m.Body = make([]byte, 4<<20+1) }},
		{"body 19 MiB", pb.Code_MESSAGE_BODY_TOO_LARGE, func(m *pb.Message) { m.Body = make([]byte, 19<<20) }},
		{"digest nonsense", pb.Code_OK, system(func(p *pb.SystemProperties) { p.BodyDigest = &pb.Digest{Type: 9, Checksum: "?"} })},

		{"properties 128", pb.Code_OK, propertiesOf(128)},
		{"properties 129", pb.Code_MESSAGE_PROPERTIES_TOO_LARGE, propertiesOf(129)},
		{"property reserved", pb.Code_ILLEGAL_MESSAGE_PROPERTY_KEY, property("UNIQ_KEY", "v")},
		{"property reserved in other case", pb.Code_OK, property("uniq_key", "v")},
		{"property key, control", pb.Code_ILLEGAL_MESSAGE_PROPERTY_KEY, property("a\x01b", "v")},
		{"property value, delete", pb.Code_ILLEGAL_MESSAGE_PROPERTY_KEY, property("k", "a\x7f")},
		{"property value, C1", pb.Code_ILLEGAL_MESSAGE_PROPERTY_KEY, property("k", "a\u0085b")},
		{"property value, beyond C1", pb.Code_OK, property("k", "a\u00a0é")},
		{"property bytes 16384", pb.Code_OK, property("k", strings.Repeat("v", 16383))},
		{"property bytes 16385", pb.Code_MESSAGE_PROPERTIES_TOO_LARGE, property("k", strings.Repeat("v", 16384))},
		{"bytes with tag and keys", pb.Code_MESSAGE_PROPERTIES_TOO_LARGE, func(m *pb.Message) {
			property("k", strings.Repeat("v", 16382))(m)
			m.SystemProperties.Tag, m.SystemProperties.Keys = new("t"), []string{"k"}
		}},

		{"tag empty", pb.Code_OK, tagOf("")},
		{"tag blank", pb.Code_ILLEGAL_MESSAGE_TAG, tagOf(" \t")},
		{"tag with bar", pb.Code_ILLEGAL_MESSAGE_TAG, tagOf("a|b")},
		{"tag, control", pb.Code_ILLEGAL_MESSAGE_TAG, tagOf("a\nb")},
		{"key empty", pb.Code_OK, keysOf("")},
		{"key blank", pb.Code_ILLEGAL_MESSAGE_KEY, keysOf("k", " ")},
		{"key, control", pb.Code_ILLEGAL_MESSAGE_KEY, keysOf("a\tb")},
		{"keys 1024", pb.Code_OK, keysOf(make([]string, 1024)...)},
		{"keys 1025", pb.Code_MESSAGE_PROPERTIES_TOO_LARGE, keysOf(make([]string, 1025)...)},

		{"id empty", pb.Code_ILLEGAL_MESSAGE_ID, system(func(p *pb.SystemProperties) { p.MessageId = "" })},
		{"id blank", pb.Code_ILLEGAL_MESSAGE_ID, system(func(p *pb.SystemProperties) { p.MessageId = "  " })},
		{"id of any shape", pb.Code_OK, system(func(p *pb.SystemProperties) { p.MessageId = "order 66 / é" })},
		{"id 255 bytes", pb.Code_OK, system(func(p *pb.SystemProperties) { p.MessageId = strings.Repeat("i", 255) })},
		{"id 256 bytes", pb.Code_ILLEGAL_MESSAGE_ID, system(func(p *pb.SystemProperties) { p.MessageId = strings.Repeat("i", 256) })},
		{"born host 256 bytes", pb.Code_MESSAGE_PROPERTIES_TOO_LARGE, system(func(p *pb.SystemProperties) { p.BornHost = strings.Repeat("h", 256) })},
		{"trace context 1025 bytes", pb.Code_MESSAGE_PROPERTIES_TOO_LARGE, system(func(p *pb.SystemProperties) { p.TraceContext = new(strings.Repeat("t", 1025)) })},
		{"lite topic blank", pb.Code_ILLEGAL_LITE_TOPIC, system(func(p *pb.SystemProperties) { p.LiteTopic = new(" ") })},
		{"lite topic, other characters", pb.Code_ILLEGAL_LITE_TOPIC, system(func(p *pb.SystemProperties) { p.LiteTopic = new("a%b") })},
		{"lite topic 65 bytes", pb.Code_ILLEGAL_LITE_TOPIC, system(func(p *pb.SystemProperties) { p.LiteTopic = new(strings.Repeat("l", 65)) })},
		{"unknown field of 64 KiB", pb.Code_MESSAGE_PROPERTIES_TOO_LARGE, unknownField(64 << 10)},
		{"unknown field of 60 KiB", pb.Code_OK, unknownField(60 << 10)},
		{"unknown system property of 64 KiB", pb.Code_MESSAGE_PROPERTIES_TOO_LARGE, system(func(p *pb.SystemProperties) {
			p.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), make([]byte, 64<<10)))
		})},
		{"no system properties", pb.Code_ILLEGAL_MESSAGE_ID, func(m *pb.Message) { m.SystemProperties = nil }},

		{"orphan check after an hour and more", pb.Code_BAD_REQUEST, system(func(p *pb.SystemProperties) {
			p.MessageType, p.OrphanedTransactionRecoveryDuration = pb.MessageType_TRANSACTION, durationpb.New(time.Hour+time.Second)
		})},
		{"orphan check of no transaction", pb.Code_OK, system(func(p *pb.SystemProperties) {
			p.OrphanedTransactionRecoveryDuration = durationpb.New(2 * time.Hour)
		})},
		{"delivery in 40 days and more", pb.Code_ILLEGAL_DELIVERY_TIME, due(40*24*time.Hour + time.Minute)},
		{"delivery out of range", pb.Code_ILLEGAL_DELIVERY_TIME, system(func(p *pb.SystemProperties) {
			p.DeliveryTimestamp = &timestamppb.Timestamp{Seconds: 1 << 60}
		})},
		{"message group empty", pb.Code_ILLEGAL_MESSAGE_GROUP, groupOf("")},
		{"message group blank", pb.Code_ILLEGAL_MESSAGE_GROUP, groupOf(" ")},
		{"message group 64 bytes", pb.Code_ILLEGAL_MESSAGE_GROUP, groupOf(strings.Repeat("g", 64))},
		{"message group, control", pb.Code_ILLEGAL_MESSAGE_GROUP, groupOf("a\x02")},

		{"message group", pb.Code_MESSAGE_PROPERTY_CONFLICT_WITH_TYPE, groupOf(strings.Repeat("g", 63))},
		{"delay", pb.Code_MESSAGE_PROPERTY_CONFLICT_WITH_TYPE, due(time.Minute)},
		{"delay that is over", pb.Code_MESSAGE_PROPERTY_CONFLICT_WITH_TYPE, due(-time.Minute)},
		{"priority", pb.Code_MESSAGE_PROPERTY_CONFLICT_WITH_TYPE, system(func(p *pb.SystemProperties) { p.Priority = proto.Int32(0) })},
		{"lite topic", pb.Code_MESSAGE_PROPERTY_CONFLICT_WITH_TYPE, system(func(p *pb.SystemProperties) { p.LiteTopic = new("l") })},
		{"transaction", pb.Code_MESSAGE_PROPERTY_CONFLICT_WITH_TYPE, system(func(p *pb.SystemProperties) { p.MessageType = pb.MessageType_TRANSACTION })},
		{"encoding unspecified", pb.Code_OK, system(func(p *pb.SystemProperties) { p.BodyEncoding = pb.Encoding_ENCODING_UNSPECIFIED })},
		{"encoding gzip", pb.Code_OK, system(func(p *pb.SystemProperties) { p.BodyEncoding = pb.Encoding_GZIP })},
		{"encoding unknown", pb.Code_BAD_REQUEST, system(func(p *pb.SystemProperties) { p.BodyEncoding = 77 })},
		{"declared type alone", pb.Code_OK, system(func(p *pb.SystemProperties) { p.MessageType = pb.MessageType_FIFO })},
	}
}

// TestSendLimits says what a send may be, rule by rule, on a topic of normal
// messages.
func TestSendLimits(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			stored := 0
			cases := sendCases()
			for key := range reserved {
				cases = append(cases, sendCase{"property " + key, pb.Code_ILLEGAL_MESSAGE_PROPERTY_KEY, property(key, "v")})
			}
			for _, tc := range cases {
				m := newMessage("orders", "m")
				tc.edit(m)
				resp := c.send(m)
				wantCode(f.t, tc.name, resp, tc.want)
				if len(resp.GetEntries()) != 1 || resp.GetEntries()[0].GetStatus().GetCode() != tc.want ||
					resp.GetEntries()[0].GetMessageId() != m.GetSystemProperties().GetMessageId() {
					f.t.Errorf("%s: entries %v", tc.name, resp.GetEntries())
				}
				if tc.want == pb.Code_OK {
					stored++
				}
			}
			if n := f.storedOf("orders"); n != stored {
				f.t.Errorf("%d messages stored, want %d", n, stored)
			}
		})
	})
}

// TestSendTypes says what each type of topic does with each type of message.
func TestSendTypes(t *testing.T) {
	const conflict, later, good = pb.Code_MESSAGE_PROPERTY_CONFLICT_WITH_TYPE, pb.Code_NOT_IMPLEMENTED, pb.Code_OK
	kinds := []struct {
		name string
		edit func(*pb.Message)
	}{
		{"normal", func(*pb.Message) {}},
		{"fifo", groupOf("g")},
		{"delay", due(time.Minute)},
		{"late", due(-time.Minute)},
		{"late, of a group", func(m *pb.Message) { due(-time.Minute)(m); groupOf("g")(m) }},
		{"transaction", system(func(p *pb.SystemProperties) { p.MessageType = pb.MessageType_TRANSACTION })},
		{"priority", system(func(p *pb.SystemProperties) { p.Priority = proto.Int32(3) })},
		{"lite", system(func(p *pb.SystemProperties) { p.LiteTopic = new("l") })},
	}
	for topic, want := range map[controlv1.TopicType][]pb.Code{
		controlv1.TopicType_TOPIC_TYPE_NORMAL:      {good, conflict, conflict, conflict, conflict, conflict, conflict, conflict},
		controlv1.TopicType_TOPIC_TYPE_UNSPECIFIED: {good, conflict, conflict, conflict, conflict, conflict, conflict, conflict},
		controlv1.TopicType_TOPIC_TYPE_FIFO:        {conflict, later, conflict, conflict, conflict, conflict, conflict, conflict},
		controlv1.TopicType_TOPIC_TYPE_DELAY:       {conflict, conflict, later, good, later, conflict, conflict, conflict},
		controlv1.TopicType_TOPIC_TYPE_TRANSACTION: {conflict, conflict, conflict, conflict, conflict, later, conflict, conflict},
		controlv1.TopicType_TOPIC_TYPE_MIXED:       {good, later, later, good, later, later, later, later},
		controlv1.TopicType_TOPIC_TYPE_PRIORITY:    {conflict, conflict, conflict, conflict, conflict, conflict, later, conflict},
		controlv1.TopicType_TOPIC_TYPE_LITE:        {conflict, conflict, conflict, conflict, conflict, conflict, conflict, later},
	} {
		bubble(t, func(f *fixture) {
			f.ctl.topic("orders", topic)
			f.with("c", func(c *client) {
				for i, kind := range kinds {
					m := newMessage("orders", kind.name)
					kind.edit(m)
					wantCode(f.t, topic.String()+", "+kind.name, c.send(m), want[i])
				}
			})
		})
	}
}

// TestSendLate says that a delivery time that is over delivers now, and that the
// receiver still sees it.
func TestSendLate(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_MIXED)
		f.with("c", func(c *client) {
			m := newMessage("orders", "m")
			due(-time.Minute)(m)
			wantCode(f.t, "send", c.send(m), pb.Code_OK)
			g := c.receive(receive("g", "orders"))
			sp := g.messages[0].GetSystemProperties()
			if !proto.Equal(sp.GetDeliveryTimestamp(), m.SystemProperties.DeliveryTimestamp) || sp.GetMessageType() != pb.MessageType_DELAY {
				f.t.Errorf("delivered %v", sp)
			}
		})
	})
}

func TestSendRequests(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.ctl.topic("other", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			wantCode(f.t, "no message", c.send(), pb.Code_MESSAGE_CORRUPTED)
			wantCode(f.t, "two topics", c.send(newMessage("orders", "a"), newMessage("other", "b")), pb.Code_MESSAGE_CORRUPTED)
			namespaced := newMessage("orders", "b")
			namespaced.Topic.ResourceNamespace = "ns"
			wantCode(f.t, "two namespaces", c.send(newMessage("orders", "a"), namespaced), pb.Code_MESSAGE_CORRUPTED)
			empty := newMessage("orders", "b")
			empty.Body = nil
			resp := c.send(newMessage("orders", "a"), empty, newMessage("orders", "c"))
			wantCode(f.t, "one bad of three", resp, pb.Code_MESSAGE_BODY_EMPTY)
			if n := len(resp.GetEntries()); n != 3 || f.storedOf("orders") != 0 {
				f.t.Errorf("one bad of three: %d entries, %d stored", n, f.storedOf("orders"))
			}
			many := make([]*pb.Message, batchMax+1)
			for i := range many {
				many[i] = newMessage("orders", strconv.Itoa(i))
			}
			resp = c.send(many...)
			wantCode(f.t, "too many", resp, pb.Code_PAYLOAD_TOO_LARGE)
			if n := len(resp.GetEntries()); n != len(many) {
				f.t.Errorf("%d entries for %d messages", n, len(many))
			}
			tiny := make([]*pb.Message, entriesMax+1)
			for i := range tiny {
				tiny[i] = &pb.Message{}
			}
			if n := len(c.send(tiny...).GetEntries()); n != entriesMax {
				f.t.Errorf("%d entries for nonsense", n)
			}
			resp = c.send(many[:batchMax]...)
			wantCode(f.t, "a full batch", resp, pb.Code_OK)
			for i, e := range resp.GetEntries() {
				if e.GetMessageId() != strconv.Itoa(i) || e.GetOffset() != int64(i) || e.GetStatus().GetCode() != pb.Code_OK {
					f.t.Fatalf("entry %d: %v", i, e)
				}
			}
		})
	})
}

// TestSendCodes says what a producer hears of a store.
func TestSendCodes(t *testing.T) {
	for code, want := range map[storeapi.Code]pb.Code{
		storeapi.TopicNotFound:  pb.Code_TOPIC_NOT_FOUND,
		storeapi.DiskFull:       pb.Code_TOO_MANY_REQUESTS,
		storeapi.Overloaded:     pb.Code_TOO_MANY_REQUESTS,
		storeapi.Expired:        pb.Code_PROXY_TIMEOUT,
		storeapi.Unknown:        pb.Code_PROXY_TIMEOUT,
		storeapi.SeqTooOld:      pb.Code_PROXY_TIMEOUT,
		storeapi.NotLeader:      pb.Code_TOO_MANY_REQUESTS,
		storeapi.Unavailable:    pb.Code_TOO_MANY_REQUESTS,
		storeapi.NeedConfig:     pb.Code_TOO_MANY_REQUESTS,
		storeapi.Internal:       pb.Code_INTERNAL_SERVER_ERROR,
		storeapi.Invalid:        pb.Code_INTERNAL_SERVER_ERROR,
		storeapi.NotImplemented: pb.Code_NOT_IMPLEMENTED,
		storeapi.TooLarge:       pb.Code_MESSAGE_BODY_TOO_LARGE,
		storeapi.Code(99):       pb.Code_INTERNAL_SERVER_ERROR,
	} {
		bubble(t, func(f *fixture) {
			f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
			failing[*storeapi.Append](f, code)
			f.with("c", func(c *client) {
				start := time.Now()
				resp := c.send(newMessage("orders", "m"))
				wantCode(f.t, code.String(), resp, want)
				if took := time.Since(start); took > 3*time.Second-answerMargin {
					f.t.Errorf("%v: answered after %v of 3 s", code, took)
				}
				if len(resp.GetEntries()) != 1 || resp.GetStatus().GetMessage() == "" {
					f.t.Errorf("%v: %v", code, resp)
				}
			})
		})
	}
}

// TestSendEntries says that entries of one send have outcomes of their own.
func TestSendEntries(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.node.Intercept(func(op *storeapi.Op) bool {
			if _, is := op.Request.(*storeapi.Append); is {
				op.Done(storeapi.Reply{Result: &storeapi.AppendResult{Entries: []storeapi.Appended{{Offset: 5}, {Code: storeapi.TopicNotFound}}}})
			}
			return true
		})
		f.with("c", func(c *client) {
			resp := c.send(newMessage("orders", "a"), newMessage("orders", "b"))
			wantCode(f.t, "send", resp, pb.Code_MULTIPLE_RESULTS)
			wantCode(f.t, "first", resp.GetEntries()[0], pb.Code_OK)
			wantCode(f.t, "second", resp.GetEntries()[1], pb.Code_TOPIC_NOT_FOUND)
			if s := &f.proxy.meter.sends; s.messages.Load() != 1 || s.bytes.Load() != uint64(len("body of a")) {
				f.t.Errorf("%d messages of %d bytes counted", s.messages.Load(), s.bytes.Load())
			}
			if resp.GetEntries()[0].GetOffset() != 5 || resp.GetEntries()[1].GetMessageId() != "b" {
				f.t.Errorf("%v", resp.GetEntries())
			}
			wantCode(f.t, "wrong number of entries", c.send(newMessage("orders", "a")), pb.Code_INTERNAL_SERVER_ERROR)
		})
	})
}

// TestSendDeadline says that a client without a deadline gets an answer, and one
// with a short one gets it in time.
func TestSendDeadline(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.node.Intercept(func(op *storeapi.Op) bool {
			time.AfterFunc(time.Until(op.Deadline), func() { op.Done(storeapi.Reply{Code: storeapi.Expired}) })
			return true
		})
		f.with("c", func(c *client) {
			for limit, want := range map[time.Duration]time.Duration{0: 3 * time.Second, time.Second: time.Second, time.Hour: timeMax} {
				ctx, cancel := c.ctx, context.CancelFunc(func() {})
				if limit > 0 {
					ctx, cancel = context.WithTimeout(c.ctx, limit)
				}
				start := time.Now()
				resp, err := c.SendMessage(ctx, &pb.SendMessageRequest{Messages: []*pb.Message{newMessage("orders", "m")}})
				cancel()
				if err != nil {
					f.t.Fatalf("limit %v: %v", limit, err)
				}
				wantCode(f.t, limit.String(), resp, pb.Code_PROXY_TIMEOUT)
				if took := time.Since(start); took > want {
					f.t.Errorf("limit %v: answered after %v", limit, took)
				}
			}
		})
	})
}

// TestSendStored says what a store gets.
func TestSendStored(t *testing.T) {
	bubble(t, func(f *fixture) {
		topic := f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			m := newMessage("orders", "m")
			m.SystemProperties.ReceiptHandle, m.SystemProperties.StoreHost = new("forged"), "forged"
			wantCode(f.t, "send", c.send(m), pb.Code_OK)
			id := ident.Topic(topic.GetId())
			p := append(f.node.Stored(1, id), f.node.Stored(2, id)...)[0]
			if uint64(p.Topic()) != topic.GetId() || p.Proxy() != 77 || p.Seq() != 1 || p.Queue() > 7 {
				f.t.Errorf("head %+v", p.Head())
			}
			if strings.Contains(string(p), "forged") {
				f.t.Error("fields of the server were stored")
			}
		})
	})
}
