// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

func TestLateAck(t *testing.T) {
	for _, late := range []bool{false, true} {
		st := newStage(t, 1, 1)
		st.d.ApplyGroupConfig(st.key.Group, GroupConfig{AttemptsMax: 3, LateAck: late})
		h, got := st.receive(1, Filter{})
		it := st.item(h, got[0])
		st.nowMS += 1000
		extend := it
		extend.Verdict, extend.MS = record.VerdictExtend, 1000
		if r := st.d.ApplySettle(st.header(), []record.SettleItem{extend}, nil)[0]; r != InvalidHandle {
			t.Fatalf("late extend: %v", r)
		}
		if r := st.d.ApplySettle(st.header(), []record.SettleItem{it}, nil)[0]; r.OK() != late {
			t.Fatalf("late ack allowed %v: %v", late, r)
		}
	}
}

func TestLateAckOfAnEarlierDelivery(t *testing.T) {
	st := newStage(t, 1, 1)
	st.d.ApplyGroupConfig(st.key.Group, GroupConfig{AttemptsMax: 3, LateAck: true})
	h, got := st.receive(1, Filter{})
	it := st.item(h, got[0])
	st.nowMS += 1000
	st.receive(1, Filter{})
	if r := st.d.ApplySettle(st.header(), []record.SettleItem{it}, nil)[0]; r != InvalidHandle {
		t.Fatalf("ack of the earlier delivery: %v", r)
	}
}

// All handles of one delivery are the same handle: extending changes no name,
// and may be repeated.
func TestExtendKeepsTheName(t *testing.T) {
	st := newStage(t, 1, 1)
	h, got := st.receive(1, Filter{})
	it := st.item(h, got[0])
	it.Verdict, it.MS = record.VerdictExtend, 1000
	for range 10 {
		st.nowMS += 900
		if r := st.d.ApplySettle(st.header(), []record.SettleItem{it}, nil)[0]; r != Settled {
			t.Fatal(r)
		}
	}
	st.ack(h, got[0])
}

func TestOldGeneration(t *testing.T) {
	st := newStage(t, 1, 5)
	h, got := st.receive(5, Filter{})
	it := st.item(h, got[0])
	before := st.choose(5, Filter{})
	if !st.d.ApplyReset(st.header(), &record.GroupReset{Group: 7, Topic: 9, Generation: 1}) {
		t.Fatal("reset is stale")
	}
	if r := st.d.ApplySettle(st.header(), []record.SettleItem{it}, nil)[0]; r != OldGeneration || !r.OK() {
		t.Fatal(r)
	}
	it.Verdict = record.VerdictRelease
	if r := st.d.ApplySettle(st.header(), []record.SettleItem{it}, nil)[0]; r != InvalidHandle {
		t.Fatal(r)
	}
	st.s.Applied(before)
	h, got = st.receive(5, Filter{})
	if len(got) != 5 || got[0].Attempts != 1 {
		t.Fatalf("after the reset: %v", got)
	}
	st.ack(h, got...)
}

func TestUnknownGroupHasNoState(t *testing.T) {
	d := New()
	var out GrantOutcome
	h := &record.Header{LSN: 8, Term: 1, TimeMS: 1000}
	item := record.GrantItem{Runs: []record.Run{{Kind: record.RunLease, Count: 1}}}
	d.ApplyGrant(h, &record.PopGrant{Group: 1, Topic: 1, Items: []record.GrantItem{item}}, &out)
	d.ApplyReset(h, &record.GroupReset{Group: 1, Topic: 1, Generation: 1})
	d.ApplyStart(Key{1, 1}, Start{Kind: record.StartTime})
	d.ApplyOffsetCommit(h, &record.OffsetCommit{Items: []record.OffsetItem{{Group: 1, Topic: 1, Offset: 5}}})
	if r := d.ApplySettle(h, []record.SettleItem{{Group: 1, Topic: 1}}, nil)[0]; r != InvalidHandle {
		t.Fatal(r)
	}
	if !out.Stale || len(d.pairs) != 0 {
		t.Fatalf("%+v, %d pairs", out, len(d.pairs))
	}
}

// Messages that retention took count as expired, whatever state they were in,
// and the sum of all states stays the number of messages.
func TestTrimCounts(t *testing.T) {
	st := newStage(t, 1, 1000)
	h, got := st.receive(100, Filter{})
	st.ack(h, got[:40]...)
	st.d.ApplyTrim(st.key.Topic, 0, 70)
	s, _ := st.d.Stats(st.key)
	if s.Acked != 40 || s.Expired != 30 || s.InFlight != 30 || s.Done != 70 {
		t.Fatalf("%+v", s)
	}
	it := st.item(h, got[50])
	if r := st.d.ApplySettle(st.header(), []record.SettleItem{it}, nil)[0]; r != AlreadyDone {
		t.Fatalf("ack of a trimmed offset: %v", r)
	}
	st.d.ApplyTrim(st.key.Topic, 0, 500)
	s, _ = st.d.Stats(st.key)
	if s.Expired != 460 || s.InFlight != 0 || s.Done != 500 || st.d.chunks.used != 0 {
		t.Fatalf("%+v, %d chunks", s, st.d.chunks.used)
	}
	st.queues[0].Min = 500
	if _, got := st.receive(1, Filter{}); got[0].Offset != 500 {
		t.Fatalf("%v", got)
	}
}

// A stuck head costs its chunk, not the span behind it.
func TestStuckHead(t *testing.T) {
	st := newStage(t, 1, 200_000)
	for range 200 {
		h, got := st.receive(1000, Filter{})
		if got[0].Offset == 0 {
			got = got[1:]
		}
		st.ack(h, got...)
	}
	if st.d.chunks.used != 1 || len(st.d.queues.at(1).chunks) != 1 {
		t.Fatalf("%d chunks", st.d.chunks.used)
	}
	if p, _ := st.d.Position(st.key, 0); p.Floor != 0 || p.Next != 200_000 || p.InFlight != 1 {
		t.Fatalf("%+v", p)
	}
}

// Memory that a burst took is given back when it is over.
func TestNothingIsLeftOfABurst(t *testing.T) {
	st := newStage(t, 8, 5_000)
	h, got := st.receive(40_000, Filter{})
	for i := len(got) - 1; i >= 0; i -= 3 {
		st.ack(h, got[i])
	}
	for i := range got {
		if (len(got)-1-i)%3 != 0 {
			st.ack(h, got[i])
		}
	}
	d := st.d
	if d.chunks.used+d.slabs.used+d.grants.used != 0 || len(d.heap) != 0 || d.queues.used != 8 {
		t.Fatalf("%d chunks, %d slabs, %d grants, %d in the heap", d.chunks.used, d.slabs.used, d.grants.used, len(d.heap))
	}
	if len(d.chunks.pages)+len(d.slabs.pages)+len(d.grants.pages) != 3 {
		t.Fatalf("pages: %d, %d, %d", len(d.chunks.pages), len(d.slabs.pages), len(d.grants.pages))
	}
	for _, qi := range d.pairs[st.key].order {
		if q := d.queues.at(qi); len(q.chunks) != 0 || q.holes != 0 {
			t.Fatalf("queue %d: %d chunks, %d holes", q.id, len(q.chunks), q.holes)
		}
	}
}

func TestCommittedOffsetsDoNotGoBack(t *testing.T) {
	st := newStage(t, 1, 10)
	commit := func(g ident.Generation, o ident.Offset) {
		st.d.ApplyOffsetCommit(st.header(), &record.OffsetCommit{Items: []record.OffsetItem{
			{Group: st.key.Group, Topic: st.key.Topic, Generation: g, Queue: 3, Offset: o},
		}})
	}
	for _, o := range []ident.Offset{5, 9, 7} {
		commit(0, o)
	}
	if o, ok := st.d.Committed(st.key, 3); !ok || o != 9 {
		t.Fatalf("%d %v", o, ok)
	}
	st.d.ApplyReset(st.header(), &record.GroupReset{Group: st.key.Group, Topic: st.key.Topic, Generation: 1})
	commit(0, 9)
	if o, ok := st.d.Committed(st.key, 3); ok {
		t.Fatalf("a position from before the reset: %d", o)
	}
}

// Dues do not wrap when log time leaps over weeks: what had passed stays
// passed, what had not keeps its due to the millisecond.
func TestLogTimeLeaps(t *testing.T) {
	const day = 24 * 60 * 60 * 1000
	st := newStage(t, 2, 1)
	st.grant(st.choose(1, Filter{}), record.PopGrant{InvisibleMS: day})
	st.grant(st.choose(1, Filter{}), record.PopGrant{InvisibleMS: 40 * day})
	want := st.nowMS + 40*day
	for range 13 {
		st.nowMS += 3 * day
		st.d.ApplyOffsetCommit(st.header(), &record.OffsetCommit{})
		if l := st.d.Lookup(st.key, 1, 0); l.DueMS != want {
			t.Fatalf("due %d, want %d", l.DueMS, want)
		}
		if l := st.d.Lookup(st.key, 0, 0); l.DueMS > st.nowMS {
			t.Fatalf("came back to life: due in %d", l.DueMS-st.nowMS)
		}
	}
	if st.d.epochMS == stageStartMS {
		t.Fatal("the epoch never moved")
	}
	if _, got := st.receive(2, Filter{}); len(got) != 1 || got[0].Queue != 0 {
		t.Fatalf("%v", got)
	}
}

func TestTwoDropsLeaveNothing(t *testing.T) {
	st := newStage(t, 2, 100)
	st.grant(st.choose(50, Filter{}), record.PopGrant{InvisibleMS: 1000, Owner: "anna"})
	st.d.DropTopic(st.key.Topic)
	st.d.DropTopic(st.key.Topic)
	st.d.DropGroup(st.key.Group)
	d := st.d
	if len(d.pairs)+len(d.byTopic)+len(d.byOwner)+len(d.groups) != 0 || d.queues.used+d.chunks.used+d.slabs.used+d.grants.used != 0 {
		t.Fatal("something is left")
	}
	if len(st.s.Woken(nil)) != 0 {
		t.Fatal("woken for what is gone")
	}
	if _, ok := d.Config(st.key.Group); ok {
		t.Fatal("the group is known")
	}
}
