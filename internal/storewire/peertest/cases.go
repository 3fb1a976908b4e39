// SPDX-License-Identifier: Apache-2.0

package peertest

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
)

var cases = []struct {
	name string
	run  func(*testing.T, *Env)
}{
	{"a message is stored, leased, acknowledged and gone", lifeOfOne},
	{"payloads come back byte by byte, small and large", fidelity},
	{"a filter chooses by tag", filterByTag},
	{"a release makes the next delivery, counted or not", release},
	{"an ack of another delivery is refused", foreignAck},
	{"a lease that passes is a further attempt", leasePasses},
	{"a park ends when something can be taken", parkThenReady},
	{"a park ends at once when something is there", parkFindsSomething},
	{"an unpark ends a park", unpark},
	{"a declined turn goes to the next waiter", decline},
	{"nothing is stored after the deadline", pastDeadline},
	{"a message is found by id and by key", query},
	{"offsets tell what is there and what is done", offsets},
	{"every one of many operations is answered once", manyAtOnce},
}

func lifeOfOne(t *testing.T, e *Env) {
	e.expect(t, e.takeOf(1), storeapi.None)
	sent := e.store(t, text(1))
	got := e.take(t, e.takeOf(16), 1)
	m := &got.Messages[0]
	if m.Attempt != 1 || m.StoreMS == 0 || got.Grant == 0 || !bytes.Equal(m.Payload, sent[0]) {
		t.Fatalf("delivered %+v", m)
	}
	e.expect(t, e.takeOf(1), storeapi.None)
	ack := e.item(got, m, storeapi.Ack)
	e.settle(t, storeapi.OK, ack)
	e.settle(t, storeapi.OK, ack) // again: it is done, which is what was asked
	e.expect(t, e.takeOf(1), storeapi.None)
}

func fidelity(t *testing.T, e *Env) {
	big := Message{ID: "big", Body: bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)}
	var batch []Message
	for i := range 32 {
		m := text(i)
		m.Body = bytes.Repeat(m.Body, 1+i*4000)
		batch = append(batch, m)
	}
	sent := e.store(t, big)
	sent = append(sent, e.store(t, batch...)...)
	got := e.take(t, e.takeOf(len(sent)), len(sent))
	byID := make(map[string][]byte)
	for i := range got.Messages {
		id, _ := message.Text(message.Payload(got.Messages[i].Payload).Sys(), message.FieldMessageID)
		byID[id] = got.Messages[i].Payload
	}
	for _, p := range sent {
		id, _ := message.Text(message.Payload(p).Sys(), message.FieldMessageID)
		if !bytes.Equal(byID[id], p) {
			t.Errorf("message %s of %d bytes came back with %d bytes, or changed", id, len(p), len(byID[id]))
		}
	}
}

func filterByTag(t *testing.T, e *Env) {
	var ms []Message
	for i, tag := range []string{"a", "b", "", "c", "a"} {
		m := text(i)
		m.Tag = tag
		ms = append(ms, m)
	}
	e.store(t, ms...)
	q := e.takeOf(16)
	q.Filter = storeapi.Filter{Kind: storeapi.FilterTags, Tags: []string{"a", "c"}}
	got := e.take(t, q, 3)
	for i := range got.Messages {
		if tag, _ := message.Text(message.Payload(got.Messages[i].Payload).Sys(), message.FieldTag); tag != "a" && tag != "c" {
			t.Errorf("delivered a message with tag %q", tag)
		}
	}
}

func release(t *testing.T, e *Env) {
	e.store(t, text(1))
	attempt := int32(1)
	for _, noCount := range []bool{false, true, false} {
		got := e.take(t, e.takeOf(1), 1)
		if got.Messages[0].Attempt != attempt {
			t.Fatalf("attempt %d, want %d", got.Messages[0].Attempt, attempt)
		}
		back := e.item(got, &got.Messages[0], storeapi.Release)
		back.NoCount = noCount
		e.settle(t, storeapi.OK, back)
		if !noCount {
			attempt++
		}
		e.settle(t, storeapi.InvalidHandle, e.item(got, &got.Messages[0], storeapi.Ack))
	}
}

func foreignAck(t *testing.T, e *Env) {
	e.store(t, text(1))
	got := e.take(t, e.takeOf(1), 1)
	wrong := e.item(got, &got.Messages[0], storeapi.Ack)
	wrong.Grant += 8
	e.settle(t, storeapi.InvalidHandle, wrong)
	e.settle(t, storeapi.OK, e.item(got, &got.Messages[0], storeapi.Ack))
}

func leasePasses(t *testing.T, e *Env) {
	e.store(t, text(1))
	q := e.takeOf(1)
	q.InvisibleMS = 50
	first := e.take(t, q, 1)
	ready := e.ready(t, e.call(t, e.park(1)))
	q.InvisibleMS, q.Ticket = 60_000, ready.Ticket
	if second := e.take(t, q, 1); second.Messages[0].Attempt != 2 || second.Grant == first.Grant {
		t.Fatalf("after the lease passed: %+v", second)
	}
	e.settle(t, storeapi.InvalidHandle, e.item(first, &first.Messages[0], storeapi.Ack))
}

func (e *Env) park(id uint64) *storeapi.Park {
	return &storeapi.Park{ID: id, Group: e.Group, Topic: e.Topic, Client: "client"}
}

func (e *Env) ready(t *testing.T, r storeapi.Reply) *storeapi.ReadyResult {
	t.Helper()
	res, ok := r.Result.(*storeapi.ReadyResult)
	if r.Code != storeapi.Ready || !ok {
		t.Fatalf("a park was answered %+v, want Ready", r)
	}
	return res
}

func parkThenReady(t *testing.T, e *Env) {
	answers := e.start(t, e.park(7), time.Time{})
	select {
	case r := <-answers:
		t.Fatalf("answered %v though there is nothing", r.Code)
	default:
	}
	e.store(t, text(1))
	q := e.takeOf(1)
	q.Ticket = e.ready(t, wait(t, answers)).Ticket
	e.take(t, q, 1)
}

func parkFindsSomething(t *testing.T, e *Env) {
	e.store(t, text(1))
	q := e.takeOf(1)
	q.Ticket = e.ready(t, e.call(t, e.park(7))).Ticket
	e.take(t, q, 1)
}

func unpark(t *testing.T, e *Env) {
	answers := e.start(t, e.park(7), time.Time{})
	e.expect(t, &storeapi.Unpark{ID: 7}, storeapi.OK)
	if r := wait(t, answers); r.Code != storeapi.Canceled {
		t.Fatalf("the park was answered %v, want Canceled", r.Code)
	}
	e.expect(t, &storeapi.Unpark{ID: 7}, storeapi.OK)
	e.store(t, text(1))
	e.take(t, e.takeOf(1), 1)
}

func decline(t *testing.T, e *Env) {
	first := e.start(t, e.park(1), time.Time{})
	second := e.start(t, e.park(2), time.Time{})
	e.store(t, text(1))
	var won *storeapi.ReadyResult
	other := second
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case r := <-first:
		won = e.ready(t, r)
	case r := <-second:
		won, other = e.ready(t, r), first
	case <-limit.C:
		t.Fatal("no waiter was told")
	}
	e.expect(t, &storeapi.Decline{Ticket: won.Ticket}, storeapi.OK)
	q := e.takeOf(1)
	q.Ticket = e.ready(t, wait(t, other)).Ticket
	e.take(t, q, 1)
}

func pastDeadline(t *testing.T, e *Env) {
	q := &storeapi.Append{Topic: e.Topic, Payloads: [][]byte{e.payload(text(1))}}
	if r := wait(t, e.start(t, q, time.Now().Add(-time.Millisecond))); r.Code != storeapi.Expired {
		t.Fatalf("answered %v, want Expired", r.Code)
	}
	e.expect(t, e.takeOf(1), storeapi.None)
}

func query(t *testing.T, e *Env) {
	keyed := text(2)
	keyed.Keys = []string{"k1", "k2"}
	sent := e.store(t, text(1), keyed, text(3))
	for name, q := range map[string]*storeapi.Query{
		"by id":  {Topic: e.Topic, MessageID: "id-2", Max: 16},
		"by key": {Topic: e.Topic, Key: "k2", Max: 16},
	} {
		r := e.expect(t, q, storeapi.OK)
		res, ok := r.Result.(*storeapi.QueryResult)
		if !ok || len(res.Messages) != 1 || !bytes.Equal(res.Messages[0].Payload, sent[1]) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	r := e.expect(t, &storeapi.Query{Topic: e.Topic, MessageID: "nobody", Max: 16}, storeapi.OK)
	if res, ok := r.Result.(*storeapi.QueryResult); !ok || len(res.Messages) != 0 {
		t.Errorf("an unknown id: %+v", r)
	}
}

func offsets(t *testing.T, e *Env) {
	e.store(t, text(1), text(2), text(3))
	got := e.take(t, e.takeOf(2), 2)
	e.settle(t, storeapi.OK, e.item(got, &got.Messages[0], storeapi.Ack))
	r := e.expect(t, &storeapi.Offsets{Topic: e.Topic, Group: e.Group}, storeapi.OK)
	res, ok := r.Result.(*storeapi.OffsetsResult)
	if !ok || len(res.Queues) != 1 {
		t.Fatalf("answered %+v", r)
	}
	want := storeapi.QueueState{Next: 3, Ready: 1, InFlight: 1, Done: 1}
	if res.Queues[0] != want {
		t.Errorf("%+v, want %+v", res.Queues[0], want)
	}
}

func manyAtOnce(t *testing.T, e *Env) {
	const senders, each = 16, 100
	payloads := make([][]byte, senders*each)
	for i := range payloads {
		payloads[i] = e.payload(text(i))
	}
	var answers atomic.Int64
	var all sync.WaitGroup
	all.Add(senders * each)
	for s := range senders {
		go func() {
			for i := range each {
				q := &storeapi.Append{Topic: e.Topic, Payloads: payloads[s*each+i : s*each+i+1]}
				e.Peer.Submit([]*storeapi.Op{e.op(q, func(r storeapi.Reply) {
					if r.Code != storeapi.OK {
						t.Errorf("append: %v %s", r.Code, r.Detail)
					}
					answers.Add(1)
					all.Done()
				})})
			}
		}()
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
		t.Fatalf("%d of %d answers", answers.Load(), senders*each)
	}
	got := e.take(t, e.takeOf(256), senders*each)
	seen := make(map[string]bool)
	for i := range got.Messages {
		seen[string(got.Messages[i].Payload)] = true
	}
	if len(seen) != senders*each {
		t.Errorf("%d different messages, want %d", len(seen), senders*each)
	}
}
