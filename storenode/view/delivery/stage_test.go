// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

// stage is one group on one topic, a leader, and messages that all have the
// tag that their offset says.
type stage struct {
	t      *testing.T
	d      *Deliveries
	s      *Selector
	key    Key
	lsn    ident.LSN
	nowMS  int64
	queues []QueueState
	tag    func(ident.Queue, ident.Offset) uint32
	size   uint32
	setup  func(*SelectRequest)
}

const stageStartMS = 1_000_000

func newStage(t *testing.T, queues int, messages ident.Offset) *stage {
	st := &stage{
		t: t, d: New(), key: Key{7, 9}, lsn: 8, nowMS: stageStartMS, size: 100,
		tag:   func(ident.Queue, ident.Offset) uint32 { return 1 },
		setup: func(*SelectRequest) {},
	}
	st.s = NewSelector(st.d)
	st.d.ApplyGroupConfig(st.key.Group, GroupConfig{AttemptsMax: 3})
	for q := range queues {
		st.queues = append(st.queues, QueueState{ID: ident.Queue(q), Next: messages})
	}
	return st
}

func (st *stage) header() *record.Header {
	st.lsn += 64
	return &record.Header{LSN: st.lsn, Term: 1, TimeMS: st.nowMS}
}

func (st *stage) request(n int, f Filter) *SelectRequest {
	req := &SelectRequest{
		Key: st.key, Max: n, Filter: f, NowMS: st.nowMS, Queues: st.queues,
		Postings: func(q ident.Queue, from ident.Offset, dst []Posting) int {
			for i := range dst {
				o := from + ident.Offset(i)
				if o >= st.queues[q].Next {
					return i
				}
				dst[i] = Posting{TagHash: st.tag(q, o), Bytes: st.size}
			}
			return len(dst)
		},
	}
	st.setup(req)
	return req
}

func (st *stage) choose(n int, f Filter) *Selection { return st.s.Select(st.request(n, f)) }

// grant logs and applies a selection.
func (st *stage) grant(sel *Selection, b record.PopGrant) (*record.Header, []Granted) {
	st.t.Helper()
	b.Group, b.Topic, b.Generation, b.Items = st.key.Group, st.key.Topic, sel.Generation, sel.Items
	var out GrantOutcome
	h := st.header()
	st.d.ApplyGrant(h, &b, &out)
	st.s.Applied(sel)
	if out.Stale || out.Refused > 0 || len(out.Granted) != len(sel.Picks) {
		st.t.Fatalf("grant of %d picks: %+v", len(sel.Picks), out)
	}
	for i, g := range out.Granted {
		if g != Granted(sel.Picks[i]) {
			st.t.Fatalf("granted %v, picked %v", g, sel.Picks[i])
		}
	}
	return h, out.Granted
}

// receive selects and grants for 1,000 ms.
func (st *stage) receive(n int, f Filter) (*record.Header, []Granted) {
	st.t.Helper()
	sel := st.choose(n, f)
	for sel.Empty() && sel.More {
		sel = st.choose(n, f)
	}
	if sel.Empty() {
		return nil, nil
	}
	return st.grant(sel, record.PopGrant{InvisibleMS: 1000})
}

func (st *stage) item(h *record.Header, g Granted) record.SettleItem {
	generation, _, _ := st.d.Opened(st.key)
	return record.SettleItem{
		Group: st.key.Group, Topic: st.key.Topic, Generation: generation, Queue: g.Queue, Offset: g.Offset,
		Term: h.Term, Grant: h.LSN,
	}
}

func (st *stage) ack(h *record.Header, granted ...Granted) {
	st.t.Helper()
	var items []record.SettleItem
	for _, g := range granted {
		items = append(items, st.item(h, g))
	}
	for i, r := range st.d.ApplySettle(st.header(), items, nil) {
		if r != Settled {
			st.t.Fatalf("ack of %v: %v", granted[i], r)
		}
	}
}

// release gives one back for later.
func (st *stage) release(h *record.Header, g Granted, ms int64, noCount bool) Result {
	it := st.item(h, g)
	it.Verdict, it.MS, it.NoCount = record.VerdictRelease, ms, noCount
	return st.d.ApplySettle(st.header(), []record.SettleItem{it}, nil)[0]
}

func (st *stage) woken() bool {
	st.t.Helper()
	for st.s.Advance(st.nowMS) {
		continue
	}
	keys := st.s.Woken(nil)
	if len(keys) > 1 || len(keys) == 1 && keys[0] != st.key {
		st.t.Fatalf("woken: %v", keys)
	}
	return len(keys) == 1
}

func perQueue(granted []Granted) map[ident.Queue]int {
	n := map[ident.Queue]int{}
	for _, g := range granted {
		n[g.Queue]++
	}
	return n
}

// hashFilter is a filter of tags that have these hashes.
func hashFilter(hashes ...uint32) Filter {
	if len(hashes) == 0 {
		return Filter{}
	}
	hashes = slices.Compact(slices.Sorted(slices.Values(hashes)))
	text := make([]byte, 0, 4*len(hashes))
	for _, h := range hashes {
		text = binary.LittleEndian.AppendUint32(text, h)
	}
	return newFilter(hashes, text)
}
