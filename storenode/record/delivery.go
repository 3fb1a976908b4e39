// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/binary"

	"github.com/mansiomq/mansio/internal/ident"
)

// RunKind says what a PopGrant does with a run of offsets.
type RunKind uint8

// The kinds. A skipped offset is done for the group; a passed one stays
// available to the group's other subscriptions.
const (
	RunLease RunKind = 0
	RunSkip  RunKind = 1
	RunPass  RunKind = 2
)

// Run is Count offsets in a row with one fate. In a FIFO grant a lease run
// belongs to one message group: GroupHash names it and After is that group's
// preceding offset + 1 (0: it has none), which apply requires to be done.
type Run struct {
	Kind      RunKind
	Count     uint64
	GroupHash uint64
	After     uint64
}

// GrantItem is what a PopGrant does in one queue, from First upward.
type GrantItem struct {
	Queue ident.Queue
	First ident.Offset
	Runs  []Run
}

// Offsets is the number of offsets that the item covers.
func (it *GrantItem) Offsets() (n uint64) {
	for _, r := range it.Runs {
		n += r.Count
	}
	return n
}

// PopGrant makes one delivery, named by the entry's own LSN, of every offset in
// its lease runs that apply finds grantable.
//
//	group uv, topic uv, generation uv, invisible_ms uv, owner str (empty: not
//	auto-renewed), attempt_hash uv, fifo u8,
//	n uv, n × { queue uv, first uv, m uv, m × { count<<2|kind uv
//	                                          [, group_hash u64, after uv: fifo lease runs] } }
type PopGrant struct {
	Group       ident.Group
	Topic       ident.Topic
	Generation  ident.Generation
	InvisibleMS int64
	Owner       string
	AttemptHash uint64
	FIFO        bool
	Items       []GrantItem
}

// Append encodes the body behind dst.
func (b *PopGrant) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(b.Group))
	dst = binary.AppendUvarint(dst, uint64(b.Topic))
	dst = binary.AppendUvarint(dst, uint64(b.Generation))
	dst = binary.AppendUvarint(dst, uint64(b.InvisibleMS)) //nolint:gosec // never negative
	dst = putStr(dst, b.Owner)
	dst = binary.AppendUvarint(dst, b.AttemptHash)
	dst = putFlag(dst, b.FIFO)
	dst = binary.AppendUvarint(dst, uint64(len(b.Items)))
	for i := range b.Items {
		it := &b.Items[i]
		dst = binary.AppendUvarint(dst, uint64(it.Queue))
		dst = binary.AppendUvarint(dst, uint64(it.First))
		dst = binary.AppendUvarint(dst, uint64(len(it.Runs)))
		for _, r := range it.Runs {
			dst = binary.AppendUvarint(dst, r.Count<<2|uint64(r.Kind))
			if b.FIFO && r.Kind == RunLease {
				dst = binary.LittleEndian.AppendUint64(dst, r.GroupHash)
				dst = binary.AppendUvarint(dst, r.After)
			}
		}
	}
	return dst
}

// DecodePopGrant decodes the body of a PopGrant entry.
func DecodePopGrant(body []byte) (PopGrant, error) {
	c := cursor{b: body}
	b := PopGrant{
		Group: ident.Group(c.uv("group")), Topic: ident.Topic(c.uv("topic")),
		Generation:  c.generation(),
		InvisibleMS: int64(c.below(1<<62, "invisible_ms")), //nolint:gosec // bounded
		Owner:       string(c.str("owner")), AttemptHash: c.uv("attempt_hash"), FIFO: c.flag("fifo"),
	}
	for range c.count("items") {
		it := GrantItem{Queue: ident.Queue(c.uv("queue")), First: ident.Offset(c.uv("first"))}
		for range c.count("runs") {
			it.Runs = append(it.Runs, c.run(b.FIFO))
		}
		b.Items = append(b.Items, it)
	}
	return b, c.finish(TypePopGrant)
}

// runOffsetsMax bounds a run, so that sums of counts cannot overflow.
const runOffsetsMax = 1 << 32

func (c *cursor) run(fifo bool) Run {
	v := c.uv("run")
	r := Run{Kind: RunKind(v & 3), Count: v >> 2}
	if r.Kind > RunPass || r.Count == 0 || r.Count > runOffsetsMax {
		c.fail("run")
		return Run{}
	}
	if fifo && r.Kind == RunLease {
		if len(c.b) < 8 {
			c.fail("group_hash")
			return Run{}
		}
		r.GroupHash = binary.LittleEndian.Uint64(c.b)
		c.b = c.b[8:]
		r.After = c.uv("after")
	}
	return r
}

// Verdict is what a client says of a delivery.
type Verdict uint8

// The verdicts. Ack: done. Extend: due again MS after the entry's time, the
// attempt counts as before. Release: give it back, visible MS after the entry's
// time; with NoCount the next delivery does not count as a further attempt.
const (
	VerdictAck     Verdict = 0
	VerdictExtend  Verdict = 1
	VerdictRelease Verdict = 2
)

// SettleItem settles one offset of one delivery.
type SettleItem struct {
	Group      ident.Group
	Topic      ident.Topic
	Generation ident.Generation
	Queue      ident.Queue
	Offset     ident.Offset
	Term       ident.Term
	Grant      ident.LSN
	Verdict    Verdict
	NoCount    bool
	MS         int64
}

// Settle carries the settlements of one commit round, of all clients together.
//
//	n uv, n × { group uv, topic uv, generation uv, queue uv, offset uv, term uv,
//	            grant uv, no_count<<2|verdict u8 [, ms uv: not for acks] }
type Settle struct{ Items []SettleItem }

// Append encodes the body behind dst.
func (b *Settle) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b.Items)))
	for i := range b.Items {
		it := &b.Items[i]
		dst = binary.AppendUvarint(dst, uint64(it.Group))
		dst = binary.AppendUvarint(dst, uint64(it.Topic))
		dst = binary.AppendUvarint(dst, uint64(it.Generation))
		dst = binary.AppendUvarint(dst, uint64(it.Queue))
		dst = binary.AppendUvarint(dst, uint64(it.Offset))
		dst = binary.AppendUvarint(dst, uint64(it.Term))
		dst = binary.AppendUvarint(dst, uint64(it.Grant))
		how := byte(it.Verdict)
		if it.NoCount {
			how |= 4
		}
		dst = append(dst, how)
		if it.Verdict != VerdictAck {
			dst = binary.AppendUvarint(dst, uint64(it.MS)) //nolint:gosec // never negative
		}
	}
	return dst
}

// DecodeSettle decodes the body of a Settle entry.
func DecodeSettle(body []byte) (Settle, error) {
	c := cursor{b: body}
	n := c.count("items")
	b := Settle{Items: make([]SettleItem, 0, min(n, len(body)/8+1))}
	for range n {
		it := SettleItem{
			Group: ident.Group(c.uv("group")), Topic: ident.Topic(c.uv("topic")),
			Generation: c.generation(), Queue: ident.Queue(c.uv("queue")),
			Offset: ident.Offset(c.uv("offset")), Term: ident.Term(c.uv("term")), Grant: ident.LSN(c.uv("grant")),
		}
		how := c.below(7, "verdict")
		it.Verdict, it.NoCount = Verdict(how&3), how&4 != 0
		if it.Verdict > VerdictRelease {
			c.fail("verdict")
		}
		if it.Verdict != VerdictAck {
			it.MS = int64(c.below(1<<62, "ms")) //nolint:gosec // bounded
		}
		if c.bad != "" {
			break
		}
		b.Items = append(b.Items, it)
	}
	return b, c.finish(TypeSettle)
}

// RenewItem keeps the auto-renewed leases of one client in one group alive
// until the entry's time + TTLMS.
type RenewItem struct {
	Group      ident.Group
	Topic      ident.Topic
	Owner      string
	TTLMS      int64
	Terminated bool
}

// Renew carries the signs of life of clients that own leases on this shard.
//
//	n uv, n × { group uv, topic uv, owner str, ttl_ms uv, terminated u8 }
type Renew struct{ Items []RenewItem }

// Append encodes the body behind dst.
func (b *Renew) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b.Items)))
	for i := range b.Items {
		it := &b.Items[i]
		dst = binary.AppendUvarint(dst, uint64(it.Group))
		dst = binary.AppendUvarint(dst, uint64(it.Topic))
		dst = putStr(dst, it.Owner)
		dst = binary.AppendUvarint(dst, uint64(it.TTLMS)) //nolint:gosec // never negative
		dst = putFlag(dst, it.Terminated)
	}
	return dst
}

// DecodeRenew decodes the body of a Renew entry.
func DecodeRenew(body []byte) (Renew, error) {
	c := cursor{b: body}
	var b Renew
	for range c.count("items") {
		it := RenewItem{
			Group: ident.Group(c.uv("group")), Topic: ident.Topic(c.uv("topic")), Owner: string(c.str("owner")),
			TTLMS: int64(c.below(1<<62, "ttl_ms")), Terminated: c.flag("terminated"), //nolint:gosec // bounded
		}
		if c.bad != "" {
			break
		}
		b.Items = append(b.Items, it)
	}
	return b, c.finish(TypeRenew)
}

// OffsetItem is a group's committed position in one queue, for consumers that
// keep offsets.
type OffsetItem struct {
	Group      ident.Group
	Topic      ident.Topic
	Generation ident.Generation
	Queue      ident.Queue
	Offset     ident.Offset
}

// OffsetCommit carries committed positions; the last one wins.
//
//	n uv, n × { group uv, topic uv, generation uv, queue uv, offset uv }
type OffsetCommit struct{ Items []OffsetItem }

// Append encodes the body behind dst.
func (b *OffsetCommit) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b.Items)))
	for i := range b.Items {
		it := &b.Items[i]
		dst = binary.AppendUvarint(dst, uint64(it.Group))
		dst = binary.AppendUvarint(dst, uint64(it.Topic))
		dst = binary.AppendUvarint(dst, uint64(it.Generation))
		dst = binary.AppendUvarint(dst, uint64(it.Queue))
		dst = binary.AppendUvarint(dst, uint64(it.Offset))
	}
	return dst
}

// DecodeOffsetCommit decodes the body of an OffsetCommit entry.
func DecodeOffsetCommit(body []byte) (OffsetCommit, error) {
	c := cursor{b: body}
	var b OffsetCommit
	for range c.count("items") {
		it := OffsetItem{
			Group: ident.Group(c.uv("group")), Topic: ident.Topic(c.uv("topic")),
			Generation: c.generation(), Queue: ident.Queue(c.uv("queue")),
			Offset: ident.Offset(c.uv("offset")),
		}
		if c.bad != "" {
			break
		}
		b.Items = append(b.Items, it)
	}
	return b, c.finish(TypeOffsetCommit)
}

// StartKind says where a group starts in the queues of a topic.
type StartKind uint8

// The kinds. At the time: the first offset whose log time is not before it.
const (
	StartEarliest StartKind = 0
	StartLatest   StartKind = 1
	StartTime     StartKind = 2
)

// GroupReset moves a group on a topic to a new start and begins a new
// generation: what was in flight is dropped, settlements of the old generation
// change nothing.
//
//	group uv, topic uv, generation uv, kind u8, time_ms uv
type GroupReset struct {
	Group      ident.Group
	Topic      ident.Topic
	Generation ident.Generation // the new one
	Kind       StartKind
	TimeMS     int64
}

// Append encodes the body behind dst.
func (b *GroupReset) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(b.Group))
	dst = binary.AppendUvarint(dst, uint64(b.Topic))
	dst = binary.AppendUvarint(dst, uint64(b.Generation))
	dst = append(dst, byte(b.Kind))
	return binary.AppendUvarint(dst, uint64(b.TimeMS)) //nolint:gosec // never negative
}

// DecodeGroupReset decodes the body of a GroupReset entry.
func DecodeGroupReset(body []byte) (GroupReset, error) {
	c := cursor{b: body}
	b := GroupReset{
		Group: ident.Group(c.uv("group")), Topic: ident.Topic(c.uv("topic")),
		Generation: c.generation(),
		Kind:       StartKind(c.small(uint8(StartTime), "kind")),
		TimeMS:     int64(c.below(1<<62, "time_ms")), //nolint:gosec // bounded
	}
	return b, c.finish(TypeGroupReset)
}
