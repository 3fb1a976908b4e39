// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"cmp"
	"io"
	"maps"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/view/flat"
)

// encodingVersion is the version of the checkpoint's encoding.
const encodingVersion = 1

// Checkpoint writes the state, the same bytes for the same state:
//
//	version u8, epoch_ms sv
//	n uv, n × group:  { id uv, attempts_max u8, late_ack u8 }                by id
//	n uv, n × grant:  { lsn − previous uv, term uv, time_ms − epoch sv,
//	                    attempt_hash uv }                                    by lsn
//	n uv, n × pair:   { group uv, topic uv, generation uv, start kind u8, start time sv,
//	                    start revision uv, acked uv, skipped uv, expired uv, dead_lettered uv,
//	                    0 uv (held message groups), 0 uv (runs of message groups),
//	                    n uv, n × owner:     { client str, until_ms − epoch sv, terminated u8 }   by client
//	                    n uv, n × committed: { queue uv, offset uv }                              by queue
//	                    n uv, n × queue:     { id uv, base uv, next − base uv,
//	                                           n uv, n × chunk }             in order of first grant
//	                  }                                                      by group, topic
//	chunk: { number − previous uv, done u64, live u64, a slot per live bit }
//	slot:  { grant's place − previous sv, due − previous sv, attempts u8, flags u8 [, owner's place uv: owned] }
//
// "Previous" runs through a queue for chunks and through a pair for slots, from 0.
func (d *Deliveries) Checkpoint(w io.Writer) error {
	e := flat.NewEncoder(w)
	e.U8(encodingVersion)
	e.SV(d.epochMS)
	e.UV(uint64(len(d.groups)))
	for _, id := range slices.Sorted(maps.Keys(d.groups)) {
		c := d.groups[id]
		e.UV(uint64(id))
		e.U8(c.AttemptsMax)
		e.Flag(c.LateAck)
	}
	places := d.encodeGrants(e)
	pairs := slices.SortedFunc(maps.Values(d.pairs), func(a, b *pair) int { return compareKeys(a.key, b.key) })
	e.UV(uint64(len(pairs)))
	for _, p := range pairs {
		d.encodePair(e, p, places)
	}
	return e.Flush()
}

// encodeGrants writes all grants with live slots and returns the place of each
// by its index.
func (d *Deliveries) encodeGrants(e *flat.Encoder) []uint32 {
	used := make([]uint32, 0, d.grants.used)
	for i := uint32(1); i <= d.grants.top; i++ {
		if d.grants.at(i).slots > 0 {
			used = append(used, i)
		}
	}
	slices.SortFunc(used, func(a, b uint32) int { return cmp.Compare(d.grants.at(a).lsn, d.grants.at(b).lsn) })
	places := make([]uint32, d.grants.top+1)
	e.UV(uint64(len(used)))
	var prev ident.LSN
	for place, i := range used {
		g := d.grants.at(i)
		places[i] = uint32(place)
		e.UV(uint64(g.lsn - prev))
		e.UV(uint64(g.term))
		e.SV(g.timeMS - d.epochMS)
		e.UV(g.attemptHash)
		prev = g.lsn
	}
	return places
}

func (d *Deliveries) encodePair(e *flat.Encoder, p *pair, grantPlaces []uint32) {
	e.UV(uint64(p.key.Group))
	e.UV(uint64(p.key.Topic))
	e.UV(uint64(p.generation))
	e.U8(uint8(p.start.Kind))
	e.SV(p.start.TimeMS)
	e.UV(p.start.Revision)
	for _, n := range [...]uint64{p.totals.Acked, p.totals.Skipped, p.totals.Expired, p.totals.DeadLettered, 0, 0} {
		e.UV(n)
	}
	ownerPlaces := make([]uint32, len(p.owners))
	e.UV(uint64(len(p.ownerOf)))
	for place, id := range slices.Sorted(maps.Keys(p.ownerOf)) {
		o := &p.owners[p.ownerOf[id]]
		ownerPlaces[p.ownerOf[id]] = uint32(place)
		e.Str([]byte(id))
		e.SV(o.untilMS - d.epochMS)
		e.Flag(o.terminated)
	}
	e.UV(uint64(len(p.committed)))
	for _, q := range slices.Sorted(maps.Keys(p.committed)) {
		e.UV(uint64(q))
		e.UV(uint64(p.committed[q]))
	}
	e.UV(uint64(len(p.order)))
	s := slotEncoder{d: d, e: e, grants: grantPlaces, owners: ownerPlaces}
	for _, qi := range p.order {
		s.queue(d.queues.at(qi))
	}
}

// slotEncoder writes the queues of one pair.
type slotEncoder struct {
	d         *Deliveries
	e         *flat.Encoder
	grants    []uint32
	owners    []uint32
	prevGrant int64
	prevDue   int64
}

func (s *slotEncoder) queue(q *popQueue) {
	s.e.UV(uint64(q.id))
	s.e.UV(q.base)
	s.e.UV(q.next - q.base)
	s.e.UV(uint64(len(q.chunks) - q.holes)) //nolint:gosec // not negative
	prev := uint64(0)
	for _, r := range q.chunks {
		if r.id == 0 {
			continue
		}
		c := s.d.chunks.at(r.id)
		s.e.UV(r.no - prev)
		prev = r.no
		s.e.U64(c.done)
		s.e.U64(c.live)
		for m := c.live; m != 0; m &= m - 1 {
			slot, j := s.d.slotOf(c, uint64(bits.TrailingZeros64(m))) //nolint:gosec // 0…63
			s.slot(slot, j)
		}
	}
}

func (s *slotEncoder) slot(slot *slab, j uint64) {
	grant, due := int64(s.grants[slot.grant[j]]), int64(slot.due[j])
	s.e.SV(grant - s.prevGrant)
	s.e.SV(due - s.prevDue)
	s.prevGrant, s.prevDue = grant, due
	s.e.U8(slot.attempts[j])
	s.e.U8(slot.flags[j])
	if slot.flags[j]&flagOwned != 0 {
		s.e.UV(uint64(s.owners[slot.owner[j]]))
	}
}

// Digest is a hash of the state, equal on all replicas at the same entry. It
// costs as much as a checkpoint.
func (d *Deliveries) Digest() uint64 {
	h := xxhash.New()
	_ = d.Checkpoint(h) // a hash takes everything
	return h.Sum64()
}
