// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"math"
	"syscall"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/commitlog"
	"github.com/mansiomq/mansio/storenode/index"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/replica"
	"github.com/mansiomq/mansio/storenode/view"
	"github.com/mansiomq/mansio/storenode/view/keyindex"
	"github.com/mansiomq/mansio/storenode/view/queue"
	"github.com/mansiomq/mansio/storenode/view/sealed"
)

// recover brings views and sequencer to the end of the log: the newest
// checkpoint, then every entry behind it. Nothing else runs meanwhile.
func (s *Shard) recover(ctx context.Context) error {
	from, err := s.restore(ctx)
	if err != nil {
		return err
	}
	m := s.meta.Get()
	notes := make([]commitlog.CutNote, len(m.Cuts))
	for i, c := range m.Cuts {
		notes[i] = commitlog.CutNote{From: c.From, To: c.To}
	}
	s.floor = m.Floor
	found, err := s.commitlog.Recover(ctx, commitlog.RecoverOptions{
		From: from, Floor: m.Floor, Clean: m.Clean, CutNotes: notes,
	}, func(e *record.Entry) error { return s.replay(ctx, e) })
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
	if err := s.checkOrigin(ctx); err != nil {
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
func (s *Shard) replay(ctx context.Context, e *record.Entry) error {
	if err := s.views.apply(e, &s.out); err != nil {
		return err
	}
	switch e.Type { //nolint:exhaustive // the views have done the rest
	case record.TypeSeal:
		return s.replaySeal(e)
	case record.TypeTrim:
		return s.applyTrim(ctx, s.out.trim)
	}
	return nil
}

// replaySeal ends the segment in the views. Its index is written at once, and a
// checkpoint only at the newest Seal, so that memory does not grow with the log;
// above the floor that waits until the log is surely durable.
func (s *Shard) replaySeal(e *record.Entry) error {
	runs := s.freeze(e)
	if e.End() > s.floor {
		return s.sealed(runs)
	}
	err := s.writeIndex(runs)
	segments := s.commitlog.Segments()
	newest := e.End() >= segments[len(segments)-1].Base
	switch full := errors.Is(err, syscall.ENOSPC); {
	case newest && (full || err == nil):
		return s.sealed(runs)
	case full:
		s.chore(func() error { return s.writeIndex(runs) })
		return nil
	}
	return err
}

// restore brings the views to the newest checkpoint that can be used, opens the
// index files below it, and returns where the replay begins. Derived files that
// are missing or damaged are made again from the log; that they are is never a
// reason to delete anything, and one that cannot be read, or is another shard's
// or a newer format's, is not taken for missing.
func (s *Shard) restore(ctx context.Context) (from ident.LSN, err error) {
	s.checkpoints, err = view.Checkpoints(s.o.FS, s.o.Dir)
	if err != nil {
		return 0, err
	}
	var why error
	for limit := ident.LSN(math.MaxUint64); ; {
		c, err := view.NewestCheckpoint(s.o.FS, s.o.Dir, s.o.ClusterHash, s.o.ID, limit)
		if err == nil {
			err = s.restoreFrom(ctx, c)
		}
		switch {
		case err == nil:
			return c.LSN, nil
		case !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Corrupt):
			return 0, err
		}
		why = errors.Join(why, err)
		s.forget()
		if c == nil {
			return s.fromTheStart(why)
		}
		s.logger.Warn("a checkpoint cannot be used", "lsn", c.LSN, "reason", err)
		limit = c.LSN - 1
	}
}

// forget drops what a checkpoint that could not be used has left.
func (s *Shard) forget() {
	s.archive.Close()
	s.keys.Close()
	s.views, s.archive, s.keys = newViews(), &queue.Archive{}, &keyindex.Archive{}
}

func (s *Shard) restoreFrom(ctx context.Context, c *view.Checkpoint) (err error) {
	defer func() { err = errors.Join(err, c.Close()) }()
	for _, v := range s.views.sections() {
		err := c.Restore(v.kind, v.view)
		if v.kind == view.SectionShard && fault.Is(err, fault.NotFound) {
			s.views.origin.start = s.commitlog.Start() // of before this section was written
			continue
		}
		if err != nil {
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
	return s.openIndexes(ctx)
}

// openIndexes opens the index files of all sealed segments below the checkpoint,
// and of the retired ones that a replayed Trim may ask for. What is missing or
// damaged is made again.
func (s *Shard) openIndexes(ctx context.Context) error {
	bases, err := index.List(s.o.FS, s.o.Dir)
	if err != nil {
		return err
	}
	start, active := s.commitlog.Start(), s.views.queues.ActiveBase()
	for _, base := range bases {
		if base >= start {
			break
		}
		if err := s.openRetired(base); err != nil {
			return err
		}
	}
	below, err := s.sealedBelow(active)
	if err != nil {
		return err
	}
	var gap []commitlog.Segment
	for _, g := range below {
		err := s.addIndex(g)
		switch {
		case err == nil:
			if err := s.remake(ctx, gap); err != nil {
				return err
			}
			gap = gap[:0]
		case fault.Is(err, fault.NotFound), fault.Is(err, fault.Corrupt):
			s.logger.Warn("an index file is made again from the log", "base", g.Base, "reason", err)
			gap = append(gap, g)
		default:
			return err
		}
	}
	return s.remake(ctx, gap)
}

// sealedBelow returns the segments of the log that end at or below active, where
// the checkpoint's active segment begins.
func (s *Shard) sealedBelow(active ident.LSN) (below []commitlog.Segment, err error) {
	end := s.commitlog.Start()
	for _, g := range s.commitlog.Segments() {
		if g.Base >= active {
			break
		}
		if !g.Sealed && s.views.applied.End() == active { // the next one was not begun
			g.End, g.LastCRC = active, s.views.applied.CRC
		}
		below, end = append(below, g), g.End
	}
	if end < active {
		return nil, fault.Errorf("open index files", fault.Corrupt, "the checkpoint lies behind the log, which ends a segment at LSN %d", end)
	}
	return below, nil
}

// openRetired opens the index of a segment that the log has given back. If it is
// damaged, a Trim that needs it will say so.
func (s *Shard) openRetired(base ident.LSN) error {
	f, err := index.Open(s.o.FS, s.o.Dir, base)
	if fault.Is(err, fault.Corrupt) {
		s.logger.Warn("the index file of a retired segment is damaged", "base", base, "reason", err)
		return nil
	}
	if err != nil {
		return err
	}
	own := f.Head()
	own.Cluster, own.Shard = s.o.ClusterHash, s.o.ID
	return s.enlist(f, own)
}

// addIndex opens the index of a segment that the log has.
func (s *Shard) addIndex(g commitlog.Segment) error {
	f, err := index.Open(s.o.FS, s.o.Dir, g.Base)
	if err != nil {
		return err
	}
	return s.enlist(f, index.Head{Cluster: s.o.ClusterHash, Shard: s.o.ID, Base: g.Base, End: g.End, LastCRC: g.LastCRC})
}

// enlist lets readers use an index file if it is the one that is wanted, and
// closes it otherwise.
func (s *Shard) enlist(f *index.File, want index.Head) error {
	if err := f.Check(want); err != nil {
		return errors.Join(err, f.Close())
	}
	s.archive.Add(f.Queues())
	s.keys.Add(f.Keys())
	return nil
}

// remake makes the index files of sealed segments in a row again from the log.
func (s *Shard) remake(ctx context.Context, gap []commitlog.Segment) error {
	if len(gap) == 0 {
		return nil
	}
	made, err := remake(ctx, sealed.Segment{Base: gap[0].Base, End: gap[len(gap)-1].End}, s.around())
	if err != nil {
		return err
	}
	for _, r := range made {
		if !s.replace(&r) {
			s.archive.Add(r.Queues)
			s.keys.Add(r.Keys)
		}
		if err := s.writeIndex(s.runsOf(&r)); err != nil {
			return err
		}
	}
	return nil
}

// fromTheStart replays the whole log, which must be whole.
func (s *Shard) fromTheStart(why error) (ident.LSN, error) {
	start := s.commitlog.Start()
	if start != commitlog.FirstLSN {
		return 0, fault.Errorf("recover views", fault.Corrupt,
			"no checkpoint with its index files can be used, and the log starts at LSN %d, not at its beginning: %w", start, why)
	}
	if len(s.checkpoints) > 0 || s.commitlog.Segments()[0].Sealed {
		s.logger.Warn("rebuilding all views from the log", "reason", why)
	}
	return start, nil
}
