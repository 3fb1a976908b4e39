// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

const (
	testGroups = 2
	testTopics = 2
	testQueues = 2
	testTags   = 3
)

type topicQueue struct {
	topic ident.Topic
	queue ident.Queue
}

// messages is the queue view that the machine plays.
type messages struct {
	min  ident.Offset
	tags []uint32
}

// entry is one entry in the log, committed but not yet applied.
type entry struct {
	header record.Header
	apply  func(mc *machine, h *record.Header)
	topic  ident.Topic // that it could bring back
	// of a grant that this leader chose
	selection *Selection
	group     Key
}

type handle struct {
	item     record.SettleItem
	attempts int
}

type parkedAt struct {
	key    Key
	filter uint64
}

// machine drives a leader with a pipeline of entries that are not applied yet,
// and a follower that is restored from a checkpoint after every entry, against
// the model.
type machine struct {
	d        *Deliveries
	sel      *Selector
	follower *Deliveries
	m        *model

	log      []entry
	lsn      ident.LSN
	term     ident.Term
	nowMS    int64
	applied  int64 // time of the last applied entry
	queues   map[topicQueue]*messages
	handles  []handle
	filters  []Filter
	live     []Filter // of the audience
	audience Audience
	parked   map[parkedAt]Filter
	dead     []Exhaustion
	acked    map[string]bool // P3: acknowledged in this generation
	counts   map[string]int
	gone     map[ident.Topic]bool // deleted, with entries in the log that name them
	checked  ident.LSN            // of the last entry after which the whole state was compared
	newest   ident.LSN            // applied
}

func newMachine() *machine {
	mc := &machine{
		d: New(), follower: New(), m: newModel(), term: 1, nowMS: 1_700_000_000_000, lsn: 8,
		queues: map[topicQueue]*messages{}, parked: map[parkedAt]Filter{}, acked: map[string]bool{},
		filters: []Filter{{}, hashFilter(1), hashFilter(2), hashFilter(1, 2)},
		counts:  map[string]int{},
		gone:    map[ident.Topic]bool{},
	}
	mc.sel = NewSelector(mc.d)
	for t := range ident.Topic(testTopics) {
		for q := range ident.Queue(testQueues) {
			mc.queues[topicQueue{t + 1, q}] = &messages{}
		}
	}
	for g := range ident.Group(testGroups) {
		mc.config(g+1, GroupConfig{AttemptsMax: 3})
	}
	return mc
}

func (mc *machine) config(g ident.Group, c GroupConfig) {
	for _, d := range []*Deliveries{mc.d, mc.follower} {
		d.ApplyGroupConfig(g, c)
	}
	mc.m.groups[g] = c
}

func (mc *machine) append(e entry) {
	mc.lsn += 64
	e.header = record.Header{LSN: mc.lsn, Term: mc.term, TimeMS: mc.nowMS}
	mc.log = append(mc.log, e)
}

// applyNext applies the oldest entry everywhere.
func (mc *machine) applyNext(t *rapid.T) {
	e := mc.log[0]
	mc.log = mc.log[1:]
	if !mc.gone[e.topic] {
		e.apply(mc, &e.header)
	}
	if e.selection != nil {
		mc.sel.Applied(e.selection)
	}
	mc.applied, mc.newest = e.header.TimeMS, e.header.LSN
	mc.restoreFollower(t)
	if len(mc.log) == 0 {
		mc.comeBack()
	}
}

// comeBack creates anew what was deleted, once nothing in the log names it. In
// truth it gets a new id; here the state must be as new.
func (mc *machine) comeBack() {
	clear(mc.gone)
	for g := range ident.Group(testGroups) {
		if _, known := mc.m.groups[g+1]; !known {
			mc.config(g+1, GroupConfig{AttemptsMax: 3})
		}
	}
}

// exists reports whether clients may ask for it.
func (mc *machine) exists(k Key) bool {
	_, known := mc.m.groups[k.Group]
	return known && !mc.gone[k.Topic]
}

func (mc *machine) applyAll(t *rapid.T) {
	for len(mc.log) > 0 {
		mc.applyNext(t)
	}
}

// restoreFollower is the law "restore = live", at every entry.
func (mc *machine) restoreFollower(t *rapid.T) {
	var ours, theirs bytes.Buffer
	if err := mc.d.Checkpoint(&ours); err != nil {
		t.Fatal(err)
	}
	if err := mc.follower.Checkpoint(&theirs); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ours.Bytes(), theirs.Bytes()) {
		t.Fatalf("the follower's state differs from the leader's")
	}
	mc.follower = New()
	if err := mc.follower.Restore(&theirs); err != nil {
		t.Fatalf("restore: %v", err)
	}
	if mc.follower.Digest() != mc.d.Digest() {
		t.Fatalf("digest after restore differs")
	}
}

func (mc *machine) key(t *rapid.T) Key {
	if rapid.IntRange(0, 9).Draw(t, "elsewhere") > 0 {
		return Key{1, 1} // the more happens in one place, the deeper it gets
	}
	return Key{
		ident.Group(rapid.Uint64Range(1, testGroups).Draw(t, "group")),
		ident.Topic(rapid.Uint64Range(1, testTopics).Draw(t, "topic")),
	}
}

func (mc *machine) topicQueue(t *rapid.T) topicQueue {
	at := topicQueue{1, ident.Queue(rapid.Uint64Range(0, testQueues-1).Draw(t, "queue"))}
	if rapid.IntRange(0, 9).Draw(t, "elsewhere") == 0 {
		at.topic = 2
	}
	return at
}

func (mc *machine) request(k Key, f Filter, n int) *SelectRequest {
	req := &SelectRequest{
		Key: k, Max: n, Filter: f, Audience: mc.audience, NowMS: mc.nowMS,
		First: func(q ident.Queue, s Start) (ident.Offset, bool) {
			o := mc.firstAt(topicQueue{k.Topic, q}, s)
			return o, int(o) < len(mc.queues[topicQueue{k.Topic, q}].tags)
		},
		Postings: func(q ident.Queue, from ident.Offset, dst []Posting) int {
			tags := mc.queues[topicQueue{k.Topic, q}].tags[from:]
			for i := range dst {
				if i >= len(tags) {
					return i
				}
				dst[i] = Posting{TagHash: tags[i], Bytes: 100}
			}
			return len(dst)
		},
		InFlightMax: 150, QueueInFlightMax: 70,
	}
	for q := range ident.Queue(testQueues) {
		ms := mc.queues[topicQueue{k.Topic, q}]
		req.Queues = append(req.Queues, QueueState{ID: q, Min: ms.min, Next: ident.Offset(len(ms.tags))})
	}
	return req
}

// firstAt plays a queue view in which times are offsets × 10.
func (mc *machine) firstAt(q topicQueue, s Start) ident.Offset {
	return min(ident.Offset(s.TimeMS%1000/10), ident.Offset(len(mc.queues[q].tags)))
}

// selectSome is a receive: what it promises must be free, what it leaves must
// not be.
func (mc *machine) selectSome(t *rapid.T) {
	k := mc.key(t)
	if !mc.exists(k) {
		return
	}
	f := rapid.SampledFrom(mc.filters).Draw(t, "filter")
	n := rapid.IntRange(0, 40).Draw(t, "max")
	req := mc.request(k, f, n)
	if rapid.Bool().Draw(t, "bytes") {
		req.BytesMax = int64(rapid.IntRange(1, 1000).Draw(t, "bytes max"))
	}
	promised := mc.promised(k)
	sel := mc.sel.Select(req)
	mc.checkSelection(t, req, sel, promised)
	if len(sel.Picks) == 0 && !sel.More && n > 0 {
		mc.parked[parkedAt{k, f.Key()}] = f
	}
	if len(sel.Picks) > 0 {
		mc.counts["selected"] += len(sel.Picks)
	}
	if sel.Empty() {
		mc.sel.Cancel(sel)
		return
	}
	grant := record.PopGrant{
		Group: k.Group, Topic: k.Topic, Generation: sel.Generation, Items: sel.Items,
		InvisibleMS: rapid.Int64Range(0, 200).Draw(t, "invisible"),
	}
	if rapid.IntRange(0, 2).Draw(t, "renewed") == 0 {
		grant.InvisibleMS = 60_000
		grant.Owner = rapid.SampledFrom([]string{"anna", "bert"}).Draw(t, "owner")
	}
	if rapid.IntRange(0, 9).Draw(t, "canceled") == 0 {
		mc.sel.Cancel(sel)
		return
	}
	mc.append(entry{apply: grantEntry(&grant), selection: sel, group: k, topic: k.Topic})
}

// grantEntry passes the body through its codec, as the log does.
func grantEntry(g *record.PopGrant) func(*machine, *record.Header) {
	body := g.Append(nil)
	return func(mc *machine, h *record.Header) {
		b, err := record.DecodePopGrant(body)
		if err != nil {
			panic(err)
		}
		var out, other GrantOutcome
		mc.d.ApplyGrant(h, &b, &out)
		mc.follower.ApplyGrant(h, &b, &other)
		granted, stale := mc.m.grant(h, &b)
		if !slices.Equal(granted, out.Granted) || stale != out.Stale {
			panic("grant: model against view: " + gocmp.Diff(granted, out.Granted))
		}
		if !slices.Equal(out.Granted, other.Granted) || out.Refused != other.Refused {
			panic("grant: leader against follower: " + gocmp.Diff(out, other))
		}
		for _, g := range out.Granted {
			item := record.SettleItem{
				Group: b.Group, Topic: b.Topic, Generation: b.Generation, Queue: g.Queue, Offset: g.Offset,
				Term: h.Term, Grant: h.LSN,
			}
			if mc.acked[ackKey(&item)] {
				panic(fmt.Sprintf("P3: %v was acknowledged and is delivered again", item))
			}
			mc.handles = append(mc.handles, handle{item, g.Attempts})
		}
		mc.counts["granted"] += len(out.Granted)
		mc.counts["refused"] += out.Refused
	}
}

func ackKey(it *record.SettleItem) string {
	return fmt.Sprint(it.Group, it.Topic, it.Generation, it.Queue, it.Offset)
}

func (mc *machine) settleSome(t *rapid.T) {
	if len(mc.handles) == 0 {
		return
	}
	var items []record.SettleItem
	for range rapid.IntRange(1, 12).Draw(t, "settlements") {
		at := len(mc.handles) - 1 - rapid.IntRange(0, min(60, len(mc.handles)-1)).Draw(t, "handle")
		it := mc.handles[at].item
		it.Verdict = rapid.SampledFrom([]record.Verdict{
			record.VerdictAck, record.VerdictAck, record.VerdictExtend, record.VerdictRelease,
		}).Draw(t, "verdict")
		if it.Verdict != record.VerdictAck {
			it.MS = rapid.Int64Range(0, 300).Draw(t, "ms")
			it.NoCount = it.Verdict == record.VerdictRelease && rapid.Bool().Draw(t, "no count")
		}
		switch rapid.IntRange(0, 20).Draw(t, "forgery") {
		case 0:
			it.Grant += 8
		case 1:
			it.Offset += 100
		case 2:
			it.Queue = 77
		case 3:
			it.Generation++
		case 4:
			it.Topic = 99
		case 5:
			it.Term++
		}
		items = append(items, it)
	}
	mc.append(entry{apply: func(mc *machine, h *record.Header) {
		for i := range items { // Check foretells, as far as no earlier item of the batch interferes
			if want := mc.d.Check(&items[i], h.TimeMS); i == 0 {
				if got := mc.follower.Check(&items[i], h.TimeMS); got != want {
					panic("check: leader against follower")
				}
			}
		}
		got := mc.d.ApplySettle(h, items, nil)
		mc.follower.ApplySettle(h, items, nil)
		for i := range items {
			if want := mc.m.settle(h, &items[i]); got[i] != want {
				panic(fmt.Sprintf("settle %+v: %v, want %v", items[i], got[i], want))
			}
			if items[i].Verdict == record.VerdictAck && got[i] == Settled {
				mc.acked[ackKey(&items[i])] = true
			}
			mc.counts[got[i].String()]++
		}
	}})
}

func (mc *machine) renewSome(t *rapid.T) {
	owner := rapid.SampledFrom([]string{"anna", "bert"}).Draw(t, "owner")
	b := &record.Renew{Items: mc.d.AppendRenewals(nil, 0, record.RenewItem{
		Owner: owner, TTLMS: rapid.Int64Range(0, 80_000).Draw(t, "ttl"),
		Terminated: rapid.IntRange(0, 3).Draw(t, "terminated") == 0,
	})}
	b.Items = append(b.Items, record.RenewItem{Group: 1, Topic: 1, Owner: "nobody", TTLMS: 5})
	mc.append(entry{apply: func(mc *machine, h *record.Header) {
		mc.d.ApplyRenew(h, b)
		mc.follower.ApplyRenew(h, b)
		mc.m.renew(h, b)
	}})
}

// changeLeader: what is in the log stays there and is applied, but the promises
// are gone; or the tail was not committed and vanishes.
func (mc *machine) changeLeader(t *rapid.T) {
	mc.sel.Reset()
	if rapid.Bool().Draw(t, "tail lost") {
		mc.log = nil
	}
	for i := range mc.log {
		mc.log[i].selection = nil
	}
	mc.dead = nil
	mc.applyAll(t)
	mc.term++
	mc.append(entry{apply: func(mc *machine, h *record.Header) {
		mc.d.ApplyTermStart(h, mc.applied)
		mc.follower.ApplyTermStart(h, mc.applied)
		mc.m.termStart(h, mc.applied)
	}})
	mc.applyAll(t)
	mc.sel.Reset()
	clear(mc.parked)
}

func (mc *machine) resetGroup(t *rapid.T) {
	k := mc.key(t)
	g, _, _ := mc.d.Opened(k)
	b := &record.GroupReset{
		Group: k.Group, Topic: k.Topic,
		Generation: g + ident.Generation(rapid.IntRange(0, 1).Draw(t, "generations")),
		Kind:       rapid.SampledFrom([]record.StartKind{record.StartEarliest, record.StartLatest, record.StartTime}).Draw(t, "kind"),
		TimeMS:     int64(rapid.IntRange(0, 999).Draw(t, "start")),
	}
	mc.append(entry{topic: k.Topic, apply: func(mc *machine, h *record.Header) {
		got := mc.d.ApplyReset(h, b)
		mc.follower.ApplyReset(h, b)
		if want := mc.m.reset(h, b); got != want {
			panic(fmt.Sprintf("reset: %v, want %v", got, want))
		}
	}})
}

func (mc *machine) trimSome(t *rapid.T) {
	at := mc.topicQueue(t)
	ms := mc.queues[at]
	to := ms.min + ident.Offset(rapid.IntRange(0, 20).Draw(t, "trimmed"))
	to = min(to, ident.Offset(len(ms.tags)))
	mc.append(entry{apply: func(mc *machine, _ *record.Header) {
		mc.queues[at].min = max(mc.queues[at].min, to)
		mc.d.ApplyTrim(at.topic, at.queue, to)
		mc.follower.ApplyTrim(at.topic, at.queue, to)
		mc.m.trim(at.topic, at.queue, to)
	}})
}

func (mc *machine) shiftTime(t *rapid.T) {
	delta := rapid.Int64Range(-50_000, 50_000).Draw(t, "delta")
	mc.append(entry{apply: func(mc *machine, h *record.Header) {
		mc.d.ApplyTimeShift(h, delta)
		mc.follower.ApplyTimeShift(h, delta)
		mc.m.timeShift(delta)
	}})
	mc.nowMS += max(delta, 0)
}

func (mc *machine) configure(t *rapid.T) {
	g := ident.Group(rapid.Uint64Range(1, testGroups).Draw(t, "group"))
	c := GroupConfig{
		AttemptsMax: uint8(rapid.IntRange(1, 6).Draw(t, "attempts max")),
		LateAck:     rapid.Bool().Draw(t, "late ack"),
	}
	mc.append(entry{apply: func(mc *machine, _ *record.Header) {
		if _, known := mc.m.groups[g]; known {
			mc.config(g, c)
		}
	}})
}

func (mc *machine) dropSome(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "really") != 0 {
		return
	}
	k := mc.key(t)
	if rapid.Bool().Draw(t, "topic") {
		mc.append(entry{apply: func(mc *machine, _ *record.Header) {
			mc.d.DropTopic(k.Topic)
			mc.follower.DropTopic(k.Topic)
			mc.m.drop(func(o Key) bool { return o.Topic == k.Topic })
			mc.forget(func(o Key) bool { return o.Topic == k.Topic })
			mc.gone[k.Topic] = true
		}})
		return
	}
	mc.append(entry{apply: func(mc *machine, _ *record.Header) {
		mc.d.DropGroup(k.Group)
		mc.follower.DropGroup(k.Group)
		delete(mc.m.groups, k.Group)
		mc.m.drop(func(o Key) bool { return o.Group == k.Group })
		mc.forget(func(o Key) bool { return o.Group == k.Group })
	}})
}

func (mc *machine) forget(gone func(Key) bool) {
	clear(mc.acked)
	mc.handles = nil
	for k := range mc.parked {
		if gone(k.key) {
			delete(mc.parked, k)
		}
	}
}

func (mc *machine) bury(t *rapid.T) {
	mc.dead = mc.sel.Exhausted(mc.dead, mc.nowMS, rapid.IntRange(1, 5).Draw(t, "limit"))
	for len(mc.dead) > 0 {
		e := mc.dead[0]
		mc.dead = mc.dead[1:]
		if rapid.IntRange(0, 4).Draw(t, "fails") == 0 {
			mc.sel.Retry(e, mc.nowMS+20)
			continue
		}
		mc.deadLetter(record.DeadLetter{
			Group: e.Key.Group, Topic: e.Key.Topic, Generation: e.Generation, Queue: e.Queue, Offset: e.Offset,
			Grant: e.Grant, Reason: record.ReasonAttempts,
		})
		mc.counts["exhausted"]++
	}
}

func (mc *machine) forward(t *rapid.T) {
	if len(mc.handles) == 0 {
		return
	}
	it := mc.handles[len(mc.handles)-1-rapid.IntRange(0, min(60, len(mc.handles)-1)).Draw(t, "handle")].item
	mc.deadLetter(record.DeadLetter{
		Group: it.Group, Topic: it.Topic, Generation: it.Generation, Queue: it.Queue, Offset: it.Offset,
		Grant: it.Grant, Reason: record.ReasonClient,
	})
}

func (mc *machine) deadLetter(b record.DeadLetter) {
	mc.append(entry{apply: func(mc *machine, h *record.Header) {
		got := mc.d.ApplyDeadLetter(h, &b)
		mc.follower.ApplyDeadLetter(h, &b)
		if want := mc.m.deadLetter(h, &b); got != want {
			panic(fmt.Sprintf("dead letter %+v: %v, want %v", b, got, want))
		}
		if got {
			mc.counts["buried"]++
		}
	}})
}

func (mc *machine) commitOffset(t *rapid.T) {
	k := mc.key(t)
	b := &record.OffsetCommit{Items: []record.OffsetItem{{
		Group: k.Group, Topic: k.Topic, Queue: 1, Offset: ident.Offset(rapid.IntRange(0, 99).Draw(t, "offset")),
		Generation: ident.Generation(rapid.IntRange(0, 1).Draw(t, "generation")),
	}}}
	mc.append(entry{topic: k.Topic, apply: func(mc *machine, h *record.Header) {
		mc.d.ApplyOffsetCommit(h, b)
		mc.follower.ApplyOffsetCommit(h, b)
		it := b.Items[0]
		if mc.m.pairs[k] == nil && it.Generation != 0 {
			return
		}
		if p := mc.m.open(k); p != nil && p.generation == it.Generation {
			p.committed[it.Queue] = max(p.committed[it.Queue], it.Offset)
		}
	}})
}

func (mc *machine) produce(t *rapid.T) {
	at := mc.topicQueue(t)
	tag := func(t *rapid.T) uint32 { return uint32(rapid.IntRange(1, testTags).Draw(t, "tag")) }
	for range rapid.IntRange(1, 90).Draw(t, "messages") {
		mc.queues[at].tags = append(mc.queues[at].tags, tag(t))
	}
	for k := range mc.parked {
		if k.key.Topic == at.topic {
			delete(mc.parked, k)
		}
	}
}

func (mc *machine) subscribe(t *rapid.T) {
	mc.live = nil
	for _, f := range mc.filters[1:] {
		if rapid.Bool().Draw(t, "live") {
			mc.live = append(mc.live, f)
		}
	}
	mc.audience = Audience{
		MaySkip: rapid.Bool().Draw(t, "may skip"), Version: mc.audience.Version + 1, filters: mc.live,
	}
}

func (mc *machine) passTime(t *rapid.T) {
	mc.nowMS += rapid.SampledFrom([]int64{
		1, 10, 20, 50, 70, 100, 200, 1000, 20_000, 70_000, LeaseCapMS, epochAgeMaxMS + 5,
	}).Draw(t, "passes")
}

// rawGrant is a PopGrant that no Selector would choose: apply must hold P1 to
// P5 whatever comes.
func (mc *machine) rawGrant(t *rapid.T) {
	k := mc.key(t)
	g, _, _ := mc.d.Opened(k)
	b := record.PopGrant{
		Group: k.Group, Topic: k.Topic, Generation: g, InvisibleMS: rapid.Int64Range(0, 200).Draw(t, "invisible"),
	}
	if rapid.IntRange(0, 9).Draw(t, "stale") == 0 {
		b.Generation++
	}
	if rapid.IntRange(0, 2).Draw(t, "renewed") == 0 {
		b.Owner = rapid.SampledFrom([]string{"anna", "bert"}).Draw(t, "owner")
	}
	for range rapid.IntRange(1, 3).Draw(t, "items") {
		it := record.GrantItem{
			Queue: ident.Queue(rapid.Uint64Range(0, testQueues-1).Draw(t, "queue")),
			First: ident.Offset(rapid.Uint64Range(0, 100).Draw(t, "first")),
		}
		for range rapid.IntRange(1, 5).Draw(t, "runs") {
			it.Runs = append(it.Runs, record.Run{
				Kind:  rapid.SampledFrom([]record.RunKind{record.RunLease, record.RunLease, record.RunSkip, record.RunPass}).Draw(t, "kind"),
				Count: rapid.SampledFrom([]uint64{1, 2, 5, 30, 63, 64, 65, 130}).Draw(t, "count"),
			})
		}
		b.Items = append(b.Items, it)
	}
	mc.append(entry{apply: grantEntry(&b), topic: k.Topic})
}

// weighted makes rapid choose an action as often as its weight says.
func weighted(weights map[string]int, actions map[string]func(*rapid.T)) map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){}
	for name, action := range actions {
		if name == "" {
			all[""] = action
		}
		for i := range weights[name] {
			all[fmt.Sprintf("%s %d", name, i)] = action
		}
	}
	return all
}

func (mc *machine) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"produce": mc.produce, "select": mc.selectSome, "match": mc.matchSome, "subscribe": mc.subscribe,
		"settle": mc.settleSome, "forward": mc.forward, "bury": mc.bury, "renew": mc.renewSome, "pass time": mc.passTime,
		"raw grant": mc.rawGrant, "change leader": mc.changeLeader, "reset": mc.resetGroup, "trim": mc.trimSome,
		"shift time": mc.shiftTime, "configure": mc.configure, "drop": mc.dropSome, "commit": mc.commitOffset,
		"start": mc.startSome, "apply all": mc.applyAll,
		"apply": func(t *rapid.T) {
			if len(mc.log) > 0 {
				mc.applyNext(t)
			}
		},
		"": mc.check,
	}
}

// TestSelectorAgainstModel: what is selected is free, what is left is not,
// nobody sleeps while there is something for him; P1 to P5, P7 and restore =
// live on the way.
func TestSelectorAgainstModel(t *testing.T) {
	counts := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		mc := newMachine()
		mc.counts = counts
		t.Repeat(weighted(map[string]int{
			"produce": 3, "select": 8, "match": 3, "subscribe": 1, "settle": 4, "forward": 1, "bury": 2, "renew": 1,
			"pass time": 5, "change leader": 1, "reset": 1, "trim": 1, "shift time": 1, "configure": 1, "drop": 1,
			"start": 1, "apply": 4, "apply all": 3,
		}, mc.actions()))
	})
	wantCounts(t, counts, "lease", "skip", "pass", "selected", "granted", "refused", "exhausted", "buried", "settled",
		"already done", "invalid handle", "old generation")
}

// TestFoldAgainstModel: whatever entries come, the fold is the model's, and
// restore = live at every one of them.
func TestFoldAgainstModel(t *testing.T) {
	counts := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		mc := newMachine()
		mc.counts = counts
		t.Repeat(weighted(map[string]int{
			"raw grant": 8, "settle": 8, "forward": 1, "renew": 3, "pass time": 5, "change leader": 1, "reset": 1,
			"trim": 2, "shift time": 1, "configure": 1, "drop": 1, "commit": 1, "start": 1, "apply all": 5,
		}, mc.actions()))
	})
	wantCounts(t, counts, "granted", "refused", "buried", "settled", "already done", "invalid handle", "old generation")
}

func wantCounts(t *testing.T, counts map[string]int, names ...string) {
	t.Helper()
	for _, what := range names {
		if counts[what] == 0 {
			t.Errorf("the run never came to %q: %v", what, counts)
		}
	}
}
