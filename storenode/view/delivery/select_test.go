// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

func TestTurns(t *testing.T) {
	st := newStage(t, 4, 100)
	_, got := st.receive(8, Filter{})
	if diff := gocmp.Diff(map[ident.Queue]int{0: 2, 1: 2, 2: 2, 3: 2}, perQueue(got)); diff != "" {
		t.Fatal("one receive takes from all queues alike: ", diff)
	}
	total := map[ident.Queue]int{}
	for range 40 {
		_, got := st.receive(3, Filter{})
		for q, n := range perQueue(got) {
			total[q] += n
		}
	}
	for q := range ident.Queue(4) {
		if total[q] != 30 {
			t.Fatalf("40 receives of 3 took %v", total)
		}
	}
}

func TestTurnsGiveWhatOthersDoNotUse(t *testing.T) {
	st := newStage(t, 3, 100)
	st.queues[0].Next, st.queues[1].Next = 1, 0
	_, got := st.receive(32, Filter{})
	if diff := gocmp.Diff(map[ident.Queue]int{0: 1, 2: 31}, perQueue(got)); diff != "" {
		t.Fatal(diff)
	}
}

func TestRetriesAndFreshShareABatch(t *testing.T) {
	st := newStage(t, 1, 30)
	st.receive(20, Filter{})
	st.nowMS += 1000
	count := func(got []Granted) (again, fresh int) {
		for _, g := range got {
			if g.Attempts > 1 {
				again++
			} else {
				fresh++
			}
		}
		return again, fresh
	}
	_, got := st.receive(10, Filter{})
	if again, fresh := count(got); again != 5 || fresh != 5 {
		t.Fatalf("first %d retries and %d fresh", again, fresh)
	}
	_, got = st.receive(20, Filter{})
	if again, fresh := count(got); again != 15 || fresh != 5 {
		t.Fatalf("then, with 5 fresh left, %d retries and %d fresh", again, fresh)
	}
}

func TestReceivesOfOneAlternateBetweenRetriesAndFresh(t *testing.T) {
	st := newStage(t, 1, 100)
	st.receive(20, Filter{})
	st.nowMS += 1000
	again := 0
	for range 10 {
		_, got := st.receive(1, Filter{})
		if got[0].Attempts > 1 {
			again++
		}
	}
	if again != 5 {
		t.Fatalf("%d of 10 were retries", again)
	}
}

// A queue that the group never read begins with the first grant that is logged;
// when the first that was chosen is not logged, the second must not begin late.
func TestCanceledFirstGrantLosesNothing(t *testing.T) {
	st := newStage(t, 1, 30)
	first := st.choose(10, Filter{})
	second := st.choose(10, Filter{})
	if first.Picks[0].Offset != 0 || second.Picks[0].Offset != 10 {
		t.Fatalf("picked %v and %v", first.Picks[0], second.Picks[0])
	}
	st.s.Cancel(first)
	st.grant(second, record.PopGrant{InvisibleMS: 1000})
	if !st.woken() {
		t.Fatal("nobody is told of what the canceled grant left")
	}
	_, got := st.receive(30, Filter{})
	if len(got) != 20 || got[0].Offset != 0 {
		t.Fatalf("then %d offsets from %d", len(got), got[0].Offset)
	}
}

func TestCanceledLastGrantIsChosenAgain(t *testing.T) {
	st := newStage(t, 1, 30)
	first, second := st.choose(10, Filter{}), st.choose(10, Filter{})
	st.s.Cancel(second)
	third := st.choose(10, Filter{})
	if third.Picks[0].Offset != 10 {
		t.Fatalf("picked %v", third.Picks[0])
	}
	st.grant(first, record.PopGrant{})
	st.grant(third, record.PopGrant{})
}

func TestResetVoidsSelections(t *testing.T) {
	st := newStage(t, 1, 30)
	old := st.choose(10, Filter{})
	st.s.Reset()
	again := st.choose(10, Filter{})
	if diff := gocmp.Diff(old.Picks, again.Picks); diff != "" {
		t.Fatal(diff)
	}
	st.s.Applied(old)
	st.s.Cancel(old)
	if got := st.choose(10, Filter{}); got.Picks[0].Offset != 10 {
		t.Fatalf("a void selection freed what another holds: %v", got.Picks[0])
	}
}

func TestCaps(t *testing.T) {
	st := newStage(t, 2, 100)
	st.setup = func(r *SelectRequest) { r.InFlightMax, r.QueueInFlightMax = 25, 20 }
	sel := st.choose(40, Filter{})
	if len(sel.Picks) != 25 {
		t.Fatalf("%d picks under a cap of 25", len(sel.Picks))
	}
	if more := st.choose(40, Filter{}); !more.Empty() {
		t.Fatalf("at the cap %d more", len(more.Picks))
	}
	h, got := st.grant(sel, record.PopGrant{InvisibleMS: 1000})
	st.woken()
	if st.s.Matchable(st.request(1, Filter{})).Ready {
		t.Fatal("matchable at the cap")
	}
	if st.woken() {
		t.Fatal("woken at the cap")
	}
	st.ack(h, got[0])
	if !st.woken() {
		t.Fatal("a lease was settled, and nobody is told")
	}
	if _, got := st.receive(40, Filter{}); len(got) != 1 {
		t.Fatalf("one place is free, %d were received", len(got))
	}
	st.nowMS += 1000
	if _, again := st.receive(40, Filter{}); len(again) != 25 {
		t.Fatalf("at the cap %d of 25 retries", len(again))
	}
}

func TestCapOfOneQueueLeavesTheOthers(t *testing.T) {
	st := newStage(t, 2, 100)
	st.setup = func(r *SelectRequest) { r.QueueInFlightMax = 20 }
	_, got := st.receive(100, Filter{})
	if diff := gocmp.Diff(map[ident.Queue]int{0: 20, 1: 20}, perQueue(got)); diff != "" {
		t.Fatal(diff)
	}
}

// The cap is met by promises alone, before the state knows the group: the
// waiter must be told all the same.
func TestCapMetByPromisesWakes(t *testing.T) {
	st := newStage(t, 1, 100)
	st.setup = func(r *SelectRequest) { r.InFlightMax = 10 }
	sel := st.choose(10, Filter{})
	if st.s.Matchable(st.request(1, Filter{})).Ready {
		t.Fatal("matchable at the cap")
	}
	h, got := st.grant(sel, record.PopGrant{InvisibleMS: 1000})
	if st.woken() { // too early, but then he asks again
		st.s.Matchable(st.request(1, Filter{}))
	}
	st.ack(h, got...)
	if !st.woken() {
		t.Fatal("never told that there is room")
	}
}

func TestBytes(t *testing.T) {
	st := newStage(t, 1, 100)
	st.setup = func(r *SelectRequest) { r.BytesMax = 250 }
	sel := st.choose(10, Filter{})
	if len(sel.Picks) != 2 || sel.Bytes != 200 {
		t.Fatalf("%d picks, %d bytes", len(sel.Picks), sel.Bytes)
	}
	st.size = 1000
	if sel := st.choose(10, Filter{}); len(sel.Picks) != 1 {
		t.Fatalf("%d picks of large messages", len(sel.Picks))
	}
}

// A filter that matches one in a thousand finds it, however far it is, and what
// lies before is read once.
func TestSelectiveFilter(t *testing.T) {
	st := newStage(t, 1, 100_000)
	st.tag = func(_ ident.Queue, o ident.Offset) uint32 {
		if o%1000 == 999 {
			return 5
		}
		return 1
	}
	reads := 0
	st.setup = func(r *SelectRequest) {
		all := r.Postings
		r.Postings = func(q ident.Queue, from ident.Offset, dst []Posting) int {
			n := all(q, from, dst)
			reads += n
			return n
		}
	}
	got := 0
	for got < 100 {
		h, granted := st.receive(16, hashFilter(5))
		if len(granted) == 0 {
			t.Fatalf("after %d nothing more", got)
		}
		got += len(granted)
		st.ack(h, granted...)
	}
	if reads > 120_000 {
		t.Fatalf("%d postings read for 100,000 messages", reads)
	}
	if sel := st.choose(16, hashFilter(5)); !sel.Empty() || sel.More {
		t.Fatalf("at the end: %+v", sel)
	}
}

func TestScanEndsAtItsLimitAndSaysSo(t *testing.T) {
	st := newStage(t, 1, 3*scanOffsetsMax+1)
	for range 3 {
		if sel := st.choose(1, hashFilter(5)); !sel.Empty() || !sel.More {
			t.Fatalf("picks %d, more %v", len(sel.Picks), sel.More)
		}
	}
	if sel := st.choose(1, hashFilter(5)); sel.More {
		t.Fatal("more, at the end")
	}
}

// What no subscription wants is skipped for good; what another wants is passed
// over, and skipped when that subscription is gone.
func TestSkipAndPass(t *testing.T) {
	st := newStage(t, 1, 30)
	st.tag = func(_ ident.Queue, o ident.Offset) uint32 { return uint32(o % 3) }
	both := Audience{MaySkip: true, Version: 2, filters: []Filter{hashFilter(0), hashFilter(1)}}
	st.setup = func(r *SelectRequest) { r.Audience = both }
	h, got := st.receive(30, hashFilter(0))
	st.ack(h, got...)
	s, _ := st.d.Stats(st.key)
	if s.Acked != 10 || s.Skipped != 10 || s.Available != 10 {
		t.Fatalf("%+v", s)
	}
	both = Audience{MaySkip: true, Version: 4, filters: []Filter{hashFilter(0)}}
	sel := st.choose(0, hashFilter(0))
	if len(sel.Picks) > 0 || sel.Empty() {
		t.Fatalf("%+v", sel)
	}
	st.grant(sel, record.PopGrant{})
	s, _ = st.d.Stats(st.key)
	if s.Skipped != 20 || s.Available != 0 || s.Done != 30 {
		t.Fatalf("%+v", s)
	}
}

func TestNothingIsSkippedWhileAnAudienceIsUnknown(t *testing.T) {
	st := newStage(t, 1, 30)
	_, got := st.receive(30, hashFilter(2))
	if len(got) != 0 {
		t.Fatalf("%v", got)
	}
	_, got = st.receive(30, hashFilter(1))
	if len(got) != 30 {
		t.Fatalf("%d of 30", len(got))
	}
}

// Matchable alone moves the scan on; when far too much that nobody wants lies
// behind it, it asks for an entry that skips it.
func TestMatchableAsksForSkip(t *testing.T) {
	st := newStage(t, 1, skipOffsetsMin+10)
	st.setup = func(r *SelectRequest) {
		r.Audience = Audience{MaySkip: true, Version: 2, filters: []Filter{hashFilter(5)}}
	}
	m := st.s.Matchable(st.request(1, hashFilter(5)))
	if m.Ready || m.More || !m.Skip {
		t.Fatalf("%+v", m)
	}
	sel := st.choose(0, hashFilter(5))
	st.grant(sel, record.PopGrant{})
	if s, _ := st.d.Stats(st.key); s.Skipped != skipOffsetsMin+10 {
		t.Fatalf("%+v", s)
	}
	if m := st.s.Matchable(st.request(1, hashFilter(5))); m.Skip {
		t.Fatalf("%+v", m)
	}
}

// One subscription cannot leave more behind than availableMax.
func TestAvailableCap(t *testing.T) {
	st := newStage(t, 1, availableMax+10)
	st.tag = func(_ ident.Queue, o ident.Offset) uint32 {
		if o >= availableMax-5 {
			return 5
		}
		return 1
	}
	for left := 15; left > 0; {
		h, got := st.receive(32, hashFilter(5))
		if len(got) == 0 {
			t.Fatalf("%d left", left)
		}
		left -= len(got)
		st.ack(h, got...)
	}
	st.queues[0].Next += 20
	st.tag = func(_ ident.Queue, o ident.Offset) uint32 {
		if o >= availableMax+20 {
			return 5
		}
		return 1
	}
	if _, got := st.receive(32, hashFilter(5)); len(got) != 0 {
		t.Fatalf("%d picks beyond the cap", len(got))
	}
	st.woken()
	st.s.Matchable(st.request(1, hashFilter(5)))
	h, got := st.receive(200, hashFilter(1))
	st.ack(h, got...)
	if !st.woken() {
		t.Fatal("the slow one went on, and the fast one is not told")
	}
	if _, got := st.receive(32, hashFilter(5)); len(got) != 10 {
		t.Fatalf("%d picks after the slow one went on", len(got))
	}
}

func TestStart(t *testing.T) {
	st := newStage(t, 1, 30)
	rule := Start{Kind: record.StartTime, TimeMS: 77}
	asked, first, final := 0, ident.Offset(30), false
	st.setup = func(r *SelectRequest) {
		r.Start = rule
		r.First = func(_ ident.Queue, s Start) (ident.Offset, bool) {
			asked++
			if s != rule {
				t.Fatalf("asked with %+v", s)
			}
			return first, final
		}
	}
	if sel := st.choose(3, Filter{}); !sel.Empty() || asked != 1 {
		t.Fatalf("before the state knows the rule: %+v, asked %d times", sel, asked)
	}
	first, final = 20, true
	if m := st.s.Matchable(st.request(1, Filter{})); !m.Ready || asked != 2 {
		t.Fatalf("%+v, asked %d times", m, asked)
	}
	st.d.ApplyStart(st.key, rule)
	st.setup(st.request(1, Filter{}))
	if m := st.s.Matchable(st.request(1, Filter{})); !m.Ready || asked > 3 {
		t.Fatalf("%+v, asked %d times", m, asked)
	}
	if _, got := st.receive(3, Filter{}); got[0].Offset != 20 {
		t.Fatalf("began at %v", got[0])
	}
	if p, _ := st.d.Position(st.key, 0); p.Base != 20 || p.Next != 23 || p.Floor != 20 {
		t.Fatalf("%+v", p)
	}
	st.d.ApplyStart(st.key, Start{})
	if _, got := st.receive(3, Filter{}); got[0].Offset != 23 {
		t.Fatalf("went on at %v", got[0])
	}
}

// What two filters leave each other while grants are on their way is not lost:
// the hidden part is looked at when it is known.
func TestFiltersInFlight(t *testing.T) {
	st := newStage(t, 1, 40)
	st.tag = func(_ ident.Queue, o ident.Offset) uint32 { return uint32(o % 2) }
	even := st.choose(5, hashFilter(0))
	odd := st.choose(40, hashFilter(1))
	if len(even.Picks) != 5 || odd.Picks[0].Offset != 9 {
		t.Fatalf("picked %v and %v", even.Picks, odd.Picks)
	}
	st.grant(even, record.PopGrant{InvisibleMS: 1000})
	st.grant(odd, record.PopGrant{InvisibleMS: 1000})
	if !st.woken() {
		t.Fatal("nobody is told of what was passed")
	}
	if _, got := st.receive(40, hashFilter(1)); len(got) != 4 {
		t.Fatalf("%v", got)
	}
	if _, got := st.receive(40, hashFilter(0)); len(got) != 15 {
		t.Fatalf("%v", got)
	}
}

// Retention may take a queue's head while the first grant of it is on its way:
// what it took is skipped, never received.
func TestTrimBeforeTheFirstGrantIsApplied(t *testing.T) {
	st := newStage(t, 1, 300)
	sel := st.choose(5, Filter{})
	st.d.ApplyTrim(st.key.Topic, 0, 200)
	st.queues[0].Min = 200
	st.grant(sel, record.PopGrant{InvisibleMS: 1000})
	st.nowMS += 1000
	if _, got := st.receive(100, Filter{}); len(got) != 100 || got[0].Offset != 200 {
		t.Fatalf("%v", got)
	}
	if s, _ := st.d.Stats(st.key); s.Skipped != 200 || s.InFlight != 100 || s.Available != 0 {
		t.Fatalf("%+v", s)
	}
}

// Selections of a group that was deleted, and so never comes back, void.
func TestDroppedGroup(t *testing.T) {
	st := newStage(t, 1, 30)
	st.receive(5, Filter{})
	sel := st.choose(5, Filter{})
	st.d.DropGroup(st.key.Group)
	var out GrantOutcome
	st.d.ApplyGrant(st.header(), &record.PopGrant{Group: st.key.Group, Topic: st.key.Topic, Items: sel.Items}, &out)
	st.s.Applied(sel)
	if !out.Stale {
		t.Fatalf("%+v", out)
	}
	st.s.Advance(st.nowMS)
	if len(st.s.sights) != 0 || len(st.d.pairs) != 0 {
		t.Fatalf("%d sights, %d pairs", len(st.s.sights), len(st.d.pairs))
	}
}
