// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"math"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/commitlog"
	"github.com/mansiomq/mansio/storenode/index"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/replica"
	"github.com/mansiomq/mansio/storenode/view"
	"github.com/mansiomq/mansio/storenode/view/keyindex"
	"github.com/mansiomq/mansio/storenode/view/queue"
)

// recover brings views and sequencer to the end of the log: the newest
// checkpoint, then every entry behind it. Nothing else runs meanwhile.
func (s *Shard) recover(ctx context.Context) error {
	from, err := s.restore()
	if err != nil {
		return err
	}
	m := s.meta.Get()
	notes := make([]commitlog.CutNote, len(m.Cuts))
	for i, c := range m.Cuts {
		notes[i] = commitlog.CutNote{From: c.From, To: c.To}
	}
	found, err := s.commitlog.Recover(ctx, commitlog.RecoverOptions{
		From: from, Floor: m.Floor, Clean: m.Clean, CutNotes: notes,
	}, s.replay)
	if err != nil {
		return err
	}
	if found.Torn {
		s.logger.Warn("cut a torn tail that nobody was told of", "from", found.CutFrom, "to", found.CutTo)
	}
	// What a killed process had written but not synced becomes durable now, before
	// anybody is told of it.
	if err := s.commitlog.Sync(); err != nil {
		return err
	}
	err = s.meta.Update(func(m *replica.Meta) {
		if found.Torn && found.CutTo > found.CutFrom {
			m.Note(replica.Cut{From: found.CutFrom, To: found.CutTo})
		}
		m.Floor, m.Clean, m.Instance, m.BootID = found.End, false, s.o.Instance, s.o.BootID
	})
	if err != nil {
		return err
	}
	s.resume(&found)
	s.logger.Info("recovered", "start", found.Start, "end", found.End, "from", from, "entries", found.Entries)
	return nil
}

// resume puts the sequencer behind the last entry.
func (s *Shard) resume(found *commitlog.Recovery) {
	segments := s.commitlog.Segments()
	active := segments[len(segments)-1]
	s.tail = tail{
		end: found.End, crc: found.LastCRC, term: found.LastTerm, timeMS: found.LastTimeMS,
		segment: active.Base, firstMS: active.FirstTimeMS, room: s.commitlog.Room(),
	}
	if active.Sealed {
		s.tail.segment, s.tail.firstMS = found.End, 0
	}
	s.commitEnd, s.floor = found.End, found.End
	s.trims = []trimmed{{s.commitlog.Start(), found.End}}
	for c := range s.views.catalog.All() {
		s.told[configKey{c.Kind, c.ID}] = toldConfig{revision: int64(c.Revision), deleted: c.Deleted} //nolint:gosec // revisions are positive
	}
}

// replay folds one entry of the log.
func (s *Shard) replay(e *record.Entry) error {
	if err := s.views.apply(e, &s.out); err != nil {
		return err
	}
	switch e.Type { //nolint:exhaustive // the views have done the rest
	case record.TypeSeal:
		s.appliedSeal(e)
	case record.TypeTrim:
		return s.applyTrim(s.out.trim)
	}
	return nil
}

// restore opens the newest checkpoint and the index files below it, and returns
// where the replay begins. Derived files that are missing or damaged are made
// again from the log; that they are is never a reason to delete anything.
func (s *Shard) restore() (from ident.LSN, err error) {
	s.checkpoints, err = view.Checkpoints(s.o.FS, s.o.Dir)
	if err != nil {
		return 0, err
	}
	c, err := view.NewestCheckpoint(s.o.FS, s.o.Dir, s.o.ClusterHash, s.o.ID, math.MaxUint64)
	switch {
	case fault.Is(err, fault.NotFound), fault.Is(err, fault.Corrupt):
		return s.fromTheStart(err)
	case err != nil:
		return 0, err
	}
	if err := s.restoreFrom(c); err != nil {
		return s.fromTheStart(err)
	}
	return c.LSN, nil
}

func (s *Shard) restoreFrom(c *view.Checkpoint) (err error) {
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, v := range s.views.sections() {
		if err := c.Restore(v.kind, v.view); err != nil {
			return err
		}
	}
	s.views.applied = record.Header{
		Len: 0, LSN: c.LSN, CRC: c.LastCRC, Term: c.Term, TimeMS: c.TimeMS,
	}
	for cfg := range s.views.catalog.All() {
		if err := s.views.heed(&cfg); err != nil {
			return err
		}
	}
	bases, err := index.List(s.o.FS, s.o.Dir)
	if err != nil {
		return err
	}
	for _, base := range bases {
		if base < s.views.queues.ActiveBase() {
			if err := s.openIndex(base, false); err != nil {
				return err
			}
		}
	}
	return s.gapless()
}

// gapless reports a sealed segment below the checkpoint that has no index.
func (s *Shard) gapless() error {
	next := s.commitlog.Start()
	for _, src := range s.archive.Sources() {
		if g := src.Segment(); g.End > next {
			if g.Base > next {
				break
			}
			next = g.End
		}
	}
	if next < s.views.queues.ActiveBase() {
		return fault.Errorf("open index files", fault.NotFound, "the segment at LSN %d has none", next)
	}
	return nil
}

// fromTheStart replays the whole log, which must be whole.
func (s *Shard) fromTheStart(why error) (ident.LSN, error) {
	start := s.commitlog.Start()
	if start != commitlog.FirstLSN {
		return 0, fault.Errorf("recover views", fault.Corrupt,
			"neither checkpoint nor index files can be used, and the log starts at LSN %d, not at its beginning: %w", start, why)
	}
	if s.commitlog.End() > start {
		s.logger.Warn("rebuilding all views from the log", "reason", why)
	}
	s.views, s.archive, s.keys = newViews(), &queue.Archive{}, &keyindex.Archive{}
	return start, nil
}
