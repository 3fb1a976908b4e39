// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/clock"
	"github.com/mansiomq/mansio/storenode/index"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/replica"
	"github.com/mansiomq/mansio/storenode/view"
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
// segments. Their directories are derived from the log, so every replica, and
// every replay, does the same.
func (s *Shard) applyTrim(newStart ident.LSN) error {
	for _, src := range s.archive.Sources() {
		if src.Segment().End > newStart {
			break
		}
		for span, err := range src.Directory() {
			if err != nil {
				return err
			}
			s.views.trimmed(span)
		}
	}
	return nil
}

// appliedTrim gives the retired segments back.
func (s *Shard) appliedTrim(newStart, at ident.LSN) {
	s.trims = append(s.trims, trimmed{newStart, at})
	if err := s.applyTrim(newStart); err != nil {
		s.fail(err)
		return
	}
	if err := s.commitlog.Trim(newStart); err != nil {
		s.fail(err)
		return
	}
	s.logger.Info("retired old segments", "start", newStart)
	s.chore(func() error {
		return s.meta.Update(func(m *replica.Meta) { m.Forget(newStart) })
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
