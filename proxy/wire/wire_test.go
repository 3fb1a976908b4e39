// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

const nowMS = 1_790_000_000_123

func full() *pb.Message {
	return &pb.Message{
		Topic:          &pb.Resource{ResourceNamespace: "ns", Name: "orders"},
		UserProperties: map[string]string{"colour": "blue"},
		Body:           []byte("body \x00\xff"),
		SystemProperties: &pb.SystemProperties{
			Tag: new("t1"), Keys: []string{"k1", "k2"}, MessageId: "01AB",
			BodyDigest:    &pb.Digest{Type: pb.DigestType_CRC32, Checksum: "nonsense"},
			MessageType:   pb.MessageType_NORMAL,
			BornTimestamp: &timestamppb.Timestamp{Seconds: 1_700_000_000, Nanos: 987_654_321}, BornHost: "host-1",
			TraceContext: new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
		},
	}
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func scan(t testing.TB, b []byte) *Message {
	t.Helper()
	m := new(Message)
	if err := m.Scan(b); err != nil {
		t.Fatal(err)
	}
	return m
}

// deliver sends and delivers m and returns what a client decodes.
func deliver(t testing.TB, m []byte, s *Stamp, d *Delivery) *pb.Message {
	t.Helper()
	p, err := message.Parse(scan(t, m).Payload(s))
	if err != nil {
		t.Fatal(err)
	}
	data, err := NewCodec().Marshal(Delivered(p, d))
	if err != nil {
		t.Fatal(err)
	}
	var resp pb.ReceiveMessageResponse
	if err := proto.Unmarshal(data.Materialize(), &resp); err != nil {
		t.Fatal(err)
	}
	data.Free()
	var again pb.Message
	if err := proto.Unmarshal(AppendMessage(nil, p, d), &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(resp.GetMessage(), &again, protocmp.Transform()); diff != "" {
		t.Fatalf("the frame and the message differ:\n%s", diff)
	}
	return resp.GetMessage()
}

func delivery() *Delivery {
	return &Delivery{
		Topic: TopicField("ns", "orders"), StoreMS: nowMS, StoreHost: "store-1", Queue: 5, Offset: 77,
		Handle: []byte("handle"), Attempt: 3,
	}
}

func digest(body []byte) *pb.Digest {
	return &pb.Digest{Type: pb.DigestType_MD5, Checksum: fmt.Sprintf("%X", md5.Sum(body))}
}

// TestDelivered says what a client gets of what another one sent.
func TestDelivered(t *testing.T) {
	forged := func(m *pb.Message) {
		sp := m.SystemProperties
		sp.ReceiptHandle, sp.DeliveryAttempt, sp.QueueOffset = new("forged"), proto.Int32(77), proto.Int64(4711)
		sp.QueueId, sp.StoreHost, sp.StoreTimestamp = 99, "forged", timestamppb.New(timestamppb.Now().AsTime())
		sp.InvisibleDuration = durationpb.New(1)
		sp.DeadLetterQueue = &pb.DeadLetterQueue{Topic: "forged", MessageId: "forged"}
	}
	for _, tc := range []struct {
		name string
		edit func(*pb.Message)
		want func(*pb.Message)
	}{
		{"everything", func(*pb.Message) {}, func(*pb.Message) {}},
		{"fields of the server are dropped", forged, func(*pb.Message) {}},
		{"no born timestamp", func(m *pb.Message) { m.SystemProperties.BornTimestamp = nil }, func(m *pb.Message) {
			m.SystemProperties.BornTimestamp = &timestamppb.Timestamp{Seconds: nowMS / 1000, Nanos: 123_000_000}
		}},
		{"born timestamp out of range", func(m *pb.Message) { m.SystemProperties.BornTimestamp.Nanos = -1 }, func(m *pb.Message) {
			m.SystemProperties.BornTimestamp = &timestamppb.Timestamp{Seconds: nowMS / 1000, Nanos: 123_000_000}
		}},
		{"no born host", func(m *pb.Message) { m.SystemProperties.BornHost = "" }, func(m *pb.Message) {
			m.SystemProperties.BornHost = "10.0.0.9"
		}},
		{"no trace context", func(m *pb.Message) { m.SystemProperties.TraceContext = nil }, func(m *pb.Message) {
			m.SystemProperties.TraceContext = new("of the span")
		}},
		{"empty tag", func(m *pb.Message) { m.SystemProperties.Tag = new("") }, func(m *pb.Message) {
			m.SystemProperties.Tag = new("")
		}},
		{"absent tag and keys", func(m *pb.Message) { m.SystemProperties.Tag, m.SystemProperties.Keys = nil, nil }, func(m *pb.Message) {
			m.SystemProperties.Tag, m.SystemProperties.Keys = nil, nil
		}},
		{"compressed", func(m *pb.Message) { m.SystemProperties.BodyEncoding = pb.Encoding_GZIP }, func(m *pb.Message) {
			m.SystemProperties.BodyEncoding = pb.Encoding_GZIP
		}},
		{"no type", func(m *pb.Message) { m.SystemProperties.MessageType = 0 }, func(*pb.Message) {}},
		{"wrong type", func(m *pb.Message) { m.SystemProperties.MessageType = pb.MessageType_LITE }, func(*pb.Message) {}},
		{"delivery time", func(m *pb.Message) { m.SystemProperties.DeliveryTimestamp = &timestamppb.Timestamp{Seconds: 5} }, func(m *pb.Message) {
			m.SystemProperties.DeliveryTimestamp = &timestamppb.Timestamp{Seconds: 5}
			m.SystemProperties.MessageType = pb.MessageType_DELAY
		}},
		{"no properties at all", func(m *pb.Message) { m.UserProperties, m.SystemProperties = nil, nil }, func(m *pb.Message) {
			m.UserProperties = nil
			m.SystemProperties = &pb.SystemProperties{
				MessageType: pb.MessageType_NORMAL, BornHost: "10.0.0.9", TraceContext: new("of the span"),
				BornTimestamp: &timestamppb.Timestamp{Seconds: nowMS / 1000, Nanos: 123_000_000},
			}
		}},
		{"a large body", func(m *pb.Message) { m.Body = bytes.Repeat([]byte("x"), 3*copyMax) }, func(m *pb.Message) {
			m.Body = bytes.Repeat([]byte("x"), 3*copyMax)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sent, want := full(), full()
			tc.edit(sent)
			tc.want(want)
			sp := want.SystemProperties
			sp.BodyDigest = digest(want.Body)
			if sp.BodyEncoding == 0 {
				sp.BodyEncoding = pb.Encoding_IDENTITY
			}
			sp.StoreTimestamp = &timestamppb.Timestamp{Seconds: nowMS / 1000, Nanos: 123_000_000}
			sp.StoreHost, sp.QueueId, sp.QueueOffset = "store-1", 5, proto.Int64(77)
			sp.ReceiptHandle, sp.DeliveryAttempt = new("handle"), proto.Int32(3)
			s := &Stamp{Topic: 1, Queue: 5, NowMS: nowMS, BornHost: "10.0.0.9", Trace: "of the span"}
			got := deliver(t, marshal(t, sent), s, delivery())
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestHead says what the store sees of a message.
func TestHead(t *testing.T) {
	m := full()
	m.SystemProperties.Keys = []string{"k1", "", "k2"}
	m.SystemProperties.MessageGroup = new("g")
	p := scan(t, marshal(t, m)).Payload(&Stamp{Topic: 9, Queue: 5, NowMS: nowMS})
	want := message.Head{
		Topic: 9, Queue: 5, IDHash: ident.Hash64("01AB"), BornMS: 1_700_000_000_987, TagHash: ident.Hash32("t1"),
		GroupHash: ident.Hash64("g"), KeyHashes: []uint32{ident.Hash32("k1"), ident.Hash32("k2")},
	}
	if diff := cmp.Diff(want, p.Head()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if id, _ := message.Text(p.Sys(), message.FieldMessageID); id != "01AB" {
		t.Errorf("the store reads id %q", id)
	}
	m.SystemProperties.Tag, m.SystemProperties.MessageGroup = new(""), nil
	p = scan(t, marshal(t, m)).Payload(&Stamp{})
	if p.TagHash() != 0 || p.GroupHash() != 0 {
		t.Errorf("no tag and no group have hashes %d and %d", p.TagHash(), p.GroupHash())
	}
}

// TestUnknownFields says that what this server does not know reaches the receiver.
func TestUnknownFields(t *testing.T) {
	var sys []byte
	sys = appendVarint(sys, 30, 7)
	sys = appendBytes(sys, 31, "later")
	var b []byte
	b = appendBytes(b, 9, "before")
	b = append(b, marshal(t, full())...)
	b = appendBytes(b, fieldSystem, sys)
	b = appendVarint(b, 10, 1<<60)
	got := deliver(t, b, &Stamp{}, delivery())
	if diff := cmp.Diff(appendVarint(appendBytes(nil, 9, "before"), 10, 1<<60), []byte(got.ProtoReflect().GetUnknown())); diff != "" {
		t.Errorf("of Message (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(sys, []byte(got.SystemProperties.ProtoReflect().GetUnknown())); diff != "" {
		t.Errorf("of SystemProperties (-want +got):\n%s", diff)
	}
	if got.SystemProperties.GetMessageId() != "01AB" {
		t.Error("a repeated system_properties field replaced the first instead of merging")
	}
}

// TestLastWins says that repeated single values are read as protobuf reads them.
func TestLastWins(t *testing.T) {
	first := full()
	second := &pb.Message{
		Topic: &pb.Resource{Name: "second"}, Body: []byte("second"),
		SystemProperties: &pb.SystemProperties{MessageId: "second", Keys: []string{"k3"}},
	}
	b := append(marshal(t, first), marshal(t, second)...)
	m := scan(t, b)
	if string(m.Namespace) != "ns" || string(m.Topic) != "second" || string(m.Body) != "second" || m.KeyCount != 3 {
		t.Errorf("namespace %q, topic %q, body %q, %d keys", m.Namespace, m.Topic, m.Body, m.KeyCount)
	}
	got := deliver(t, b, &Stamp{}, delivery())
	if string(got.Body) != "second" || got.SystemProperties.MessageId != "second" {
		t.Errorf("delivered body %q, id %q", got.Body, got.SystemProperties.MessageId)
	}
}

func TestType(t *testing.T) {
	for want, edit := range map[pb.MessageType]func(*pb.SystemProperties){
		pb.MessageType_NORMAL: func(*pb.SystemProperties) {},
		pb.MessageType_TRANSACTION: func(s *pb.SystemProperties) {
			s.MessageType = pb.MessageType_TRANSACTION
			s.LiteTopic = new("l")
		},
		pb.MessageType_DELAY: func(s *pb.SystemProperties) {
			s.DeliveryTimestamp = timestamppb.Now()
			s.MessageGroup = new("g")
		},
		pb.MessageType_FIFO:     func(s *pb.SystemProperties) { s.MessageGroup = new("g"); s.Priority = proto.Int32(1) },
		pb.MessageType_PRIORITY: func(s *pb.SystemProperties) { s.Priority = proto.Int32(0); s.LiteTopic = new("l") },
		pb.MessageType_LITE:     func(s *pb.SystemProperties) { s.LiteTopic = new("l") },
	} {
		m := full()
		edit(m.SystemProperties)
		if got := scan(t, marshal(t, m)).Type(); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func TestScanRefuses(t *testing.T) {
	bad := string([]byte{0xff, 0xfe})
	sys := func(num protowire.Number) []byte { return appendBytes(nil, fieldSystem, appendBytes(nil, num, bad)) }
	for name, b := range map[string][]byte{
		"truncated":     marshal(t, full())[:20],
		"field 0":       {0x00, 0x01},
		"body too long": {0x22, 0x05, 'x'},
		"topic":         appendBytes(nil, fieldTopic, appendBytes(nil, fieldName, bad)),
		"namespace":     appendBytes(nil, fieldTopic, appendBytes(nil, fieldNamespace, bad)),
		"property key":  appendBytes(nil, fieldProperties, appendBytes(nil, fieldKey, bad)),
		"value":         appendBytes(nil, fieldProperties, appendBytes(nil, fieldValue, bad)),
		"tag":           sys(sysTag),
		"key":           sys(sysKeys),
		"id":            sys(sysID),
		"born host":     sys(sysBornHost),
		"group":         sys(sysGroup),
		"trace":         sys(sysTrace),
		"lite topic":    sys(sysLite),
		"time":          sys(sysBorn),
	} {
		var m Message
		if err := m.Scan(b); !errors.Is(err, errMalformed) && !errors.Is(err, errText) {
			t.Errorf("%s: %v, want an error of the scan", name, err)
		}
	}
}

// TestHostileCounts says that a message of very many small things costs no memory.
func TestHostileCounts(t *testing.T) {
	var b []byte
	for range 5000 {
		b = append(b, byte(fieldProperties<<3|2), 0)
	}
	b = appendBytes(b, fieldSystem, []byte(strings.Repeat(string([]byte{byte(sysKeys<<3 | 2), 0}), 5000)))
	m := scan(t, b)
	if m.PropertyCount != 5000 || len(m.Properties) != PropertiesKept || m.KeyCount != 5000 || len(m.Keys) != KeysKept {
		t.Errorf("%d of %d properties, %d of %d keys", len(m.Properties), m.PropertyCount, len(m.Keys), m.KeyCount)
	}
}

func TestTimes(t *testing.T) {
	for _, tc := range []struct {
		in     Time
		millis int64
		ok     bool
	}{
		{Time{}, 0, false},
		{Time{Set: true}, 0, true},
		{Time{Set: true, Seconds: 1, Nanos: 2_500_000}, 1002, true},
		{Time{Set: true, Seconds: secondsMax}, secondsMax * 1000, true},
		{Time{Set: true, Seconds: secondsMax + 1}, 0, false},
		{Time{Set: true, Seconds: secondsMin}, secondsMin * 1000, true},
		{Time{Set: true, Seconds: secondsMin - 1}, 0, false},
		{Time{Set: true, Nanos: 1_000_000_000}, 0, false},
	} {
		if ms, ok := tc.in.Millis(); ms != tc.millis || ok != tc.ok {
			t.Errorf("%+v: %d %v, want %d %v", tc.in, ms, ok, tc.millis, tc.ok)
		}
	}
	if _, ok := (Time{Set: true, Seconds: 1 << 62}).Duration(); ok {
		t.Error("a duration of 2^62 seconds passed")
	}
}

// TestRoundTrip: whatever a client may send is delivered as it was, except for
// what the package comment says.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		sent := &pb.Message{
			Topic:            &pb.Resource{Name: "orders", ResourceNamespace: "ns"},
			UserProperties:   rapid.MapOf(text, text).Draw(t, "properties"),
			Body:             rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
			SystemProperties: &pb.SystemProperties{Keys: rapid.SliceOf(text).Draw(t, "keys"), MessageId: text.Draw(t, "id")},
		}
		sp := sent.SystemProperties
		if rapid.Bool().Draw(t, "tagged") {
			sp.Tag = new(text.Draw(t, "tag"))
		}
		sp.BornTimestamp = &timestamppb.Timestamp{
			Seconds: rapid.Int64Range(secondsMin, secondsMax).Draw(t, "born"), Nanos: rapid.Int32Range(0, 999_999_999).Draw(t, "nanos"),
		}
		b, err := proto.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		var m Message
		if err := m.Scan(b); err != nil {
			t.Fatal(err)
		}
		d := delivery()
		var got pb.Message
		if err := proto.Unmarshal(AppendMessage(nil, m.Payload(&Stamp{BornHost: "h"}), d), &got); err != nil {
			t.Fatal(err)
		}
		sp.BodyDigest, sp.BodyEncoding, sp.MessageType, sp.BornHost = digest(sent.Body), pb.Encoding_IDENTITY, pb.MessageType_NORMAL, "h"
		sp.StoreTimestamp = &timestamppb.Timestamp{Seconds: nowMS / 1000, Nanos: 123_000_000}
		sp.StoreHost, sp.QueueId, sp.QueueOffset = d.StoreHost, d.Queue, new(d.Offset)
		sp.ReceiptHandle, sp.DeliveryAttempt = new(string(d.Handle)), new(d.Attempt)
		if diff := cmp.Diff(sent, &got, protocmp.Transform()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// FuzzScan: a scan accepts what the generated decoder accepts (an error of one is
// an error of the other), sees the same, and its payload can be delivered.
func FuzzScan(f *testing.F) {
	f.Add(marshal(f, full()))
	f.Add([]byte{})
	f.Add(append(marshal(f, full()), marshal(f, full())...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Message
		var want pb.Message
		err, wantErr := m.Scan(b), proto.Unmarshal(b, &want)
		if err != nil {
			if wantErr == nil {
				t.Fatalf("refused what protobuf accepts: %v", err)
			}
			return
		}
		p, err := message.Parse(m.Payload(&Stamp{NowMS: nowMS}))
		if err != nil {
			t.Fatal(err)
		}
		if wantErr != nil {
			return // what the scan does not look at is not stored
		}
		var got pb.Message
		if err := proto.Unmarshal(AppendMessage(nil, p, delivery()), &got); err != nil {
			t.Fatalf("accepted, but cannot be delivered: %v", err)
		}
		if !bytes.Equal(got.Body, want.Body) || got.SystemProperties.GetMessageId() != want.SystemProperties.GetMessageId() {
			t.Fatalf("got %v, want %v", &got, &want)
		}
		if diff := cmp.Diff(want.UserProperties, got.UserProperties); diff != "" && len(want.UserProperties) > 0 {
			t.Fatal(diff)
		}
	})
}

func BenchmarkSend(b *testing.B) {
	sent := full()
	sent.Body = bytes.Repeat([]byte("x"), 1024)
	raw := marshal(b, sent)
	var m Message
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Scan(raw); err != nil {
			b.Fatal(err)
		}
		_ = m.Payload(&Stamp{Topic: 1})
	}
}

func BenchmarkDelivered(b *testing.B) {
	sent := full()
	sent.Body = bytes.Repeat([]byte("x"), 1024)
	p := scan(b, marshal(b, sent)).Payload(&Stamp{Topic: 1})
	codec, d := NewCodec(), delivery()
	b.ReportAllocs()
	for b.Loop() {
		data, err := codec.Marshal(Delivered(p, d))
		if err != nil {
			b.Fatal(err)
		}
		data.Free()
	}
}
