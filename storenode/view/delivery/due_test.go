// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

// exhaust lets n offsets have all their attempts and pass.
func (st *stage) exhaust(n int) *record.Header {
	st.t.Helper()
	var h *record.Header
	for range 3 {
		var got []Granted
		if h, got = st.receive(n, Filter{}); len(got) != n {
			st.t.Fatalf("%d of %d", len(got), n)
		}
		st.nowMS += 1000
		st.woken()
	}
	return h
}

func (st *stage) deadLetter(e Exhaustion) bool {
	return st.d.ApplyDeadLetter(st.header(), &record.DeadLetter{
		Group: e.Key.Group, Topic: e.Key.Topic, Generation: e.Generation, Queue: e.Queue, Offset: e.Offset,
		Grant: e.Grant, Reason: record.ReasonAttempts,
	})
}

func TestExhaustedIsReportedOnceAndBuriedOnce(t *testing.T) {
	st := newStage(t, 1, 100)
	h := st.exhaust(100)
	if got := st.choose(100, Filter{}); !got.Empty() {
		t.Fatalf("exhausted offsets are received: %v", got.Picks)
	}
	all := st.s.Exhausted(nil, st.nowMS, 30)
	if len(all) != 30 {
		t.Fatalf("%d reported, asked for 30", len(all))
	}
	all = st.s.Exhausted(all, st.nowMS, 1000)
	if len(all) != 100 || all[0].Grant != h.LSN || all[0].Attempts != 3 {
		t.Fatalf("%d reported; the first is %+v", len(all), all[0])
	}
	if _, ok := st.s.NextDueMS(); ok {
		t.Fatal("what is on its way to the dead letters keeps the timer busy")
	}
	if again := st.s.Exhausted(nil, st.nowMS+5000, 10); len(again) != 0 {
		t.Fatalf("reported again: %v", again)
	}
	for _, e := range all {
		if !st.deadLetter(e) {
			t.Fatalf("not buried: %+v", e)
		}
		if st.deadLetter(e) {
			t.Fatalf("buried twice: %+v", e)
		}
	}
	if s, _ := st.d.Stats(st.key); s.DeadLettered != 100 || s.InFlight != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestExhaustedThatCannotBeBuriedComesAgain(t *testing.T) {
	st := newStage(t, 1, 1)
	st.exhaust(1)
	e := st.s.Exhausted(nil, st.nowMS, 10)
	st.s.Retry(e[0], st.nowMS+500)
	if next, ok := st.s.NextDueMS(); !ok || next != st.nowMS+500 {
		t.Fatalf("looked at again at %d %v, now is %d", next, ok, st.nowMS)
	}
	st.woken()
	if got := st.s.Exhausted(nil, st.nowMS, 10); len(got) != 0 {
		t.Fatalf("at once: %v", got)
	}
	st.nowMS += 500
	st.woken()
	if got := st.s.Exhausted(nil, st.nowMS, 10); len(got) != 1 {
		t.Fatalf("later: %v", got)
	}
}

// A sign of life that comes between the report and its entry keeps the lease,
// and the offset is reported again when that has passed.
func TestRenewedLeaseIsNotBuried(t *testing.T) {
	st := newStage(t, 1, 1)
	st.d.ApplyGroupConfig(st.key.Group, GroupConfig{AttemptsMax: 1})
	st.grant(st.choose(1, Filter{}), record.PopGrant{InvisibleMS: 1000, Owner: "anna"})
	st.nowMS += OwnerTTLMS
	st.woken()
	e := st.s.Exhausted(nil, st.nowMS, 10)
	if len(e) != 1 {
		t.Fatalf("%v", e)
	}
	st.d.ApplyRenew(st.header(), &record.Renew{Items: st.d.AppendRenewals(nil, 0, record.RenewItem{Owner: "anna", TTLMS: 30_000})})
	if st.deadLetter(e[0]) {
		t.Fatal("buried though renewed")
	}
	st.nowMS += 30_000
	st.woken()
	if e = st.s.Exhausted(nil, st.nowMS, 10); len(e) != 1 || !st.deadLetter(e[0]) {
		t.Fatalf("afterwards: %v", e)
	}
}

func TestMoreAttemptsReviveExhausted(t *testing.T) {
	st := newStage(t, 1, 1)
	st.exhaust(1)
	st.d.ApplyGroupConfig(st.key.Group, GroupConfig{AttemptsMax: 4})
	if !st.woken() {
		t.Fatal("nobody is told")
	}
	if _, got := st.receive(1, Filter{}); len(got) != 1 || got[0].Attempts != 4 {
		t.Fatalf("%v", got)
	}
}

func TestReleaseWakesWhenDue(t *testing.T) {
	st := newStage(t, 1, 1)
	h, got := st.receive(1, Filter{})
	st.woken()
	if r := st.release(h, got[0], 300, true); r != Settled {
		t.Fatal(r)
	}
	if st.woken() {
		t.Fatal("woken before the release is due")
	}
	if next, _ := st.s.NextDueMS(); next != st.nowMS+300 {
		t.Fatalf("next due at %d, now is %d", next, st.nowMS)
	}
	st.nowMS += 300
	if !st.woken() {
		t.Fatal("not woken")
	}
	if _, again := st.receive(1, Filter{}); again[0].Attempts != 1 {
		t.Fatalf("a release without count counted: %v", again)
	}
}

func TestTermination(t *testing.T) {
	st := newStage(t, 3, 1)
	st.grant(st.choose(1, Filter{}), record.PopGrant{InvisibleMS: 10_000, Owner: "anna"}) // queue 0
	st.nowMS += 5_000
	st.grant(st.choose(1, Filter{}), record.PopGrant{InvisibleMS: 60_000, Owner: "anna"}) // queue 1
	farewell := st.d.AppendRenewals(nil, 0, record.RenewItem{Owner: "anna", Terminated: true})
	st.d.ApplyRenew(st.header(), &record.Renew{Items: farewell})
	due := func(q ident.Queue) int64 { return st.d.Lookup(st.key, q, 0).DueMS - st.nowMS }
	if due(0) != TerminatedTTLMS || due(1) != 60_000 {
		t.Fatalf("due in %d and %d ms", due(0), due(1))
	}
	if signs := st.d.AppendRenewals(nil, 0, record.RenewItem{Owner: "anna"}); len(signs) != 0 {
		t.Fatalf("a client that said goodbye has its leases renewed: %v", signs)
	}
	st.d.ApplyRenew(st.header(), &record.Renew{Items: []record.RenewItem{
		{Group: st.key.Group, Topic: st.key.Topic, Owner: "anna", TTLMS: 90_000},
	}})
	if due(0) != TerminatedTTLMS {
		t.Fatalf("renewed to %d", due(0))
	}
	st.grant(st.choose(1, Filter{}), record.PopGrant{InvisibleMS: 60_000, Owner: "anna"}) // queue 2: it is back
	if due(0) != OwnerTTLMS {
		t.Fatalf("back, and due in %d", due(0))
	}
}

func TestLeaseCap(t *testing.T) {
	st := newStage(t, 1, 1)
	st.grant(st.choose(1, Filter{}), record.PopGrant{InvisibleMS: 60_000, Owner: "anna"})
	until := st.nowMS + LeaseCapMS
	for st.nowMS < until {
		st.woken()
		if len(st.choose(1, Filter{}).Picks) > 0 {
			t.Fatalf("received again %d ms before the cap", until-st.nowMS)
		}
		st.d.ApplyRenew(st.header(), &record.Renew{Items: st.d.AppendRenewals(nil, st.key.Group, record.RenewItem{Owner: "anna", TTLMS: OwnerTTLMS})})
		st.nowMS += 10_000
	}
	if len(st.choose(1, Filter{}).Picks) == 0 {
		t.Fatal("renewed beyond the cap")
	}
}

func TestLeaderChangeKeepsTheLivingAndRevivesNobody(t *testing.T) {
	st := newStage(t, 2, 1)
	st.grant(st.choose(1, Filter{}), record.PopGrant{InvisibleMS: 60_000, Owner: "dead"})
	st.nowMS += 70_000
	st.grant(st.choose(1, Filter{}), record.PopGrant{InvisibleMS: 60_000, Owner: "alive"})
	prev := st.nowMS
	st.nowMS += 65_000
	st.d.ApplyTermStart(st.header(), prev)
	if st.d.Lookup(st.key, 0, 0).DueMS > st.nowMS {
		t.Fatal("revived")
	}
	if due := st.d.Lookup(st.key, 1, 0).DueMS - st.nowMS; due != OwnerTTLMS {
		t.Fatalf("due in %d", due)
	}
}

// Many leases that pass in one second are found in bounded steps, and
// what passed before them is found first.
func TestManyFallDueAtOnce(t *testing.T) {
	const many = 300_000
	st := newStage(t, 4, 100_000)
	st.setup = func(r *SelectRequest) { r.InFlightMax, r.QueueInFlightMax = 1<<30, 1<<30 }
	other := Key{7, 10}
	first := st.key
	st.key = other
	st.receive(10, Filter{})
	st.key = first
	st.nowMS += 10
	st.receive(many, Filter{})
	st.nowMS += 1000
	st.s.Woken(nil)
	steps := 1
	if !st.s.Advance(st.nowMS) {
		t.Fatal("all in one step")
	}
	if woken := st.s.Woken(nil); len(woken) == 0 || woken[0] != other {
		t.Fatalf("first woken: %v", woken)
	}
	for st.s.Advance(st.nowMS) {
		steps++
	}
	if want := many / chunkLen / advanceChunksMax; steps < want || steps > want+2 {
		t.Fatalf("%d steps", steps)
	}
	if _, ok := st.s.NextDueMS(); ok {
		t.Fatal("listed leases keep the timer busy")
	}
	if _, got := st.receive(many, Filter{}); len(got) != many {
		t.Fatalf("%d received again", len(got))
	}
}
