// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/index"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view"
	"github.com/mansiomq/mansio/storenode/view/keyindex"
	"github.com/mansiomq/mansio/storenode/view/queue"
)

// choreAgain is when a chore is tried again for which the disk had no space.
const choreAgain = time.Second

// sealedRuns are a segment's runs that are in memory and not in a file yet.
type sealedRuns struct {
	head   index.Head
	queues *queue.Run
	keys   *keyindex.Run
}

// freeze ends the active segment in the views at its Seal entry. Readers find
// the runs in the archives from now on.
func (s *Shard) freeze(e *record.Entry) sealedRuns {
	base := s.views.queues.ActiveBase()
	r := sealedRuns{
		head:   index.Head{Cluster: s.o.ClusterHash, Shard: s.o.ID, Base: base, End: e.End(), LastCRC: e.CRC},
		queues: s.views.queues.Freeze(base, e.End()),
		keys:   s.views.keys.Freeze(base, e.End()),
	}
	s.archive.Add(r.queues)
	s.keys.Add(r.keys)
	return r
}

// appliedSeal has the segment's index and a checkpoint written beside the owner.
func (s *Shard) appliedSeal(e *record.Entry) {
	if err := s.sealed(s.freeze(e)); err != nil {
		s.fail(err)
	}
}

func (s *Shard) sealed(runs sealedRuns) error {
	sections, err := s.capture()
	if err != nil {
		return err
	}
	at, indexed := s.checkpointHead(), false
	s.chore(func() error {
		if !indexed { // else only the checkpoint is tried again
			if err := s.writeIndex(runs); err != nil {
				return err
			}
			indexed = true
		}
		return s.writeCheckpoint(at, sections)
	})
	return nil
}

// writeIndex makes the index file durable and lets readers use it instead of
// memory.
func (s *Shard) writeIndex(r sealedRuns) error {
	if err := index.Write(s.o.FS, s.o.Dir, r.head, r.queues, r.keys); err != nil {
		return err
	}
	f, err := index.Open(s.o.FS, s.o.Dir, r.head.Base)
	if err != nil {
		return err
	}
	old, ok := s.archive.Replace(f.Queues())
	if !ok {
		return f.Close() // retired meanwhile
	}
	s.keys.Replace(f.Keys())
	if _, stored := old.(io.Closer); stored {
		s.later(func() { s.outwear(old) })
	}
	return nil
}

// checkpointHead says where the views stand.
func (s *Shard) checkpointHead() view.Meta {
	a := &s.views.applied
	return view.Meta{
		Cluster: s.o.ClusterHash, Shard: s.o.ID, LSN: a.End(), LastCRC: a.CRC, Term: a.Term, TimeMS: a.TimeMS,
	}
}

// capture encodes all views.
func (s *Shard) capture() ([]view.Section, error) {
	var out []view.Section
	for _, v := range s.views.sections() {
		section, err := view.Capture(v.kind, v.view)
		if err != nil {
			return nil, err
		}
		out = append(out, section)
	}
	return out, nil
}

// section is a view and its number in checkpoints.
type section struct {
	kind uint32
	view view.View
}

func (v *views) sections() []section {
	return []section{
		{view.SectionQueue, v.queues},
		{view.SectionKeyIndex, v.keys},
		{view.SectionProducer, v.producers},
		{view.SectionCatalog, v.catalog},
		{view.SectionDelivery, v.deliveries},
		{view.SectionShard, v.origin},
	}
}

// writeCheckpoint makes a checkpoint durable, and tells the owner.
func (s *Shard) writeCheckpoint(at view.Meta, sections []view.Section) error {
	if err := view.WriteCheckpoint(s.o.FS, s.o.Dir, at, sections); err != nil {
		return err
	}
	s.later(func() { s.checkpointed(at.LSN) })
	return nil
}

func (s *Shard) checkpointed(lsn ident.LSN) {
	s.checkpoints = append(s.checkpoints, lsn)
	if n := len(s.checkpoints) - view.CheckpointsKept; n > 0 {
		s.checkpoints = s.checkpoints[n:]
	}
	s.dropIndexes()
}

// chore has f run after all earlier chores, beside the owner. When the disk has
// no space it is tried again until the shard stops: recovery does what was left
// undone. Any other error fails the replica.
func (s *Shard) chore(f func() error) {
	s.chores.put(func() {
		again := time.NewTimer(choreAgain)
		defer again.Stop()
		for {
			err := f()
			if err == nil {
				return
			}
			if !errors.Is(err, syscall.ENOSPC) {
				s.later(func() { s.fail(err) })
				return
			}
			s.logger.Warn("no space for an index or a checkpoint: waiting", "error", err)
			again.Reset(choreAgain)
			select {
			case <-again.C:
			case <-s.stopping:
				return
			}
		}
	})
}
