// SPDX-License-Identifier: Apache-2.0

package storewire_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/internal/storewire/peertest"
)

// TestBrokenStream: what was written is unknown, and the next stream serves.
func TestBrokenStream(t *testing.T) {
	target := &script{}
	w := connect(t, target)
	a := make(answers, 8)
	for range 3 {
		a.submit(w.peer, &storeapi.Append{Payloads: [][]byte{[]byte("x")}}, time.Time{})
	}
	a.submit(w.peer, &storeapi.Park{ID: 1}, time.Time{})
	late := target.await(t, 4)
	w.grpc.Stop()
	w.serve()
	for range 4 {
		a.expect(t, storeapi.Unknown)
	}
	for _, op := range late {
		op.Done(ok) // nobody is there to hear it
	}
	w.up()
	target.take()
	a.submit(w.peer, &storeapi.Settle{}, time.Time{})
	for _, op := range target.await(t, 1) {
		op.Done(ok)
	}
	a.expect(t, storeapi.OK)
}

// TestNobodyThere: while no stream can be had, operations are refused, and the
// store is found when it comes back.
func TestNobodyThere(t *testing.T) {
	w := connect(t, peertest.NewStore())
	w.up()
	w.grpc.Stop()
	a := make(answers, 1)
	until(t, "operations are refused", func() bool {
		a.submit(w.peer, &storeapi.Offsets{}, time.Time{})
		return a.next(t).Code == storeapi.Unavailable
	})
	w.serve()
	w.up()
	a.submit(w.peer, &storeapi.Offsets{}, time.Time{})
	a.expect(t, storeapi.OK)
}

// TestBounds: beyond the named bounds operations are refused, Parks do not count
// against the others, and answers make room again.
func TestBounds(t *testing.T) {
	target := &script{}
	w := connect(t, target)
	a := make(answers, storeapi.ParksMax+storeapi.OpsMax)
	for range storeapi.OpsMax {
		a.submit(w.peer, &storeapi.Offsets{}, time.Time{})
	}
	a.submit(w.peer, &storeapi.Offsets{}, time.Time{})
	a.expect(t, storeapi.Overloaded)
	for i := range storeapi.ParksMax {
		a.submit(w.peer, &storeapi.Park{ID: uint64(i)}, time.Time{})
	}
	a.submit(w.peer, &storeapi.Park{ID: storeapi.ParksMax}, time.Time{})
	a.expect(t, storeapi.Overloaded)
	a.submit(w.peer, &storeapi.Settle{}, time.Time{}) // the write lane has its own
	for _, op := range target.await(t, storeapi.OpsMax+storeapi.ParksMax+1) {
		op.Done(ok)
	}
	for range storeapi.OpsMax + storeapi.ParksMax + 1 {
		a.expect(t, storeapi.OK)
	}
	a.submit(w.peer, &storeapi.Offsets{}, time.Time{})
	target.await(t, 1)[0].Done(ok)
	a.expect(t, storeapi.OK)
}

// TestBytesBound: at most BytesMax of payloads are on their way.
func TestBytesBound(t *testing.T) {
	target := &script{}
	w := connect(t, target)
	a := make(answers, 16)
	body := bytes.Repeat([]byte("x"), 4<<20)
	for range storeapi.BytesMax / len(body) {
		a.submit(w.peer, &storeapi.Append{Payloads: [][]byte{body}}, time.Time{})
	}
	a.submit(w.peer, &storeapi.Append{Payloads: [][]byte{[]byte("x")}}, time.Time{})
	a.expect(t, storeapi.Overloaded)
	a.submit(w.peer, &storeapi.Settle{}, time.Time{})
	for _, op := range target.await(t, storeapi.BytesMax/len(body)+1) {
		if q, isAppend := op.Request.(*storeapi.Append); isAppend && !bytes.Equal(q.Payloads[0], body) {
			t.Error("a body arrived changed")
		}
		op.Done(ok)
	}
	for range storeapi.BytesMax/len(body) + 1 {
		a.expect(t, storeapi.OK)
	}
}

// TestDeadlines: an operation that was not sent is answered Expired, one that
// was sent to a silent store Unknown, at its deadline and not much later.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &script{}
		w := connect(t, target)
		w.up()
		a := make(answers, 1)
		begin := time.Now()
		a.submit(w.peer, &storeapi.Park{ID: 1}, begin.Add(30*time.Second))
		a.submit(w.peer, &storeapi.Append{}, begin.Add(time.Second))
		a.expect(t, storeapi.Unknown)
		if d := time.Since(begin); d < time.Second || d > 1200*time.Millisecond {
			t.Errorf("answered after %v, want 1 s", d)
		}
		late := target.take()
		for _, op := range late {
			if _, parked := op.Request.(*storeapi.Park); !parked {
				op.Done(ok) // too late: it must not reach a later operation
			}
		}
		a.submit(w.peer, &storeapi.Settle{}, begin.Add(time.Minute))
		target.await(t, 1)[0].Done(storeapi.Reply{Code: storeapi.NotLeader, Leader: "there"})
		if r := a.expect(t, storeapi.NotLeader); r.Leader != "there" {
			t.Errorf("leader %q", r.Leader)
		}
		a.expect(t, storeapi.Unknown)
		if d := time.Since(begin); d < 30*time.Second || d > 30200*time.Millisecond {
			t.Errorf("the park was answered after %v, want 30 s", d)
		}
	})
}

// TestNeverSent: without a stream the deadline is kept as well.
func TestNeverSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := connect(t, &script{})
		w.up()
		<-w.listeners // nobody can dial any more: attempts hang
		defer func() { w.serve() }()
		w.grpc.Stop()
		synctest.Wait()
		a := make(answers, 1)
		begin := time.Now()
		a.submit(w.peer, &storeapi.Append{}, begin.Add(200*time.Millisecond))
		a.expect(t, storeapi.Expired)
		if d := time.Since(begin); d > 300*time.Millisecond {
			t.Errorf("answered after %v, want 200 ms", d)
		}
	})
}

// TestStreamBreakUndoes: a proxy that vanishes leaves no Park behind, and what
// was leased for it while its answer could not be sent is free again.
func TestStreamBreakUndoes(t *testing.T) {
	store := peertest.NewStore()
	target := &gate{Store: store, open: make(chan struct{})}
	w := connect(t, target)
	e := &peertest.Env{Peer: store, Shard: 1, Topic: 2, Group: 3, Proxy: 4}
	peertest.Fill(t, e, 1)
	a := make(answers, 8)
	a.submit(w.peer, &storeapi.Park{ID: 1, Topic: 9, Group: 3}, time.Time{})
	until(t, "the park is there", func() bool { return store.Parked() == 1 })
	a.submit(w.peer, &storeapi.Take{Topic: 2, Group: 3, Max: 1, InvisibleMS: 60_000}, time.Time{})
	until(t, "the message is leased", func() bool { return store.Leased() == 1 })
	w.grpc.Stop()
	a.expect(t, storeapi.Unknown)
	a.expect(t, storeapi.Unknown)
	until(t, "the park is gone", func() bool { return store.Parked() == 0 })
	close(target.open)
	until(t, "the lease was given back", func() bool { return store.Leased() == 0 })
	w.serve()
}

// gate is a store whose answers to Takes wait until it is open.
type gate struct {
	*peertest.Store
	open chan struct{}
}

func (g *gate) Submit(ops []*storeapi.Op) {
	for _, op := range ops {
		if _, take := op.Request.(*storeapi.Take); take {
			done := op.Done
			op.Done = func(r storeapi.Reply) {
				go func() { <-g.open; done(r) }()
			}
		}
	}
	g.Store.Submit(ops)
}

// TestParkNumbers: two proxies may use the same number.
func TestParkNumbers(t *testing.T) {
	store := peertest.NewStore()
	one := connect(t, store)
	other := one.join()
	a, b := make(answers, 2), make(answers, 2)
	a.submit(one.peer, &storeapi.Park{ID: 1, Topic: 2, Group: 3}, time.Time{})
	b.submit(other, &storeapi.Park{ID: 1, Topic: 2, Group: 3}, time.Time{})
	until(t, "both are parked", func() bool { return store.Parked() == 2 })
	a.submit(one.peer, &storeapi.Unpark{ID: 1}, time.Time{})
	codes := map[storeapi.Code]int{a.next(t).Code: 1, a.next(t).Code: 1}
	if codes[storeapi.OK] != 1 || codes[storeapi.Canceled] != 1 {
		t.Fatalf("answers %v", codes)
	}
	if store.Parked() != 1 {
		t.Fatal("the other proxy's park has ended as well")
	}
	b.submit(other, &storeapi.Park{ID: 1, Topic: 2, Group: 3}, time.Time{})
	b.expect(t, storeapi.Invalid) // but not twice
}

// TestDrain: a stopping store answers all that it has read and ends the parks;
// later operations are refused until the next store is there.
func TestDrain(t *testing.T) {
	target := &script{}
	w := connect(t, target)
	a := make(answers, 8)
	a.submit(w.peer, &storeapi.Append{}, time.Time{})
	a.submit(w.peer, &storeapi.Park{ID: 1}, time.Time{})
	ops := target.await(t, 2)
	drained := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() { drained <- w.server.Drain(ctx) }()
	a.expect(t, storeapi.Unavailable) // the park
	until(t, "new operations are refused", func() bool {
		a.submit(w.peer, &storeapi.Settle{}, time.Time{})
		select {
		case r := <-a:
			return r.Code == storeapi.Unavailable
		default: // it was accepted just before the news
			return false
		}
	})
	select {
	case err := <-drained:
		t.Fatalf("drained (%v) while an operation was unanswered", err)
	default:
	}
	for _, op := range append(ops, target.take()...) {
		if _, write := op.Request.(*storeapi.Append); write {
			op.Done(ok)
		}
		if _, write := op.Request.(*storeapi.Settle); write {
			op.Done(ok)
		}
	}
	a.expect(t, storeapi.OK)
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	w.grpc.Stop()
	w.serve()
	w.up()
}

// TestDrainTimeout: a proxy that does not go is named in the error's count.
func TestDrainTimeout(t *testing.T) {
	target := &script{}
	w := connect(t, target)
	a := make(answers, 1)
	a.submit(w.peer, &storeapi.Append{}, time.Time{})
	target.await(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.server.Drain(ctx); err == nil {
		t.Fatal("drained though an operation is unanswered")
	}
}

// panicky is a target that panics at Decline.
type panicky struct{ *peertest.Store }

func (p panicky) Submit(ops []*storeapi.Op) {
	for _, op := range ops {
		if _, bad := op.Request.(*storeapi.Decline); bad {
			panic("injected")
		}
	}
	p.Store.Submit(ops)
}

// TestPanic: a panic ends one stream, nothing else, and is counted.
func TestPanic(t *testing.T) {
	w := connect(t, panicky{peertest.NewStore()})
	w.up()
	a := make(answers, 1)
	a.submit(w.peer, &storeapi.Decline{}, time.Time{})
	a.expect(t, storeapi.Unknown)
	if n := w.server.Panics(); n != 1 {
		t.Errorf("%d panics counted", n)
	}
	a.submit(w.peer, &storeapi.Settle{}, time.Time{})
	a.expect(t, storeapi.OK)
	w.up()
	a.submit(w.peer, &storeapi.Offsets{}, time.Time{})
	a.expect(t, storeapi.OK)
}

// TestEnd: when Run ends, everything is answered.
func TestEnd(t *testing.T) {
	a := make(answers, 8)
	t.Run("running", func(t *testing.T) {
		target := &script{}
		w := connect(t, target)
		a.submit(w.peer, &storeapi.Append{}, time.Time{})
		a.submit(w.peer, &storeapi.Park{ID: 1}, time.Time{})
		target.await(t, 2)
	})
	a.expect(t, storeapi.Unknown)
	a.expect(t, storeapi.Unknown)
}

// TestUnsound: operations that the far end would not take are refused, and harm no other.
func TestUnsound(t *testing.T) {
	target := &script{}
	w := connect(t, target)
	w.up()
	under, a := make(answers, 1), make(answers, 1)
	under.submit(w.peer, &storeapi.Append{}, time.Time{})
	held := target.await(t, 1)
	tags := slices.Repeat([]string{"a tag of some length"}, 1<<16)
	wide := storeapi.Filter{Kind: storeapi.FilterTags, Tags: tags}
	signs := slices.Repeat([]storeapi.ClientSign{{Client: "c", Subscriptions: []storeapi.Subscription{{Filter: wide}}}}, 40)
	for name, q := range map[string]storeapi.Request{
		"items":           &storeapi.Settle{Items: make([]storeapi.SettleItem, 1<<16+1)},
		"unknown":         nil,
		"tags of a sign":  &storeapi.Alive{Signs: []storeapi.ClientSign{{Subscriptions: []storeapi.Subscription{{Filter: storeapi.Filter{Tags: append(tags, "")}}}}}},
		"bytes of signs":  &storeapi.Alive{Signs: signs},
		"text of a query": &storeapi.Query{Key: strings.Repeat("k", 40<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			a.submit(w.peer, q, time.Time{})
			a.expect(t, storeapi.Invalid)
		})
	}
	held[0].Done(ok)
	under.expect(t, storeapi.OK)
}
