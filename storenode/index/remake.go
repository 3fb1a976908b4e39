// SPDX-License-Identifier: Apache-2.0

package index

import (
	"context"
	"fmt"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/keyindex"
	"github.com/mansiomq/mansio/storenode/view/producer"
	"github.com/mansiomq/mansio/storenode/view/queue"
)

// Gap is one or more sealed segments in a row whose index files are missing or
// damaged, and what is known around them.
type Gap struct {
	Base, End ident.LSN      // of the log, from the first segment's base to the last one's end
	Queues    *queue.Queues  // restored from a checkpoint at or behind End
	Archive   *queue.Archive // all segments that have their index
	// Scan visits the log's entries in [from, to), as commitlog.Log.Scan does.
	Scan func(ctx context.Context, from, to ident.LSN, visit func(*record.Entry) error) error
	// From is where the scan begins: at Base, or better at the base of the segment
	// before it, to know replayed messages whose first one stands there.
	From ident.LSN
}

// Runs is one segment made again: what Write and the archives take.
type Runs struct {
	Base, End ident.LSN
	LastCRC   uint32
	Queues    *queue.Run
	Keys      *keyindex.Run
}

// Remake makes the runs of a gap's segments again from the log.
//
// Which messages had been given a place, the fold decided with state that is
// gone: replays of a message, second dead letters and messages of unknown topics
// got none. Remake finds them as the fold did, as far as the scan lets it, and
// then counts: the segments around the gap and the view say where each queue
// stood before it and behind it. Unless every queue comes out exact the answer is
// fault.Corrupt, and the caller has to replay from an older checkpoint or from
// the log's beginning. An entry of a type that Remake does not know is
// fault.Unsupported.
//
// Keys and ids of topics that were dropped since are left out.
func Remake(ctx context.Context, g Gap) ([]Runs, error) {
	const op = "index.Remake"
	r := &remaker{
		gap: g, queues: queue.New(g.Base), keys: keyindex.New(), base: g.Base,
		seen: producer.New(), dead: map[deadKey]ident.LSN{}, known: map[place]bool{},
	}
	for t, s := range g.Queues.All() {
		r.known[place{t, s.Queue}] = true
	}
	if err := g.Scan(ctx, g.From, g.End, r.visit); err != nil {
		return nil, fault.E(op, fault.Other, err)
	}
	if r.base != g.End {
		return nil, fault.Errorf(op, fault.Corrupt, "no Seal ends the gap [%d, %d) at %d", g.Base, g.End, r.base)
	}
	for t, s := range g.Queues.All() {
		first, next, err := r.bounds(t, s.Queue)
		if err != nil {
			return nil, fault.E(op, fault.Other, err)
		}
		if made := max(r.queues.Next(t, s.Queue), first); made != next {
			return nil, fault.Errorf(op, fault.Corrupt, "topic %d queue %d: the log holds offsets [%d, %d) of [%d, %d)",
				t, s.Queue, first, made, first, next)
		}
	}
	return r.made, nil
}

type place struct {
	topic ident.Topic
	queue ident.Queue
}

// deadKey names a message that can be dead-lettered once.
type deadKey struct {
	group  ident.Group
	topic  ident.Topic
	gen    ident.Generation
	queue  ident.Queue
	offset ident.Offset
}

// remaker folds the gap's entries again.
type remaker struct {
	gap    Gap
	queues *queue.Queues
	keys   *keyindex.Index
	base   ident.LSN // of the segment under way
	seen   *producer.Windows
	dead   map[deadKey]ident.LSN // to the grant that it named
	known  map[place]bool        // queues that exist, and are not begun yet if true
	made   []Runs
}

func (r *remaker) visit(e *record.Entry) error {
	switch e.Type {
	case record.TypeMessage:
		return r.message(e)
	case record.TypeDeadLetter:
		return r.deadLetter(e)
	case record.TypeSeal:
		if e.LSN >= r.gap.Base {
			r.seal(e)
		}
	case record.TypeTermStart, record.TypeConfig, record.TypeTimeShift, record.TypeTrim, record.TypeSkipEntry,
		record.TypePopGrant, record.TypeSettle, record.TypeRenew, record.TypeOffsetCommit, record.TypeGroupReset:
		// They give no message a place.
	default: // it may, and this code does not know how
		return fault.Errorf("", fault.Unsupported, "%v at LSN %d", e.Type, e.LSN)
	}
	return nil
}

func (r *remaker) message(e *record.Entry) error {
	m, err := message.Parse(e.Body)
	if err != nil {
		return nil //nolint:nilerr // the fold gives such a message no place either
	}
	if s := r.seen.Seen(m.Proxy(), m.Seq()); s.Duplicate || s.TooOld {
		return nil
	}
	r.seen.Apply(m.Proxy(), m.Seq(), e.LSN, 0, e.TimeMS)
	return r.place(e, m)
}

func (r *remaker) deadLetter(e *record.Entry) error {
	d, err := record.DecodeDeadLetter(e.Body)
	if err != nil {
		return fmt.Errorf("LSN %d: %w", e.LSN, err)
	}
	k := deadKey{d.Group, d.Topic, d.Generation, d.Queue, d.Offset}
	m, err := message.Parse(d.Payload)
	if err != nil {
		return err
	}
	switch grant, twice := r.dead[k]; {
	case twice && grant == d.Grant:
		return nil // the first one did it, or neither
	case twice:
		return fault.Errorf("", fault.Corrupt, "LSN %d: which of several dead letters of one message counted is not known", e.LSN)
	}
	r.dead[k] = d.Grant
	return r.place(e, m)
}

// place posts a message of the gap, if its queue still exists.
func (r *remaker) place(e *record.Entry, m message.Payload) error {
	p := place{m.Topic(), m.Queue()}
	fresh, exists := r.known[p]
	if e.LSN < r.gap.Base || !exists {
		return nil
	}
	if fresh {
		first, _, err := r.bounds(p.topic, p.queue)
		if err != nil {
			return err
		}
		r.queues.Resume(p.topic, p.queue, first)
		r.known[p] = false
	}
	r.queues.Append(p.topic, p.queue, queue.Posting{
		LSN: e.LSN, Bytes: e.Len, TagHash: m.TagHash(), GroupHash: m.GroupHash(),
	}, e.TimeMS)
	r.keys.Add(e.LSN, m)
	return nil
}

func (r *remaker) seal(e *record.Entry) {
	r.made = append(r.made, Runs{
		Base: r.base, End: e.End(), LastCRC: e.CRC,
		Queues: r.queues.Freeze(r.base, e.End()), Keys: r.keys.Freeze(r.base, e.End()),
	})
	r.base = e.End()
}

// bounds returns the offsets [first, next) of a queue that the gap holds, as the
// segments around it and the view tell.
func (r *remaker) bounds(t ident.Topic, q ident.Queue) (first, next ident.Offset, err error) {
	first, next = r.gap.Queues.Min(t, q), r.gap.Queues.ActiveFirst(t, q)
	behind := false
	for _, src := range r.gap.Archive.Sources() {
		before := src.Segment().End <= r.gap.Base
		if !before && behind {
			break
		}
		span, ok, err := src.Find(t, q)
		if err != nil {
			return 0, 0, err
		}
		if !ok {
			continue
		}
		if before {
			first = max(first, span.End())
		} else {
			next, behind = span.Base, true
		}
	}
	return first, next, nil
}
