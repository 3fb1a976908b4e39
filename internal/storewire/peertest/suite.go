// SPDX-License-Identifier: Apache-2.0

package peertest

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
)

// patience is how long a case waits for an answer before it fails.
const patience = 20 * time.Second

// Peer is what the suite judges.
type Peer interface{ Submit([]*storeapi.Op) }

// Env is one fresh store as a proxy sees it: a shard with an empty topic, and a
// group that begins at the topic's start.
type Env struct {
	Peer  Peer
	Shard ident.Shard
	Topic ident.Topic
	Group ident.Group
	// TopicRevision and GroupRevision go into each operation.
	TopicRevision, GroupRevision int64
	// Proxy is the incarnation that stamps messages; not 0.
	Proxy uint64

	seq uint64
}

// Run runs the suite; open is called once per case.
func Run(t *testing.T, open func(t *testing.T) *Env) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// op makes an operation on the environment's shard.
func (e *Env) op(q storeapi.Request, done func(storeapi.Reply)) *storeapi.Op {
	return &storeapi.Op{
		Shard: e.Shard, TopicRevision: e.TopicRevision, GroupRevision: e.GroupRevision, Request: q, Done: done,
	}
}

// start submits one operation and returns where its answer arrives. A second
// answer fails the test.
func (e *Env) start(t *testing.T, q storeapi.Request, deadline time.Time) <-chan storeapi.Reply {
	t.Helper()
	answers := make(chan storeapi.Reply, 1)
	op := e.op(q, func(r storeapi.Reply) {
		select {
		case answers <- r:
		default:
			t.Errorf("%T was answered twice; the second answer is %v", q, r.Code)
		}
	})
	op.Deadline = deadline
	e.Peer.Submit([]*storeapi.Op{op})
	return answers
}

// wait returns the answer.
func wait(t *testing.T, answers <-chan storeapi.Reply) storeapi.Reply {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case r := <-answers:
		return r
	case <-limit.C:
		t.Fatal("no answer")
		return storeapi.Reply{}
	}
}

// call submits one operation and waits for its answer.
func (e *Env) call(t *testing.T, q storeapi.Request) storeapi.Reply {
	t.Helper()
	return wait(t, e.start(t, q, time.Time{}))
}

// expect is call for an answer with that code.
func (e *Env) expect(t *testing.T, q storeapi.Request, code storeapi.Code) storeapi.Reply {
	t.Helper()
	r := e.call(t, q)
	if r.Code != code {
		t.Fatalf("%T was answered %v (%s), want %v", q, r.Code, r.Detail, code)
	}
	return r
}

// Message is what the suite puts into a payload.
type Message struct {
	ID, Tag string
	Keys    []string
	Body    []byte
}

// payload encodes a message as a proxy would.
func (e *Env) payload(m Message) []byte {
	e.seq++
	h := message.Head{
		Topic: e.Topic, Proxy: e.Proxy, Seq: e.seq, IDHash: ident.Hash64(m.ID), BornMS: time.Now().UnixMilli(),
	}
	var sys []byte
	text := func(num protowire.Number, s string) {
		sys = protowire.AppendString(protowire.AppendTag(sys, num, protowire.BytesType), s)
	}
	if m.Tag != "" {
		h.TagHash = ident.Hash32(m.Tag)
		text(message.FieldTag, m.Tag)
	}
	for _, k := range m.Keys {
		h.KeyHashes = append(h.KeyHashes, ident.Hash32(k))
		text(message.FieldKeys, k)
	}
	text(message.FieldMessageID, m.ID)
	const body protowire.Number = 4
	rest := protowire.AppendBytes(protowire.AppendTag(nil, body, protowire.BytesType), m.Body)
	return message.Append(nil, &h, sys, rest)
}

// text is a message with a short body.
func text(i int) Message {
	return Message{ID: fmt.Sprintf("id-%d", i), Body: fmt.Appendf(nil, "body %d", i)}
}

// store appends messages in one operation and returns their payloads.
func (e *Env) store(t *testing.T, messages ...Message) [][]byte {
	t.Helper()
	q := &storeapi.Append{Topic: e.Topic}
	for _, m := range messages {
		q.Payloads = append(q.Payloads, e.payload(m))
	}
	r := e.expect(t, q, storeapi.OK)
	res, ok := r.Result.(*storeapi.AppendResult)
	if !ok || len(res.Entries) != len(messages) {
		t.Fatalf("append of %d was answered %+v", len(messages), r)
	}
	for i, a := range res.Entries {
		if a.Code != storeapi.OK || a.LSN == 0 {
			t.Fatalf("message %d: %+v", i, a)
		}
	}
	return q.Payloads
}

func (e *Env) takeOf(most int) *storeapi.Take {
	return &storeapi.Take{Group: e.Group, Topic: e.Topic, Max: most, BytesMax: 16 << 20, InvisibleMS: 60_000, Client: "client"}
}

// take leases exactly want messages.
func (e *Env) take(t *testing.T, q *storeapi.Take, want int) *storeapi.TakeResult {
	t.Helper()
	all := &storeapi.TakeResult{}
	for len(all.Messages) < want {
		r := e.expect(t, q, storeapi.OK)
		res, ok := r.Result.(*storeapi.TakeResult)
		if !ok || len(res.Messages) == 0 {
			t.Fatalf("OK without messages: %+v", r)
		}
		for i := range res.Messages {
			if res.Messages[i].Grant == 0 {
				res.Messages[i].Grant = res.Grant
			}
		}
		all.Grant, all.Term, all.Generation, all.DueMS = res.Grant, res.Term, res.Generation, res.DueMS
		all.Messages = append(all.Messages, res.Messages...)
	}
	if len(all.Messages) > want {
		t.Fatalf("%d messages, want %d", len(all.Messages), want)
	}
	return all
}

// item names one leased message for a Settle.
func (e *Env) item(r *storeapi.TakeResult, m *storeapi.Taken, v storeapi.Verdict) storeapi.SettleItem {
	return storeapi.SettleItem{
		Delivery: storeapi.Delivery{
			Group: e.Group, Topic: e.Topic, Generation: r.Generation, Queue: m.Queue, Offset: m.Offset, Term: r.Term, Grant: m.Grant,
		},
		Verdict: v,
	}
}

// settle settles items and demands a code for each.
func (e *Env) settle(t *testing.T, want storeapi.Code, items ...storeapi.SettleItem) {
	t.Helper()
	r := e.expect(t, &storeapi.Settle{Items: items}, storeapi.OK)
	res, ok := r.Result.(*storeapi.SettleResult)
	if !ok || len(res.Codes) != len(items) {
		t.Fatalf("settle of %d was answered %+v", len(items), r)
	}
	for i, c := range res.Codes {
		if c != want {
			t.Fatalf("item %d: %v, want %v", i, c, want)
		}
	}
}

// Fill stores n short messages through the environment's peer.
func Fill(t *testing.T, e *Env, n int) {
	t.Helper()
	for i := range n {
		e.store(t, text(i))
	}
}
