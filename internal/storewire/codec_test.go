// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	storev1 "github.com/mansiomq/mansio/proto/mansio/store/v1"
)

// requests has one of each kind, every field set to a value of its own.
func requests() map[string]storeapi.Request {
	filter := storeapi.Filter{Kind: storeapi.FilterTags, Tags: []string{"a", "b"}}
	return map[string]storeapi.Request{
		"append": &storeapi.Append{Topic: 1, Payloads: [][]byte{[]byte("first"), {}, []byte("third")}},
		"settle": &storeapi.Settle{Items: []storeapi.SettleItem{{
			Delivery: storeapi.Delivery{Group: 1, Topic: 2, Generation: 3, Queue: 4, Offset: 5, Term: 6, Grant: 7},
			Verdict:  storeapi.Release, NoCount: true, MS: 8,
		}, {Verdict: storeapi.Ack}}},
		"alive": &storeapi.Alive{Signs: []storeapi.ClientSign{{
			Client: "c", Group: 1, Terminated: true, Unknown: true,
			Subscriptions: []storeapi.Subscription{{Topic: 2, Filter: filter}, {Topic: 3}},
		}}},
		"take": &storeapi.Take{
			Group: 1, Topic: 2, Filter: filter, Max: 3, BytesMax: 4, InvisibleMS: 5, AutoRenew: true,
			Client: "c", AttemptHash: 6, RegrantOnly: true, Ticket: 7,
		},
		"park":    &storeapi.Park{ID: 1, Group: 2, Topic: 3, Filter: filter, Client: "c"},
		"unpark":  &storeapi.Unpark{ID: 1},
		"decline": &storeapi.Decline{Ticket: 1},
		"offsets": &storeapi.Offsets{Topic: 1, Group: 2},
		"query":   &storeapi.Query{Topic: 1, MessageID: "m", Key: "k", FromMS: 2, ToMS: 3, After: 4, Max: 5},
	}
}

// results has one of each kind, every field set to a value of its own.
func results() map[string]storeapi.Result {
	return map[string]storeapi.Result{
		"append":  &storeapi.AppendResult{Entries: []storeapi.Appended{{Code: storeapi.OK, LSN: 1, Offset: 2}, {Code: storeapi.SeqTooOld, Offset: -1}}},
		"settle":  &storeapi.SettleResult{Codes: []storeapi.Code{storeapi.OK, storeapi.InvalidHandle}},
		"take":    &storeapi.TakeResult{Grant: 1, Term: 2, Generation: 3, DueMS: 4, Messages: []storeapi.Taken{{Queue: 5, Offset: 6, Attempt: 7, StoreMS: 8, Payload: []byte("p"), Grant: 9}}},
		"ready":   &storeapi.ReadyResult{Ticket: 1},
		"offsets": &storeapi.OffsetsResult{Queues: []storeapi.QueueState{{Queue: 1, Min: 2, Next: 3, Ready: 4, InFlight: 5, Done: 6}}},
		"query":   &storeapi.QueryResult{Messages: []storeapi.Found{{LSN: 1, Queue: 2, Offset: -1, StoreMS: 3, Payload: []byte("p")}}, More: true, Next: 4},
	}
}

// TestGolden holds the bytes against the names in the .proto file: what stands
// in testdata/codec is what the generated code reads.
func TestGolden(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	datadriven.RunTest(t, "testdata/codec", func(t *testing.T, d *datadriven.TestData) string {
		var m proto.Message
		var wire []byte
		switch d.Cmd {
		case "op":
			op := &storeapi.Op{Shard: 10, TermHint: 11, TopicRevision: 12, GroupRevision: 13, Request: requests()[d.CmdArgs[0].Key]}
			if d.HasArg("full") {
				op.Attached = []storeapi.Config{{Kind: 14, ID: 15, Revision: 16, Bytes: []byte("config")}}
				op.Deadline = now.Add(17 * time.Millisecond)
			}
			wire, m = appendOp(nil, 9, op, op.Deadline.Sub(now)), &storev1.Op{}
		case "reply":
			reply := &storeapi.Reply{Code: storeapi.OK, Term: 11, Result: results()[d.CmdArgs[0].Key]}
			if d.HasArg("full") {
				reply.Leader, reply.Detail = "leader", "detail"
			}
			wire, m = appendReply(nil, 9, reply), &storev1.Reply{}
		case "code":
			var b strings.Builder
			for c := storeapi.OK; c.Known(); c++ {
				r := &storev1.Reply{}
				if err := proto.Unmarshal(appendReply(nil, 0, &storeapi.Reply{Code: c}), r); err != nil {
					t.Fatal(err)
				}
				b.WriteString(c.String() + " = " + r.GetCode().String() + "\n")
			}
			return b.String()
		}
		if err := proto.Unmarshal(wire, m); err != nil {
			t.Fatal(err)
		}
		text := prototext.MarshalOptions{Multiline: true}.Format(m)
		return strings.ReplaceAll(text, ":  ", ": ") + "\n" // prototext varies its blanks on purpose
	})
}

func genFilter() *rapid.Generator[storeapi.Filter] {
	return rapid.Custom(func(t *rapid.T) storeapi.Filter {
		f := storeapi.Filter{Kind: rapid.SampledFrom([]storeapi.FilterKind{storeapi.FilterAll, storeapi.FilterTags}).Draw(t, "kind")}
		if f.Kind == storeapi.FilterTags {
			f.Tags = rapid.SliceOfN(rapid.String(), 1, 3).Draw(t, "tags")
		}
		return f
	})
}

// TestGeneratedAgrees: what is written by hand is read by the generated code
// without unknown fields, and what that writes again is read by hand as the
// same operation.
func TestGeneratedAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		op := &storeapi.Op{
			Shard:         ident.Shard(rapid.Uint32().Draw(t, "shard")),
			TermHint:      ident.Term(rapid.Uint64().Draw(t, "term")),
			TopicRevision: rapid.Int64().Draw(t, "topic revision"),
			GroupRevision: rapid.Int64().Draw(t, "group revision"),
			Request:       drawRequest(t),
		}
		id := rapid.Uint64().Draw(t, "id")
		m := new(storev1.Op)
		if q, ok := op.Request.(*storeapi.Alive); ok {
			if n := len(appendRequest(nil, q)) - len(appendRequest(nil, &storeapi.Alive{})); n > sizeOf(q) {
				t.Fatalf("signs of %d bytes are weighed as %d", n, sizeOf(q))
			}
		}
		again := throughGenerated(t, appendOp(nil, id, op, 0), m)
		got := new(storeapi.Op)
		gotID, err := decodeOp(again, time.Time{}, got)
		if err != nil || gotID != id {
			t.Fatalf("id %d, error %v", gotID, err)
		}
		if diff := cmp.Diff(op, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func sizeOf(q *storeapi.Alive) int {
	n, _ := weighSigns(q.Signs)
	return n
}

// TestGeneratedAgreesOnReplies is the same for replies.
func TestGeneratedAgreesOnReplies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		reply := storeapi.Reply{
			Code:   storeapi.Code(rapid.Uint8Range(0, uint8(storeapi.TooLarge)).Draw(t, "code")),
			Leader: rapid.String().Draw(t, "leader"),
			Term:   ident.Term(rapid.Uint64().Draw(t, "term")),
			Detail: rapid.String().Draw(t, "detail"),
			Result: drawResult(t),
		}
		again := throughGenerated(t, appendReply(nil, 7, &reply), new(storev1.Reply))
		id, got, err := decodeReply(again)
		if err != nil || id != 7 {
			t.Fatalf("id %d, error %v", id, err)
		}
		if diff := cmp.Diff(reply, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func throughGenerated(t *rapid.T, wire []byte, m proto.Message) []byte {
	if err := proto.Unmarshal(wire, m); err != nil {
		t.Fatal(err)
	}
	noUnknown(t, m.ProtoReflect())
	again, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func noUnknown(t *rapid.T, m protoreflect.Message) {
	if len(m.GetUnknown()) > 0 {
		t.Fatalf("%s has unknown fields: %x", m.Descriptor().FullName(), m.GetUnknown())
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() != protoreflect.MessageKind:
		case f.IsList():
			for i := range v.List().Len() {
				noUnknown(t, v.List().Get(i).Message())
			}
		default:
			noUnknown(t, v.Message())
		}
		return true
	})
}

func drawRequest(t *rapid.T) storeapi.Request {
	u := func(name string) uint64 { return rapid.Uint64().Draw(t, name) }
	i := func(name string) int64 { return rapid.Int64().Draw(t, name) }
	s := func(name string) string { return rapid.String().Draw(t, name) }
	b := func(name string) bool { return rapid.Bool().Draw(t, name) }
	n := func(name string) int { return rapid.IntRange(0, 1<<31-1).Draw(t, name) }
	switch rapid.IntRange(0, 8).Draw(t, "request") {
	case 0:
		return &storeapi.Append{Topic: ident.Topic(u("topic")), Payloads: rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 9), 1, 3).Draw(t, "payloads")}
	case 1:
		q := &storeapi.Settle{}
		for range rapid.IntRange(1, 3).Draw(t, "items") {
			q.Items = append(q.Items, storeapi.SettleItem{
				Delivery: storeapi.Delivery{
					Group: ident.Group(u("group")), Topic: ident.Topic(u("topic")), Generation: ident.Generation(rapid.Uint32().Draw(t, "generation")),
					Queue: ident.Queue(u("queue")), Offset: ident.Offset(u("offset")), Term: ident.Term(u("term")), Grant: ident.LSN(u("grant")),
				},
				Verdict: storeapi.Verdict(rapid.Uint8Range(0, uint8(storeapi.Bury)).Draw(t, "verdict")), NoCount: b("no count"), MS: i("ms"),
			})
		}
		return q
	case 2:
		q := &storeapi.Alive{}
		for range rapid.IntRange(1, 3).Draw(t, "signs") {
			sign := storeapi.ClientSign{Client: s("client"), Group: ident.Group(u("group")), Terminated: b("terminated"), Unknown: b("unknown")}
			for range rapid.IntRange(0, 2).Draw(t, "subscriptions") {
				sign.Subscriptions = append(sign.Subscriptions, storeapi.Subscription{Topic: ident.Topic(u("topic")), Filter: genFilter().Draw(t, "filter")})
			}
			q.Signs = append(q.Signs, sign)
		}
		return q
	case 3:
		return &storeapi.Take{
			Group: ident.Group(u("group")), Topic: ident.Topic(u("topic")), Filter: genFilter().Draw(t, "filter"), Max: n("max"), BytesMax: n("bytes"),
			InvisibleMS: i("invisible"), AutoRenew: b("renew"), Client: s("client"), AttemptHash: u("attempt"), RegrantOnly: b("regrant"), Ticket: u("ticket"),
		}
	case 4:
		return &storeapi.Park{ID: u("id"), Group: ident.Group(u("group")), Topic: ident.Topic(u("topic")), Filter: genFilter().Draw(t, "filter"), Client: s("client")}
	case 5:
		return &storeapi.Unpark{ID: u("id")}
	case 6:
		return &storeapi.Decline{Ticket: u("ticket")}
	case 7:
		return &storeapi.Offsets{Topic: ident.Topic(u("topic")), Group: ident.Group(u("group"))}
	default:
		return &storeapi.Query{
			Topic: ident.Topic(u("topic")), MessageID: s("id"), Key: s("key"), FromMS: i("from"), ToMS: i("to"),
			After: ident.LSN(u("after")), Max: n("max"),
		}
	}
}

func drawResult(t *rapid.T) storeapi.Result {
	u := func(name string) uint64 { return rapid.Uint64().Draw(t, name) }
	payload := func() []byte { return rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "payload") }
	code := func() storeapi.Code {
		return storeapi.Code(rapid.Uint8Range(0, uint8(storeapi.TooLarge)).Draw(t, "code"))
	}
	n := rapid.IntRange(1, 3).Draw(t, "n")
	switch rapid.IntRange(0, 6).Draw(t, "result") {
	case 0:
		r := &storeapi.AppendResult{}
		for range n {
			r.Entries = append(r.Entries, storeapi.Appended{Code: code(), LSN: ident.LSN(u("lsn")), Offset: rapid.Int64().Draw(t, "offset")})
		}
		return r
	case 1:
		r := &storeapi.SettleResult{}
		for range n {
			r.Codes = append(r.Codes, code())
		}
		return r
	case 2:
		r := &storeapi.TakeResult{Grant: ident.LSN(u("grant")), Term: ident.Term(u("term")), Generation: ident.Generation(rapid.Uint32().Draw(t, "generation")), DueMS: rapid.Int64().Draw(t, "due")}
		for range n {
			r.Messages = append(r.Messages, storeapi.Taken{
				Queue: ident.Queue(u("queue")), Offset: ident.Offset(u("offset")), Attempt: rapid.Int32().Draw(t, "attempt"),
				StoreMS: rapid.Int64().Draw(t, "store"), Payload: payload(), Grant: ident.LSN(u("grant")),
			})
		}
		return r
	case 3:
		return &storeapi.ReadyResult{Ticket: u("ticket")}
	case 4:
		r := &storeapi.OffsetsResult{}
		for range n {
			r.Queues = append(r.Queues, storeapi.QueueState{
				Queue: ident.Queue(u("queue")), Min: ident.Offset(u("min")), Next: ident.Offset(u("next")),
				Ready: u("ready"), InFlight: u("in flight"), Done: u("done"),
			})
		}
		return r
	case 5:
		r := &storeapi.QueryResult{More: rapid.Bool().Draw(t, "more"), Next: ident.LSN(u("next"))}
		for range n {
			r.Messages = append(r.Messages, storeapi.Found{
				LSN: ident.LSN(u("lsn")), Queue: ident.Queue(u("queue")), Offset: rapid.Int64().Draw(t, "offset"),
				StoreMS: rapid.Int64().Draw(t, "store"), Payload: payload(),
			})
		}
		return r
	default:
		return nil
	}
}

// TestDeadlineIsRelative: what is left travels, at least a millisecond.
func TestDeadlineIsRelative(t *testing.T) {
	sent, arrived := time.UnixMilli(1_000), time.UnixMilli(9_000)
	for left, want := range map[time.Duration]time.Duration{
		time.Microsecond:        time.Millisecond,
		-time.Second:            time.Millisecond,
		1500 * time.Millisecond: 1500 * time.Millisecond,
		1 << 62:                 (1<<31 - 1) * time.Millisecond,
	} {
		op := &storeapi.Op{Deadline: sent.Add(time.Hour), Request: &storeapi.Unpark{ID: 1}}
		var got storeapi.Op
		if _, err := decodeOp(appendOp(nil, 1, op, left), arrived, &got); err != nil {
			t.Fatal(err)
		}
		if d := got.Deadline.Sub(arrived); d != want {
			t.Errorf("%v left became %v, want %v", left, d, want)
		}
	}
}

// TestRefusesNonsense: what no sender of ours writes is refused, not guessed.
func TestRefusesNonsense(t *testing.T) {
	op := func(m *storev1.Op) []byte { b, _ := proto.Marshal(m); return b }
	for name, b := range map[string][]byte{
		"no request":      op(&storev1.Op{Id: 1}),
		"no verdict":      op(&storev1.Op{Request: &storev1.Op_Settle{Settle: &storev1.Settle{Items: []*storev1.SettleItem{{}}}}}),
		"unknown verdict": op(&storev1.Op{Request: &storev1.Op_Settle{Settle: &storev1.Settle{Items: []*storev1.SettleItem{{Verdict: 99}}}}}),
		"no filter kind":  op(&storev1.Op{Request: &storev1.Op_Park{Park: &storev1.Park{Filter: &storev1.Filter{}}}}),
		"wrong wire type": {0x0a, 0x00},
		"cut short":       op(&storev1.Op{Request: &storev1.Op_Append{Append: &storev1.Append{Payloads: [][]byte{{1, 2, 3}}}}})[:6],
		"config kind 300": op(&storev1.Op{Attached: []*storev1.Config{{Kind: 300}}, Request: &storev1.Op_Unpark{Unpark: &storev1.Unpark{}}}),
		"too many items":  bytes.Join([][]byte{{0x8a, 0x01, 0x82, 0x80, 0x08}, bytes.Repeat([]byte{0x0a, 0x00}, itemsMax+1)}, nil),
	} {
		if id, err := decodeOp(b, time.Time{}, new(storeapi.Op)); err == nil {
			t.Errorf("%s: accepted as %d", name, id)
		}
	}
	for name, m := range map[string]*storev1.Reply{
		"no code":      {Id: 1},
		"unknown code": {Code: 99},
		"inner code":   {Code: 1, Result: &storev1.Reply_Append{Append: &storev1.AppendResult{Entries: []*storev1.Appended{{}}}}},
	} {
		b, _ := proto.Marshal(m)
		if _, reply, err := decodeReply(b); err == nil {
			t.Errorf("%s: accepted as %v", name, reply)
		}
	}
}

// TestPayloadsDoNotTouch: appending to one payload leaves its neighbour alone,
// though they share a message.
func TestPayloadsDoNotTouch(t *testing.T) {
	op := &storeapi.Op{Request: &storeapi.Append{Payloads: [][]byte{[]byte("one"), []byte("two")}}}
	var got storeapi.Op
	if _, err := decodeOp(appendOp(nil, 1, op, 0), time.Time{}, &got); err != nil {
		t.Fatal(err)
	}
	p := got.Request.(*storeapi.Append).Payloads
	_ = append(p[0], "XXXXXXXX"...)
	if string(p[1]) != "two" {
		t.Errorf("the second payload became %q", p[1])
	}
}

func FuzzDecodeOp(f *testing.F) {
	for _, q := range requests() {
		f.Add(appendOp(nil, 1, &storeapi.Op{Request: q, Deadline: time.UnixMilli(1), Attached: []storeapi.Config{{Kind: 1}}}, time.Second))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var op storeapi.Op
		id, err := decodeOp(b, time.UnixMilli(0), &op)
		if err != nil {
			return
		}
		var again storeapi.Op
		wire := appendOp(nil, id, &op, op.Deadline.Sub(time.UnixMilli(0)))
		if id2, err := decodeOp(wire, time.UnixMilli(0), &again); err != nil || id2 != id {
			t.Fatalf("%v, id %d then %d", err, id, id2)
		}
		if second := appendOp(nil, id, &again, again.Deadline.Sub(time.UnixMilli(0))); !bytes.Equal(wire, second) {
			t.Fatalf("encoded again differs:\n%x\n%x", wire, second)
		}
	})
}

func FuzzDecodeReply(f *testing.F) {
	for _, r := range results() {
		f.Add(appendReply(nil, 1, &storeapi.Reply{Code: storeapi.Ready, Result: r, Leader: "l", Detail: "d"}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		id, reply, err := decodeReply(b)
		if err != nil {
			return
		}
		wire := appendReply(nil, id, &reply)
		id2, again, err := decodeReply(wire)
		if err != nil || id2 != id {
			t.Fatalf("%v, id %d then %d", err, id, id2)
		}
		if second := appendReply(nil, id, &again); !bytes.Equal(wire, second) {
			t.Fatalf("encoded again differs:\n%x\n%x", wire, second)
		}
	})
}
