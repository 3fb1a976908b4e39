// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/clock"
	"github.com/mansiomq/mansio/storenode/index"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/replica"
	"github.com/mansiomq/mansio/storenode/view"
	"github.com/mansiomq/mansio/storenode/view/queue"
)

// retireAfterMS is how long after its start a single replica believes no clock
// enough to delete by age.
const retireAfterMS = 10 * 60_000

// retire logs a Trim when retention lets the oldest segments go: by age at most
// one at a time, by bytes as many as are too much. Only segments go that no kept
// checkpoint needs.
func (s *Shard) retire() {
	segments := s.commitlog.Segments()
	var total int64
	for _, g := range segments {
		total += int64(g.End - g.Base) //nolint:gosec // a size
	}
	now := s.reading
	trusted := now.Mono-s.startedMS >= retireAfterMS && abs(s.clock.Off(now)) <= clock.OffMS
	var start ident.LSN
	for i := 0; i+1 < len(segments) && s.spare(segments[i].End); i++ {
		tooMuch := s.o.RetentionBytes > 0 && total > s.o.RetentionBytes
		tooOld := trusted && i == 0 && segments[1].FirstTimeMS != 0 && s.tail.timeMS-segments[1].FirstTimeMS > s.o.RetentionMS
		if !tooMuch && !tooOld {
			break
		}
		total -= int64(segments[i].End - segments[i].Base) //nolint:gosec // a size
		start = segments[i].End
	}
	if start == 0 || start <= s.trimming {
		return
	}
	s.trimming = start
	body := record.Trim{NewStart: start}
	s.scratch = body.Append(s.scratch[:0])
	s.put(record.TypeTrim, waiter{}, s.scratch)
}

// spare reports whether all kept checkpoints lie at or behind end, so that
// recovery never needs the log below it.
func (s *Shard) spare(end ident.LSN) bool {
	return len(s.checkpoints) >= view.CheckpointsKept && s.checkpoints[0] >= end
}

// applyTrim raises the minimums of all queues that had messages in the retired
// segments, to the first offset behind them. That is derived from the log, so
// every replica, and every replay, does the same. Index files that it needs and
// finds damaged are made again at once: the entry can't wait.
func (s *Shard) applyTrim(ctx context.Context, newStart ident.LSN) error {
	for {
		err := s.applyTrimListed(newStart)
		if _, damaged := damageOf(err); damaged {
			err = s.applyTrimUnlisted(newStart)
		}
		seg, damaged := damageOf(err)
		if !damaged {
			return err
		}
		if err := s.mendNow(ctx, seg); err != nil {
			return err
		}
	}
}

// applyTrimListed asks the index files of the retired segments.
func (s *Shard) applyTrimListed(newStart ident.LSN) error {
	var end ident.LSN
	for _, src := range s.archive.Sources() {
		if src.Segment().End > newStart {
			break
		}
		end = src.Segment().End
		for span, err := range src.Directory() {
			if err != nil {
				return err
			}
			s.views.trimmed(span)
		}
	}
	if end != newStart {
		return s.applyTrimUnlisted(newStart)
	}
	return nil
}

// applyTrimUnlisted does the same when the index files of retired segments were
// lost: it asks the segments that stay where each queue goes on.
func (s *Shard) applyTrimUnlisted(newStart ident.LSN) error {
	var raised []queue.Span
	for t, q := range s.views.queues.All() {
		first, err := s.firstBehind(newStart, t, q.Queue)
		if err != nil {
			return err
		}
		if first > q.Min {
			raised = append(raised, queue.Span{Topic: t, Queue: q.Queue, Base: q.Min, Count: uint32(first - q.Min)}) //nolint:gosec // of one segment
		}
	}
	for _, span := range raised {
		s.views.trimmed(span)
	}
	return nil
}

// firstBehind is the queue's first offset in the segments from an LSN on.
func (s *Shard) firstBehind(from ident.LSN, t ident.Topic, q ident.Queue) (ident.Offset, error) {
	for _, src := range s.archive.Sources() {
		if src.Segment().Base < from {
			continue
		}
		if span, ok, err := src.Find(t, q); ok || err != nil {
			return span.Base, err
		}
	}
	return s.views.queues.ActiveFirst(t, q), nil
}

// appliedTrim gives the retired segments back.
func (s *Shard) appliedTrim(newStart, at ident.LSN) {
	s.trims = append(s.trims, trimmed{newStart, at})
	if err := s.applyTrim(s.life, newStart); err != nil {
		s.fail(err)
		return
	}
	if err := s.commitlog.Trim(newStart); err != nil {
		s.fail(err)
		return
	}
	s.logger.Info("retired old segments", "start", newStart)
	said := newStart == s.retrim // and with it all that an accepted loss has to say
	s.retrim = 0
	s.chore(func() error {
		return s.meta.Update(func(m *replica.Meta) {
			m.Forget(newStart)
			m.Unclean = m.Unclean && !said
		})
	})
}

// trimmed is an applied Trim whose index files are still there.
type trimmed struct {
	start ident.LSN // the log's new start
	at    ident.LSN // of the Trim entry
}

// dropIndexes removes the index files of retired segments, once no kept
// checkpoint lies before the Trim: replaying that needs them.
func (s *Shard) dropIndexes() {
	var start ident.LSN
	for len(s.trims) > 0 && len(s.checkpoints) > 0 && s.trims[0].at < s.checkpoints[0] {
		start = s.trims[0].start
		s.trims = s.trims[1:]
	}
	if start == 0 {
		return
	}
	s.keys.Retire(start)
	for _, src := range s.archive.Retire(start) {
		base := src.Segment().Base
		s.chore(func() error { return index.Remove(s.o.FS, s.o.Dir, base) })
	}
}

func abs(v int64) int64 { return max(v, -v) }
