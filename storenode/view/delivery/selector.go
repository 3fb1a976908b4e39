// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
)

const (
	// InFlightMaxDefault bounds the leases of a group on one topic: a consumer
	// that never settles costs at most some 20 MB.
	InFlightMaxDefault = 1 << 20
	// QueueInFlightMaxDefault bounds those in one queue, so that one queue's
	// stuck consumer leaves room for the others.
	QueueInFlightMaxDefault = 1 << 18

	// availableMax bounds the offsets of a queue that one subscription passed
	// over for another: beyond it the fast one waits for the slow one.
	availableMax = 1 << 20
	// scanOffsetsMax is how many postings one call reads before it hands the
	// owner goroutine back: about 100 µs.
	scanOffsetsMax = 4096
	// skipOffsetsMin is how many unwanted offsets are worth an entry that does
	// nothing but skip them.
	skipOffsetsMin = 1024
	// differingMax bounds the messages that are remembered for having only the hash
	// of a wanted tag; beyond it the leader forgets them and finds out again.
	differingMax = 4096
	// spansMax bounds a selection: its entry has at most some 34 bytes of each span
	// and of each posting that was read, and must fit into a segment.
	spansMax = 4096
	// advanceChunksMax is how many chunks one call surveys: about half a
	// millisecond.
	advanceChunksMax = 1024
)

// QueueState is a queue as the queue view has it: Min is the first retained
// offset, Next the first that no committed message has.
type QueueState struct {
	ID   ident.Queue
	Min  ident.Offset
	Next ident.Offset
}

// Posting is what selection needs to know of a message.
type Posting struct {
	TagHash uint32
	Bytes   uint32
}

// SelectRequest asks for messages for one receive.
type SelectRequest struct {
	Key    Key
	Max    int    // offsets; 0 only skips what nobody wants
	Filter Filter // what this receive wants
	// Audience says what the group's other subscriptions want. Its zero value
	// knows nothing of them: then nothing is skipped.
	Audience Audience
	NowMS    int64        // log time
	Queues   []QueueState // by ascending id
	// Start is the group's rule as long as the state does not know one.
	Start Start
	// First is asked where the group begins in a queue, when that is not its
	// minimum (see Start), and whether later messages change nothing about that:
	// then it is not asked again. nil: at the minimum.
	First func(ident.Queue, Start) (o ident.Offset, final bool)
	// Postings fills dst with the postings from offset from upward and returns
	// how many it has at hand; selection in that queue ends there. Needed only
	// with a filter or a limit of bytes. nil: sizes and tags are 0.
	Postings func(q ident.Queue, from ident.Offset, dst []Posting) int

	BytesMax         int64 // bodies together, but at least one message; 0: no limit
	InFlightMax      int   // leases of the group on the topic; 0: InFlightMaxDefault
	QueueInFlightMax int   // and in one queue; 0: QueueInFlightMaxDefault
}

// Pick is an offset that a Selection will lease, with the number that the
// attempt will have unless something comes in between.
type Pick struct {
	Queue    ident.Queue
	Offset   ident.Offset
	Attempts int
}

// Selection is what a receive gets: the items of its PopGrant, and the promise
// that no other Selection contains the same offsets until Applied or Cancel.
type Selection struct {
	Generation ident.Generation
	Items      []record.GrantItem
	Picks      []Pick // in the order of the items' lease runs; none if the items only skip
	Bytes      int64
	// More says that the scan ended at its limit: call again, do not park.
	More bool

	key    Key
	sight  *sight
	serial uint64
	marks  []mark
}

// Empty reports whether there is nothing to log.
func (s *Selection) Empty() bool { return len(s.Items) == 0 }

// stands reports whether the selection still promises something.
func (s *Selection) stands() bool { return s.serial != 0 && s.serial == s.sight.serial }

// Match is Matchable's answer.
type Match struct {
	Ready bool // a Select would pick something
	More  bool // the scan ended at its limit: ask again
	// Skip says that so many offsets which nobody wants lie before the scan
	// that a Select with Max 0, and its entry, is worth while.
	Skip bool
}

// Selector chooses, on the leader, what receives get. What it knows beyond the
// state (promises, scan positions) is volatile: it may be dropped at any time
// on which no promised grant can be applied any more.
type Selector struct {
	d       *Deliveries
	sights  map[Key]*sight
	serial  uint64
	dropped uint64
	posts   []Posting // scratch
	walks   []walk    // scratch
	spans   []span    // scratch
}

// sight is what the leader has in mind of one pair.
type sight struct {
	p          *pair  // nil as long as the state does not know it
	serial     uint64 // changes when all promises become void
	generation ident.Generation
	version    uint64 // of the audience for which cursors hold
	turn       int    // where the round over the queues goes on
	odd        bool
	leases     int  // promised, not yet in the state
	capped     bool // a cap kept a receive from getting something, before the state knew the pair
	holds      map[ident.Queue]hold
	cursors    map[cursorKey]scanPos
	rule       Start // for which firsts hold
	firsts     map[ident.Queue]ident.Offset
	dueSeen    map[uint64]uint64 // filter key → dueSeq of the last chunk without a match
	differing  map[differKey]struct{}
}

// differKey is a message of which a filter wants the hash of the tag, and not the
// tag.
type differKey struct {
	filter uint64
	queue  ident.Queue
	offset uint64
}

// hold is what is promised in one queue beyond the state.
type hold struct {
	next   uint64 // promised up to here
	grants int
	leases int
	passes uint64
	filter uint64
	mixed  bool // of grants with different filters
}

type cursorKey struct {
	filter uint64
	queue  ident.Queue
}

// scanPos is how far a filter has looked: below at there is nothing for it.
// skipAt is where offsets begin that could have been skipped.
type scanPos struct {
	at     uint64
	skipAt uint64
	skip   bool
}

// NewSelector returns a selector over d that has promised nothing.
func NewSelector(d *Deliveries) *Selector {
	return &Selector{d: d, sights: map[Key]*sight{}}
}

// Reset drops all promises and positions, and has every lease looked at anew:
// leadership began, or ended. Selections made before are void.
func (s *Selector) Reset() {
	for _, g := range s.sights {
		g.serial = 0
	}
	clear(s.sights)
	for _, p := range s.d.pairs {
		for p.due.head != 0 {
			s.d.unlist(&p.due, dueLink, p.due.head)
		}
		p.capped = false
	}
	for s.d.dying.head != 0 {
		s.d.unlist(&s.d.dying, dyingLink, s.d.dying.head)
	}
	for _, p := range s.d.pairs {
		for _, qi := range p.order {
			for _, r := range s.d.queues.at(qi).chunks {
				if r.id != 0 {
					s.d.chunks.at(r.id).busy = 0
				}
			}
		}
		s.d.reconsider(p)
	}
}

func (s *Selector) sight(k Key) *sight {
	var generation ident.Generation
	p := s.d.pairs[k]
	if p != nil {
		generation = p.generation
	}
	g := s.sights[k]
	if g == nil || g.generation != generation || g.p != nil && g.p != p {
		if g != nil {
			g.serial = 0 // its selections are void
		}
		s.serial++
		g = &sight{
			serial: s.serial, generation: generation,
			holds:   map[ident.Queue]hold{},
			cursors: map[cursorKey]scanPos{},
			firsts:  map[ident.Queue]ident.Offset{},
			dueSeen: map[uint64]uint64{}, differing: map[differKey]struct{}{},
		}
		s.sights[k] = g
	}
	g.p = p
	return g
}

// Select chooses at most Max offsets: leases that have fallen due and offsets
// not delivered before, each about half of the batch when there are enough of
// both, in turn from all queues. It never waits and logs nothing: the caller
// logs the items as one PopGrant with the Selection's generation and calls
// Applied after apply, or Cancel if the entry will never be in the log.
func (s *Selector) Select(req *SelectRequest) *Selection {
	more := s.Advance(req.NowMS)
	b := s.begin(req)
	b.sel = &Selection{key: req.Key, Generation: b.sight.generation, sight: b.sight, serial: b.sight.serial}
	if req.Max == 0 {
		b.sweep()
	} else {
		b.fill(req.Max)
	}
	b.end()
	b.sel.More = b.more || more && len(b.sel.Picks) == 0
	return b.sel
}

// Matchable reports whether a Select of the same request would pick something.
// It promises nothing, but moves the filter's scan position.
func (s *Selector) Matchable(req *SelectRequest) Match {
	more := s.Advance(req.NowMS)
	b := s.begin(req)
	b.dry = true
	b.fill(1)
	b.end()
	ready := b.taken > 0
	return Match{Ready: ready, More: !ready && (b.more || more), Skip: b.skippable}
}

// Differs says that the message's tag only has the hash of one that the filter
// wants: it is passed over for that filter from now on.
func (s *Selector) Differs(k Key, f Filter, queue ident.Queue, offset ident.Offset) {
	g := s.sights[k]
	if g == nil {
		return
	}
	if len(g.differing) >= differingMax {
		clear(g.differing)
	}
	g.differing[differKey{f.key, queue, uint64(offset)}] = struct{}{}
}

// Applied ends the promises of a selection whose PopGrant has been applied.
func (s *Selector) Applied(sel *Selection) {
	if sel.stands() {
		s.settle(sel, false)
	}
}

// Cancel ends the promises of a selection whose PopGrant will never be in the
// log.
func (s *Selector) Cancel(sel *Selection) {
	if !sel.stands() {
		return
	}
	s.settle(sel, true)
	clear(sel.sight.cursors)
}

// settle takes the selection out of its sight, which is void for it afterwards.
func (s *Selector) settle(sel *Selection, canceled bool) {
	g := sel.sight
	sel.serial = 0
	for i := range sel.marks {
		m := &sel.marks[i]
		g.leases -= m.leases
		h := g.holds[m.queue]
		h.grants--
		h.leases -= m.leases
		h.passes -= m.passes
		if canceled && h.next == m.freshEnd {
			h.next = m.freshFrom
		}
		if h.grants == 0 {
			delete(g.holds, m.queue)
		} else {
			g.holds[m.queue] = h
		}
	}
	p := s.d.pairs[sel.key]
	if p == nil || p.generation != g.generation || g.p != nil && g.p != p {
		clear(g.cursors) // the grant came too late: what it should have leased it did not
		return
	}
	g.p = p
	p.capped = p.capped || g.capped
	g.capped = false
	for i := range sel.marks {
		m := &sel.marks[i]
		q := s.d.queueOf(p, m.queue)
		if q == nil {
			continue
		}
		for _, r := range m.known {
			s.unpromise(q, r.from, r.from+r.n)
		}
	}
	if canceled || p.capped {
		s.d.wake(p)
	}
}

func (s *Selector) unpromise(q *popQueue, from, end uint64) {
	for from < end {
		id, c := s.d.chunkOf(q, from)
		stop := min(end, from&^(chunkLen-1)+chunkLen)
		if c != nil {
			s.d.unpromise(q, id, c, c.below(stop)&^c.below(from))
		}
		from = stop
	}
}

// Advance finds what has fallen due by nowMS; Woken and Exhausted tell of it.
// It reports whether it stopped at its limit with more to find: call again soon.
func (s *Selector) Advance(nowMS int64) bool {
	if s.dropped != s.d.dropped {
		s.dropped = s.d.dropped
		for k, g := range s.sights {
			if p := s.d.pairs[k]; g.p != nil && g.p != p || p == nil && len(g.holds) == 0 {
				g.serial = 0
				delete(s.sights, k)
			}
		}
	}
	return s.d.advance(nowMS, advanceChunksMax)
}

// NextDueMS is when Advance has something to do, at the latest: no lease falls
// due before. false: never, as things stand.
func (s *Selector) NextDueMS() (int64, bool) {
	if len(s.d.heap) == 0 {
		return 0, false
	}
	return s.d.epochMS + int64(s.d.heap[0].bound), true
}

// Woken appends the pairs in which a receive that found nothing may find
// something now, each once, and forgets them. New messages are not its matter:
// the caller knows of those.
func (s *Selector) Woken(dst []Key) []Key {
	for _, p := range s.d.woken {
		p.awake = false
		dst = append(dst, p.key)
	}
	clear(s.d.woken)
	s.d.woken = s.d.woken[:0]
	return dst
}
