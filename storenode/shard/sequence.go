// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/storenode/commitlog"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/replica"
)

// waiter ties an entry to what waits for it: the index-th part of a pending
// operation. The zero waiter waits for nothing.
type waiter struct {
	op    *pending
	index int
}

// pending is an operation some of whose entries are not applied yet.
type pending struct {
	op     *storeapi.Op
	left   int
	append *storeapi.AppendResult
	settle *storeapi.SettleResult
}

// newAppending makes a pending Append of n messages. Almost all have one: its
// answer lies in the same piece of memory.
func newAppending(op *storeapi.Op, n int) *pending {
	a := &struct {
		pending
		result storeapi.AppendResult
		one    [1]storeapi.Appended
	}{pending: pending{op: op}}
	a.append = &a.result
	if a.result.Entries = a.one[:min(n, 1)]; n > 1 {
		a.result.Entries = make([]storeapi.Appended, n)
	}
	return &a.pending
}

// newSettling makes a pending Settle of n items, in the same way.
func newSettling(op *storeapi.Op, n int) *pending {
	a := &struct {
		pending
		result storeapi.SettleResult
		one    [1]storeapi.Code
	}{pending: pending{op: op, left: n}}
	a.settle = &a.result
	if a.result.Codes = a.one[:min(n, 1)]; n > 1 {
		a.result.Codes = make([]storeapi.Code, n)
	}
	return &a.pending
}

// done counts one part as finished and completes the operation with the last.
func (p *pending) done(term ident.Term) {
	p.left--
	if p.left > 0 {
		return
	}
	switch {
	case p.append != nil:
		reply(p.op, storeapi.OK, term, p.append)
	case p.settle != nil:
		reply(p.op, storeapi.OK, term, p.settle)
	}
}

// sequence turns one operation into entries, or answers it from the views.
func (s *Shard) sequence(op *storeapi.Op) {
	if s.machine.Role() != replica.Leader {
		op.Done(storeapi.Reply{Code: storeapi.NotLeader, Term: s.machine.Term()})
		return
	}
	if !op.Deadline.IsZero() && !s.o.Now().Before(op.Deadline) {
		s.expired(op)
		return
	}
	switch r := op.Request.(type) {
	case *storeapi.Append:
		s.sequenceAppend(op, r)
	case *storeapi.Settle:
		s.sequenceSettle(op, r)
	case *storeapi.Take:
		s.sequenceTake(op, r)
	case *storeapi.Park:
		s.park(op, r)
	case *storeapi.Unpark:
		if w := s.parking.remove(r.ID); w != nil {
			reply(w.op, storeapi.Canceled, s.tail.term, nil)
		}
		reply(op, storeapi.OK, s.tail.term, nil)
	case *storeapi.Decline:
		s.followed(r.Ticket, true)
		reply(op, storeapi.OK, s.tail.term, nil)
	case *storeapi.Alive:
		reply(op, s.alive(r), s.tail.term, nil)
	case *storeapi.Offsets:
		reply(op, storeapi.OK, s.tail.term, s.offsets(r))
	case *storeapi.Query:
		s.query(op, r)
	default:
		reply(op, storeapi.Invalid, s.tail.term, nil)
	}
}

// expired answers an operation that came too late; a Take among them may have
// had its ticket before a scan that took long.
func (s *Shard) expired(op *storeapi.Op) {
	if r, ok := op.Request.(*storeapi.Take); ok {
		s.followed(r.Ticket, false)
		s.refuseTake(op, r, storeapi.Expired)
		return
	}
	reply(op, storeapi.Expired, s.tail.term, nil)
}

// put lays an entry out at the tail, sealing the segment first when it is full
// or too old. The body fits; see fits.
func (s *Shard) put(typ record.Type, waits waiter, body []byte) {
	need := int64(record.Padded(record.HeaderSize + len(body)))
	if s.room() < need || s.segmentTooOld() {
		s.seal()
	}
	s.filling.add(&s.tail, typ, s.commitEnd, waits, body)
}

// room is what the segment at the tail still takes, the Seal aside.
// On a full disk only what is prepared counts, so that sealing lets the log go on
// in its spare.
func (s *Shard) room() int64 {
	return min(s.tail.room, int64(s.commitlog.Limit(s.tail.segment))-int64(s.tail.end)) //nolint:gosec // positions in a log
}

// segmentTooOld keeps the times in one segment within what slots can hold, and
// lets quiet shards retire old segments.
func (s *Shard) segmentTooOld() bool {
	return s.tail.firstMS != 0 && s.tail.timeMS-s.tail.firstMS > min(s.o.RetentionMS/segmentsPerRetention, segmentAgeMaxMS)
}

const (
	segmentsPerRetention = 12
	segmentAgeMaxMS      = int64(7 * 24 * time.Hour / time.Millisecond)
)

// seal ends the segment at the tail.
func (s *Shard) seal() {
	s.closeSettle()
	if s.tail.end == s.tail.segment {
		return
	}
	s.filling.add(&s.tail, record.TypeSeal, s.commitEnd, waiter{}, nil)
	s.tail.segment, s.tail.firstMS, s.tail.room = s.tail.end, 0, s.o.SegmentBytes-commitlog.SealReserve
	s.filling.nextBlock()
}

// sequenceAppend stores messages.
func (s *Shard) sequenceAppend(op *storeapi.Op, r *storeapi.Append) {
	if s.space.Low || s.space.Full {
		op.Done(storeapi.Reply{Code: storeapi.DiskFull, Term: s.tail.term, Detail: s.shortage()})
		return
	}
	if code := s.tell(op, record.ConfigTopic, uint64(r.Topic), op.TopicRevision); code != storeapi.OK {
		reply(op, code, s.tail.term, nil)
		return
	}
	p := newAppending(op, len(r.Payloads))
	for i, b := range r.Payloads {
		m, err := message.Parse(b)
		if err != nil || m.Topic() != r.Topic {
			p.append.Entries[i].Code = storeapi.Invalid
			continue
		}
		if !s.storable(m) {
			p.append.Entries[i].Code = storeapi.TooLarge
			continue
		}
		if seen := s.views.producers.Seen(m.Proxy(), m.Seq()); seen.TooOld {
			p.append.Entries[i].Code = storeapi.SeqTooOld
			continue
		}
		p.left++
		s.put(record.TypeMessage, waiter{p, i}, b)
	}
	if p.left == 0 {
		reply(op, storeapi.OK, s.tail.term, p.append)
	}
}

// MessageBytesMax is the largest message, with its properties and its id once more,
// that segments of that size can hold, as it is and as a dead letter.
func MessageBytesMax(segmentBytes int64) int64 {
	return (min(record.EntryBytesMax, segmentBytes-commitlog.SealReserve) &^ (record.Align - 1)) - record.HeaderSize - deadLetterHead - originBytesMax
}

// fits reports whether a segment can hold an entry whose body has n bytes.
func (s *Shard) fits(n int) bool {
	return int64(record.Padded(record.HeaderSize+n)) <= s.entryBytesMax()
}

// entryBytesMax is the largest padded entry that a segment can hold.
func (s *Shard) entryBytesMax() int64 {
	return min(record.EntryBytesMax, s.o.SegmentBytes-commitlog.SealReserve)
}

// tell makes sure that the log holds an object's configuration as new as the
// sender's before the first entry that depends on it. The shard's own metadata
// is asked first, then what the operation carries.
func (s *Shard) tell(op *storeapi.Op, kind record.ConfigKind, id uint64, revision int64) storeapi.Code {
	key := configKey{kind, id}
	if told, ok := s.told[key]; ok && told.deleted {
		if kind == record.ConfigTopic {
			return storeapi.TopicNotFound
		}
		return storeapi.GroupNotFound
	} else if ok && told.revision >= revision {
		return storeapi.OK
	}
	c, ok := s.o.Metadata.Config(kind, id)
	if !ok || c.Revision < revision {
		if c, ok = attached(op, kind, id, revision); !ok {
			return storeapi.NeedConfig
		}
	}
	if !s.innerRoom(len(c.Bytes)) {
		return storeapi.DiskFull
	}
	if !s.putConfig(kind, c, false) {
		return storeapi.Invalid
	}
	return storeapi.OK
}

func attached(op *storeapi.Op, kind record.ConfigKind, id uint64, revision int64) (storeapi.Config, bool) {
	for _, c := range op.Attached {
		if record.ConfigKind(c.Kind) == kind && c.ID == id && c.Revision >= revision {
			return c, true
		}
	}
	return storeapi.Config{}, false
}

// putConfig logs an object's configuration; false if it is none, or too large: it
// may come with an operation.
func (s *Shard) putConfig(kind record.ConfigKind, c storeapi.Config, deleted bool) bool {
	if !s.fits(configHead+len(c.Bytes)) || !deleted && !soundConfig(kind, &c) {
		return false
	}
	body := record.Config{
		Kind: kind, ID: c.ID, RestoreEpoch: s.restoreEpoch, Revision: uint64(c.Revision), Deleted: deleted, Bytes: c.Bytes, //nolint:gosec // revisions are positive
	}
	s.told[configKey{kind, c.ID}] = toldConfig{revision: c.Revision, deleted: deleted}
	s.scratch = body.Append(s.scratch[:0])
	s.put(record.TypeConfig, waiter{}, s.scratch)
	return true
}

const (
	// configHead bounds a Config body without the configuration.
	configHead = 64
	// revisionMax leaves room for the deletion that follows any revision.
	revisionMax = 1 << 62
)

// soundConfig reports whether apply can read the configuration.
func soundConfig(kind record.ConfigKind, c *storeapi.Config) bool {
	var id uint64
	var err error
	switch kind {
	case record.ConfigTopic:
		t := &controlv1.Topic{}
		err = proto.Unmarshal(c.Bytes, t)
		id = t.GetId()
	case record.ConfigGroup:
		g := &controlv1.Group{}
		err = proto.Unmarshal(c.Bytes, g)
		id = g.GetId()
	default:
		return false
	}
	return err == nil && id == c.ID && c.Revision >= 0 && c.Revision < revisionMax
}
