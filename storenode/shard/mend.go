// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/storenode/commitlog"
	"github.com/mansiomq/mansio/storenode/index"
	"github.com/mansiomq/mansio/storenode/record"
	"github.com/mansiomq/mansio/storenode/view/keyindex"
	"github.com/mansiomq/mansio/storenode/view/queue"
	"github.com/mansiomq/mansio/storenode/view/sealed"
)

const (
	// mendsMax is how often one segment's index is made again in a life; a disk
	// that damages it more often is not to be trusted. It is more than one because
	// a reader may tell of damage that was mended meanwhile.
	mendsMax = 3
	// unreadAgainMS is when a message is delivered again that could not be read.
	unreadAgainMS = 1_000
)

// mending is what is known of a segment whose index file was damaged.
type mending struct {
	times    int
	underWay bool
}

// damageOf returns which segment's index an error says to be damaged.
func damageOf(err error) (sealed.Segment, bool) {
	d, ok := errors.AsType[*sealed.DamageError](err)
	if !ok {
		return sealed.Segment{}, false
	}
	return d.Segment, true
}

// unread takes note of something that could not be read, on the owner. A damaged
// index file is made again from the log, and until then its segment is passed
// over; anything else fails the replica.
func (s *Shard) unread(err error) {
	seg, damaged := damageOf(err)
	if !damaged {
		s.fail(err)
		return
	}
	m := s.mends[seg.Base]
	if s.failed() || m.underWay {
		return
	}
	m.times++
	if m.times > mendsMax {
		s.fail(err)
		return
	}
	s.logger.Warn("an index file is damaged: it is made again from the log", "base", seg.Base, "reason", err)
	s.mends[seg.Base] = mending{times: m.times, underWay: true}
	s.mend(seg)
}

// mend makes the index of a segment again beside the owner, from a copy of what
// it needs of the owner's state.
func (s *Shard) mend(seg sealed.Segment) {
	if seg.Base < s.commitlog.Start() { // retired: nothing in it can be asked for
		empty := []index.Runs{{
			Base: seg.Base, End: seg.End, Queues: queue.New(seg.Base).Freeze(seg.Base, seg.End), Keys: keyindex.New().Freeze(seg.Base, seg.End),
		}}
		// Not at once: whoever met the damage is in the middle of a selection.
		s.read(func() { s.later(func() { s.mended(seg.Base, empty) }) })
		return
	}
	var state bytes.Buffer
	if err := s.views.queues.Checkpoint(&state); err != nil {
		s.fail(err)
		return
	}
	a := s.around()
	a.queues = queue.New(seg.Base)
	s.chore(func() error {
		if err := a.queues.Restore(bytes.NewReader(state.Bytes())); err != nil {
			return err
		}
		made, err := remake(s.life, seg, a)
		if err != nil && seg.Base >= s.commitlog.Start() && s.life.Err() == nil {
			return err
		}
		s.later(func() { s.mended(seg.Base, made) })
		return nil
	})
}

// mendNow does the same on the owner's time, for what cannot wait.
func (s *Shard) mendNow(ctx context.Context, seg sealed.Segment) error {
	s.logger.Warn("an index file is damaged: it is made again from the log", "base", seg.Base)
	made, err := remake(ctx, seg, s.around())
	s.adopt(made)
	return err
}

func (s *Shard) mended(base ident.LSN, made []index.Runs) {
	s.mends[base] = mending{times: s.mends[base].times}
	s.adopt(made)
	s.wakeAll()
}

// adopt has readers use runs in the place of damaged files, at once, and writes
// those of the log's segments to new files. The old ones are closed with the
// shard: somebody may be reading them.
func (s *Shard) adopt(made []index.Runs) {
	for _, r := range made {
		if s.replace(&r) && r.Base >= s.commitlog.Start() { // else it was retired meanwhile
			s.chore(func() error { return s.writeIndex(s.runsOf(&r)) })
		}
	}
}

// replace has readers use runs in the place of what they have of that segment;
// false: they have nothing.
func (s *Shard) replace(r *index.Runs) bool {
	old, ok := s.archive.Replace(r.Queues)
	if ok {
		s.keys.Replace(r.Keys)
		s.outwear(old)
	}
	return ok
}

// outwear keeps a file that was replaced, until the shard ends.
func (s *Shard) outwear(old queue.Source) {
	if f, ok := old.(io.Closer); ok {
		s.outworn = append(s.outworn, f)
	}
}

func (s *Shard) runsOf(r *index.Runs) sealedRuns {
	return sealedRuns{
		head:   index.Head{Cluster: s.o.ClusterHash, Shard: s.o.ID, Base: r.Base, End: r.End, LastCRC: r.LastCRC},
		queues: r.Queues, keys: r.Keys,
	}
}

// around is what is known of the log beside a gap in its index files.
type around struct {
	queues   *queue.Queues
	sources  []queue.Source
	segments []commitlog.Segment
	scan     func(ctx context.Context, from, to ident.LSN, visit func(*record.Entry) error) error
}

func (s *Shard) around() around {
	return around{s.views.queues, s.archive.Sources(), s.commitlog.Segments(), s.commitlog.Scan}
}

// remake makes the runs of sealed segments in a row again from the log. When the
// index of another segment turns out to be damaged as well, that one and all
// between are made again too.
func remake(ctx context.Context, gap sealed.Segment, a around) ([]index.Runs, error) {
	for {
		g := index.Gap{Base: gap.Base, End: gap.End, From: gap.Base, Queues: a.queues, Archive: &queue.Archive{}, Scan: a.scan}
		for _, before := range a.segments {
			if before.End == g.Base {
				g.From = before.Base
			}
		}
		for _, src := range a.sources {
			if at := src.Segment(); at.End <= gap.Base || at.Base >= gap.End {
				g.Archive.Add(src)
			}
		}
		made, err := index.Remake(ctx, g)
		more, damaged := damageOf(err)
		if !damaged || more.Base < a.segments[0].Base {
			return made, err
		}
		gap.Base, gap.End = min(gap.Base, more.Base), max(gap.End, more.End)
	}
}
