// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"syscall"

	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/storenode/replica"
	"github.com/mansiomq/mansio/storenode/view"
)

// stop ends the owner in good order: nothing new is taken, what is under way is
// finished, then all views go into a checkpoint and the stop is marked clean.
func (s *Shard) stop() error {
	s.refuse()
	for _, op := range s.waiting[s.served:] {
		reply(op, storeapi.Unavailable, s.machine.Term(), nil)
	}
	s.waiting, s.served = nil, 0
	for _, w := range s.parking.clear() {
		reply(w.op, storeapi.Unavailable, s.machine.Term(), nil)
	}
	s.send()
	for s.syncing != nil {
		select {
		case r := <-s.written:
			s.landed(r)
			s.send()
		case f := <-s.calls:
			f()
		}
	}
	defer close(s.stopped)
	if s.cutShort {
		s.abandon(s.filling)
		s.unsettled()
		s.logger.Warn("stopped with operations that found no room on the disk; their outcome is unknown")
	}
	if s.failed() || s.cutShort {
		return nil // recovery finds where the log ends
	}
	sections, err := s.capture()
	if err != nil {
		return err
	}
	at, end := s.checkpointHead(), s.commitlog.End()
	done := make(chan error, 1)
	s.chores.put(func() {
		err := view.WriteCheckpoint(s.o.FS, s.o.Dir, at, sections)
		if err == nil {
			err = s.meta.Update(func(m *replica.Meta) { m.Floor, m.Clean = end, true })
		}
		done <- err
	})
	for {
		select {
		case err := <-done:
			if errors.Is(err, syscall.ENOSPC) {
				s.logger.Warn("no space for a checkpoint: the next start replays more", "error", err)
				return nil
			}
			return err
		case f := <-s.calls:
			f()
		}
	}
}

// Clean reports, when Run has ended, whether the stop was marked clean.
func (s *Shard) Clean() bool { return s.meta.Get().Clean }

// refuse begins the end: what waits in the inbox and what still comes is told
// that the shard stops.
func (s *Shard) refuse() {
	close(s.stopping)
	for _, op := range s.inbox.close() {
		reply(op, storeapi.Unavailable, s.machine.Term(), nil)
	}
}

// ending reports whether the stop has begun: what is sequenced from then on
// might not be written any more.
func (s *Shard) ending() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}
