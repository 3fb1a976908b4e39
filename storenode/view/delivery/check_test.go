// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

type spot struct {
	queue  ident.Queue
	offset ident.Offset
}

// promises is what selections in the log hold of one pair.
type promises struct {
	offsets map[spot]bool
	next    map[ident.Queue]ident.Offset
	leases  int
}

func (mc *machine) promised(k Key) promises {
	p := promises{offsets: map[spot]bool{}, next: map[ident.Queue]ident.Offset{}}
	g, _, _ := mc.d.Opened(k)
	for i := range mc.log {
		sel := mc.log[i].selection
		if sel == nil || mc.log[i].group != k || sel.Generation != g {
			continue
		}
		for _, it := range sel.Items {
			at := it.First
			for _, r := range it.Runs {
				for range r.Count {
					if r.Kind != record.RunPass {
						p.offsets[spot{it.Queue, at}] = true
					}
					at++
				}
			}
			p.next[it.Queue] = max(p.next[it.Queue], at)
		}
		p.leases += len(sel.Picks)
	}
	return p
}

// free reports whether a receive with the filter may get the offset.
func (mc *machine) free(k Key, q ident.Queue, o ident.Offset, f Filter, p *promises) bool {
	tags := mc.queues[topicQueue{k.Topic, q}].tags
	if p.offsets[spot{q, o}] || !f.Wants(tags[o]) || o < mc.queues[topicQueue{k.Topic, q}].min {
		return false
	}
	l := mc.m.lookup(k, q, o)
	switch l.Phase {
	case Done:
		return false
	case Available:
		return true
	case Live:
		mo := mc.m.pairs[k].queues[q].offsets[o]
		return l.DueMS <= mc.nowMS && mo.nextAttempt() <= mc.m.config(k).attemptsMax()
	case Fresh:
	}
	return o >= mc.firstOf(k, q) && o >= p.next[q]
}

func (mc *machine) firstOf(k Key, q ident.Queue) ident.Offset {
	at := topicQueue{k.Topic, q}
	mp := mc.m.pairs[k]
	if mp != nil && mp.queues[q] != nil {
		return mp.queues[q].next
	}
	if mp == nil || mp.start.Kind == record.StartEarliest {
		return mc.queues[at].min
	}
	return max(mc.firstAt(at, mp.start), mc.queues[at].min)
}

func (mc *machine) checkSelection(t *rapid.T, req *SelectRequest, sel *Selection, p promises) {
	k := req.Key
	if len(sel.Picks) > req.Max {
		t.Fatalf("%d picks, asked for %d", len(sel.Picks), req.Max)
	}
	picked := 0
	for _, it := range sel.Items {
		at := it.First
		for _, r := range it.Runs {
			for range r.Count {
				mc.checkRun(t, req, spot{it.Queue, at}, r.Kind, &p)
				mc.counts[[...]string{"lease", "skip", "pass"}[r.Kind]]++
				if r.Kind == record.RunLease {
					pick := sel.Picks[picked]
					want := 1
					if l := mc.m.lookup(k, it.Queue, at); l.Phase == Live {
						want = mc.m.pairs[k].queues[it.Queue].offsets[at].nextAttempt()
					}
					if pick != (Pick{it.Queue, at, want}) {
						t.Fatalf("pick %v, want (%d %d %d)", pick, it.Queue, at, want)
					}
					picked++
				}
				if r.Kind != record.RunPass {
					p.offsets[spot{it.Queue, at}] = true
				}
				at++
			}
		}
		p.next[it.Queue] = max(p.next[it.Queue], at)
	}
	if picked != len(sel.Picks) {
		t.Fatalf("%d offsets in lease runs, %d picks", picked, len(sel.Picks))
	}
	full := len(sel.Picks) >= req.Max || sel.More || req.BytesMax > 0 && len(sel.Picks) > 0
	if !full {
		mc.checkNothingLeft(t, req, &p)
	}
}

func (mc *machine) checkRun(t *rapid.T, req *SelectRequest, at spot, kind record.RunKind, p *promises) {
	q, o := at.queue, at.offset
	switch kind {
	case record.RunLease:
		if !mc.free(req.Key, q, o, req.Filter, p) {
			t.Fatalf("leases %d/%d: %+v, which is not free", q, o, mc.m.lookup(req.Key, q, o))
		}
	case record.RunPass: // anything may be passed over
	case record.RunSkip:
		if o < mc.queues[topicQueue{req.Key.Topic, q}].min {
			break // retention took it
		}
		tag := mc.queues[topicQueue{req.Key.Topic, q}].tags[o]
		if !req.Audience.MaySkip || req.Audience.Wants(tag) || req.Filter.Wants(tag) {
			t.Fatalf("skips %d/%d, which somebody may want", q, o)
		}
		if !mc.free(req.Key, q, o, Filter{}, p) {
			if l := mc.m.lookup(req.Key, q, o); l.Phase != Live || l.DueMS > mc.nowMS {
				t.Fatalf("skips %d/%d: %+v, which is not free", q, o, l)
			}
		}
	}
}

// checkNothingLeft: a receive that got less than it asked for left nothing that
// it could have got, but for the caps.
func (mc *machine) checkNothingLeft(t *rapid.T, req *SelectRequest, p *promises) {
	k := req.Key
	inQueue := map[ident.Queue]int{}
	all := 0
	for q := range ident.Queue(testQueues) {
		for o := range mc.queues[topicQueue{k.Topic, q}].tags {
			at := spot{q, ident.Offset(o)}
			l := mc.m.lookup(k, q, at.offset)
			if l.Phase == Live || p.offsets[at] && l.Phase != Done {
				inQueue[q]++
				all++
			}
		}
	}
	for q := range ident.Queue(testQueues) {
		for o := range mc.queues[topicQueue{k.Topic, q}].tags {
			at := ident.Offset(o)
			if !mc.free(k, q, at, req.Filter, p) {
				continue
			}
			l := mc.m.lookup(k, q, at)
			if l.Phase != Live && (all >= req.InFlightMax || inQueue[q] >= req.QueueInFlightMax) {
				continue
			}
			t.Fatalf("nothing more is selected for %v, but %d/%d is free: %+v (in flight %d, %d in the queue)",
				k, q, at, l, all, inQueue[q])
		}
	}
}

func (mc *machine) matchSome(t *rapid.T) {
	k := mc.key(t)
	if !mc.exists(k) {
		return
	}
	f := rapid.SampledFrom(mc.filters).Draw(t, "filter")
	req := mc.request(k, f, 1)
	p := mc.promised(k)
	before := mc.d.Digest()
	got := mc.sel.Matchable(req)
	if mc.d.Digest() != before {
		t.Fatal("Matchable changed the state")
	}
	if !got.Ready && !got.More {
		mc.checkNothingLeft(t, req, &p)
		mc.parked[parkedAt{k, f.Key()}] = f
		return
	}
	if got.Ready {
		sel := mc.sel.Select(req)
		if len(sel.Picks) == 0 {
			t.Fatalf("ready, but Select picks nothing")
		}
		mc.checkSelection(t, req, sel, p)
		mc.sel.Cancel(sel)
	}
}

func (mc *machine) startSome(t *rapid.T) {
	k := mc.key(t)
	start := Start{
		Kind:     rapid.SampledFrom([]record.StartKind{record.StartEarliest, record.StartTime}).Draw(t, "kind"),
		TimeMS:   int64(rapid.IntRange(0, 999).Draw(t, "start")),
		Revision: 7,
	}
	mc.append(entry{topic: k.Topic, apply: func(mc *machine, _ *record.Header) {
		mc.d.ApplyStart(k, start)
		mc.follower.ApplyStart(k, start)
		if p := mc.m.open(k); p != nil && p.generation == 0 && len(p.queues) == 0 {
			p.start = start
		}
	}})
}

// check runs after every action.
func (mc *machine) check(t *rapid.T) {
	if mc.checked != mc.newest { // only entries change the state
		mc.checkState(t)
		mc.checked = mc.newest
	}
	for mc.sel.Advance(mc.nowMS) {
		continue
	}
	for _, k := range mc.sel.Woken(nil) {
		for at := range mc.parked {
			if at.key == k {
				delete(mc.parked, at)
			}
		}
	}
	for at, f := range mc.parked {
		p := mc.promised(at.key)
		mc.checkNothingLeft(t, mc.request(at.key, f, 1), &p)
	}
	mc.checkNextDue(t)
}

func (mc *machine) checkState(t *rapid.T) {
	if len(mc.d.pairs) != len(mc.m.pairs) {
		t.Fatalf("%d pairs, want %d", len(mc.d.pairs), len(mc.m.pairs))
	}
	for _, k := range mc.m.keys() {
		mp := mc.m.pairs[k]
		got, ok := mc.d.Stats(k)
		if diff := gocmp.Diff(mc.m.stats(k), got); !ok || diff != "" {
			t.Fatalf("stats of %v: %s", k, diff)
		}
		generation, start, _ := mc.d.Opened(k)
		if generation != mp.generation || start != mp.start {
			t.Fatalf("generation %d, start %v; want %d, %v", generation, start, mp.generation, mp.start)
		}
		if o, ok := mc.d.Committed(k, 1); o != mp.committed[1] || ok != (len(mp.committed) > 0) {
			t.Fatalf("committed %d, want %d", o, mp.committed[1])
		}
		mc.checkQueues(t, k, mp)
	}
}

func (mc *machine) checkQueues(t *rapid.T, k Key, mp *modelPair) {
	for _, id := range mp.queueIDs() {
		mq := mp.queues[id]
		pos, ok := mc.d.Position(k, id)
		if !ok || pos.Base != mq.base || pos.Next != mq.next || pos.Floor > pos.Next {
			t.Fatalf("position of %v/%d: %+v, want %d %d", k, id, pos, mq.base, mq.next)
		}
		floor := mq.next
		for o := range mq.next + 2 {
			want, got := mc.m.lookup(k, id, o), mc.d.Lookup(k, id, o)
			if want.Phase == Live && want.DueMS <= mc.nowMS && got.DueMS <= mc.d.epochMS {
				want.DueMS = got.DueMS // of a due up to the epoch only that it has passed is known
			}
			if want != got {
				t.Fatalf("%v/%d/%d: %+v, want %+v", k, id, o, got, want)
			}
			if o >= mq.base && want.Phase != Done {
				floor = min(floor, o)
			}
		}
		if pos.Floor != floor {
			t.Fatalf("floor %d, want %d", pos.Floor, floor)
		}
	}
}

// checkNextDue: no lease that is nobody's business falls due before NextDueMS.
func (mc *machine) checkNextDue(t *rapid.T) {
	next, some := mc.sel.NextDueMS()
	for _, k := range mc.m.keys() {
		p := mc.promised(k)
		for id, q := range mc.m.pairs[k].queues {
			for o := range q.offsets {
				l := mc.m.lookup(k, id, o)
				if l.Phase != Live || l.DueMS <= mc.nowMS || p.offsets[spot{id, o}] {
					continue
				}
				if !some || next > l.DueMS {
					if mc.isListed(k, id, o) {
						continue
					}
					t.Fatalf("next due %d %v, but %v/%d/%d is due at %d", next, some, k, id, o, l.DueMS)
				}
			}
		}
	}
}

// isListed reports whether the offset is looked at anyway: it had fallen due
// before, or a dead letter for it is on its way.
func (mc *machine) isListed(k Key, q ident.Queue, o ident.Offset) bool {
	_, c := mc.d.chunkOf(mc.d.queueOf(mc.d.pairs[k], q), uint64(o))
	return c.due.in || c.dying.in || c.busy>>(uint64(o)-c.base)&1 != 0
}
