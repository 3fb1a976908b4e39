// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"io"
	"math"
	"math/bits"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/flat"
)

// Restore replaces the state with the one that Checkpoint wrote; the caller
// bounds r. Anything that is no state is an error of kind fault.Corrupt, after
// which d is as New made it. Selectors over d must be made anew.
func (d *Deliveries) Restore(r io.Reader) error {
	*d = *New()
	in, err := flat.ReadAll(r)
	if err != nil {
		return fault.E("delivery.Restore", fault.Other, err)
	}
	rest := restoring{Deliveries: d, in: in}
	rest.all()
	if err := in.Finish("deliveries"); err != nil {
		*d = *New()
		return fault.E("delivery.Restore", fault.Corrupt, err)
	}
	return nil
}

type restoring struct {
	*Deliveries
	in     *flat.Decoder
	grants int // their indexes in the pool are their places + 1
}

// Least sizes of encoded things, for counts.
const (
	groupBytesMin     = 3
	grantBytesMin     = 4
	pairBytesMin      = 15
	ownerBytesMin     = 3
	committedBytesMin = 2
	queueBytesMin     = 4
	chunkBytesMin     = 17
)

func (r *restoring) check(ok bool, what string) {
	if !ok {
		r.in.Fail(what)
	}
}

func (r *restoring) all() {
	r.in.Version(encodingVersion)
	r.epochMS = r.in.SV("epoch")
	r.check(r.epochMS > math.MinInt64/4 && r.epochMS < math.MaxInt64/4, "epoch")
	for prev, n := uint64(0), r.in.Count(groupBytesMin, "groups"); n > 0 && r.in.OK(); n-- {
		id := r.in.UV("group")
		r.check(id > prev, "order of groups")
		prev = id
		r.Deliveries.groups[ident.Group(id)] = GroupConfig{AttemptsMax: r.in.U8("attempts_max"), LateAck: r.in.Flag("late_ack")}
	}
	r.allGrants()
	var prev Key
	for n := r.in.Count(pairBytesMin, "pairs"); n > 0 && r.in.OK(); n-- {
		k := Key{ident.Group(r.in.UV("group")), ident.Topic(r.in.UV("topic"))}
		r.check(compareKeys(k, prev) > 0, "order of pairs")
		config, known := r.Deliveries.groups[k.Group]
		r.check(known, "group of a pair")
		prev = k
		if r.in.OK() {
			r.pair(r.addPair(k, config))
		}
	}
	for i := 1; i <= r.grants && r.in.OK(); i++ {
		r.check(r.Deliveries.grants.at(uint32(i)).slots > 0, "grant without slots")
	}
}

func (r *restoring) allGrants() {
	r.grants = r.in.Count(grantBytesMin, "grants")
	prev := uint64(0)
	for range r.grants {
		back := r.in.UV("lsn")
		lsn := prev + back
		r.check(back > 0 && lsn > prev, "order of grants")
		prev = lsn
		_, g := r.Deliveries.grants.get()
		*g = grant{lsn: ident.LSN(lsn), term: ident.Term(r.in.UV("term")), timeMS: r.time("grant time")}
		g.attemptHash = r.in.UV("attempt_hash")
		if !r.in.OK() {
			return
		}
	}
}

// time reads a time that is written against the epoch.
func (r *restoring) time(what string) int64 {
	t := r.in.SV(what)
	r.check(t > math.MinInt64/4 && t < math.MaxInt64*3/4, what)
	return r.epochMS + t
}

func (r *restoring) pair(p *pair) {
	p.generation = ident.Generation(r.in.Max(math.MaxUint32, "generation")) //nolint:gosec // bounded by Max
	p.start.Kind = record.StartKind(r.in.U8("start kind"))
	r.check(p.start.Kind <= record.StartTime, "start kind")
	p.start.TimeMS = r.in.SV("start time")
	p.start.Revision = r.in.UV("start revision")
	p.totals = Totals{
		Acked: r.in.UV("acked"), Skipped: r.in.UV("skipped"), Expired: r.in.UV("expired"), DeadLettered: r.in.UV("dead_lettered"),
	}
	r.check(r.in.UV("held message groups") == 0, "held message groups")
	r.check(r.in.UV("runs of message groups") == 0, "runs of message groups")
	r.owners(p)
	prev := uint64(0)
	for i, n := 0, r.in.Count(committedBytesMin, "committed"); i < n && r.in.OK(); i++ {
		q := r.in.UV("committed queue")
		r.check(i == 0 || q > prev, "order of committed queues")
		prev = q
		p.committed[ident.Queue(q)] = ident.Offset(r.in.UV("committed offset"))
	}
	s := slotDecoder{restoring: r, p: p}
	for n := r.in.Count(queueBytesMin, "queues"); n > 0 && r.in.OK(); n-- {
		s.queue()
	}
	for i := range p.owners {
		r.check(p.owners[i].leases > 0, "owner without leases")
	}
}

func (r *restoring) owners(p *pair) {
	prev := ""
	for n := r.in.Count(ownerBytesMin, "owners"); n > 0 && r.in.OK(); n-- {
		id := string(r.in.Str("owner"))
		r.check(id > prev, "order of owners")
		prev = id
		o := &p.owners
		r.intern(p, id)
		(*o)[len(*o)-1].untilMS = r.time("until")
		(*o)[len(*o)-1].terminated = r.in.Flag("terminated")
	}
}

// slotDecoder reads the queues of one pair.
type slotDecoder struct {
	*restoring
	p         *pair
	prevGrant int64
	prevDue   int64
}

func (s *slotDecoder) queue() {
	id := ident.Queue(s.in.UV("queue"))
	_, known := s.p.queueOf[id]
	s.check(!known, "queue twice")
	base := s.in.UV("base")
	span := s.in.UV("next")
	s.check(base+span >= base, "next")
	n := s.in.Count(chunkBytesMin, "chunks")
	if !s.in.OK() {
		return
	}
	q := s.addQueue(s.p, id, base)
	q.next = base + span
	prev := uint64(0)
	for i := 0; i < n && s.in.OK(); i++ {
		back := s.in.UV("chunk")
		no := prev + back
		s.check(no >= base>>chunkBits && (i == 0 || back > 0) && no >= prev && no <= math.MaxUint64>>chunkBits, "order of chunks")
		prev = no
		s.chunk(q, no)
	}
}

func (s *slotDecoder) chunk(q *popQueue, no uint64) {
	id, c := s.chunks.get()
	c.base = no << chunkBits
	c.done = s.in.U64("done")
	live := s.in.U64("live")
	known := c.below(q.next)
	s.check(c.done&live == 0 && (c.done|live)&^known == 0, "masks")
	s.check(c.done != known && c.below(q.base)&^c.done == 0, "done")
	c.queue = s.p.queueOf[q.id]
	q.chunks = append(q.chunks, chunkRef{no, id})
	for ; live != 0 && s.in.OK(); live &= live - 1 {
		s.slot(q, c, uint64(bits.TrailingZeros64(live))) //nolint:gosec // 0…63
	}
	if c.live != 0 {
		s.lowerBound(id, c, 0)
	}
	free := uint64(bits.OnesCount64(c.free(q.next))) //nolint:gosec // 0…64
	q.available += free
	s.p.available += free
}

func (s *slotDecoder) slot(q *popQueue, c *chunk, i uint64) {
	place, due := s.prevGrant+s.in.SV("grant"), s.prevDue+s.in.SV("due")
	attempts, flags := s.in.U8("attempts"), s.in.U8("flags")
	s.check(place >= 0 && place < int64(s.restoring.grants), "grant")
	s.check(due >= 0 && due <= math.MaxUint32, "due")
	s.check(attempts > 0, "attempts")
	s.check(flags&^flagsKnown == 0, "flags")
	if !s.in.OK() {
		return
	}
	s.prevGrant, s.prevDue = place, due
	owner := uint64(0)
	if flags&flagOwned != 0 {
		owner = s.in.UV("owner")
		s.check(owner < uint64(len(s.p.owners)), "owner")
		if !s.in.OK() {
			return
		}
	}
	slot, j := s.makeSlot(q, c, i)
	slot.grant[j], slot.due[j] = uint32(place+1), uint32(due) //nolint:gosec // checked above
	slot.attempts[j], slot.flags[j] = attempts, flags&^flagOwned
	s.Deliveries.grants.at(uint32(place+1)).slots++ //nolint:gosec // checked above
	if flags&flagOwned != 0 {
		s.own(s.p, slot, j, uint32(owner))
	}
}
