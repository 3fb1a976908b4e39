// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"time"

	"github.com/mansiomq/mansio/storenode/replica"
)

const (
	// floorEveryMS is how often the floor is made durable while the log grows.
	floorEveryMS = 1_000
	// housekeepEveryMS is the pace of retention and of forgetting silent clients.
	housekeepEveryMS = 60_000
	// idleMS is the longest sleep: what has no due time of its own is looked at.
	idleMS = 1_000
)

// ticks says when what was last done; monotonic milliseconds.
type ticks struct {
	floor     int64
	housekeep int64
	armed     int64 // when the timer fires
}

// tick does what time demands. It runs after every event, so each part costs
// next to nothing when it has nothing to do.
func (s *Shard) tick() {
	now := s.reading
	if s.leads() && s.shiftMS == 0 {
		if due, ok := s.selector.NextDueMS(); ok && due <= s.tail.timeMS {
			for s.selector.Advance(s.tail.timeMS) {
			}
		}
		s.sweepExhausted()
		s.wakeWoken()
		s.scanOn()
		s.feed()
		for _, t := range s.parking.overdue(now.Mono) {
			s.wake(t.place)
		}
		s.renewDue(now.Mono)
	}
	if now.Mono-s.ticked.floor >= floorEveryMS {
		s.ticked.floor = now.Mono
		s.saveFloor()
	}
	if now.Mono-s.ticked.housekeep >= housekeepEveryMS {
		s.ticked.housekeep = now.Mono
		s.housekeep()
	}
	s.arm(now.Mono)
}

// wakeWoken calls receives for what the selector found to be due.
func (s *Shard) wakeWoken() {
	s.woken = s.selector.Woken(s.woken[:0])
	for _, k := range s.woken {
		s.wake(place{k.Group, k.Topic})
	}
}

// arm sets the one timer to the next thing that time demands.
func (s *Shard) arm(mono int64) {
	next := mono + idleMS
	if len(s.unscanned) > 0 {
		next = mono + 1
	}
	if s.leads() {
		if due, ok := s.selector.NextDueMS(); ok {
			next = min(next, mono+max(due-s.tail.timeMS, 1))
		}
		if due := s.parking.nextDueMS(); due != 0 {
			next = min(next, max(due, mono+1))
		}
	}
	if s.ticked.armed > mono && s.ticked.armed <= next {
		return // fires early enough, and then looks again
	}
	s.ticked.armed = next
	s.timer.Reset(time.Duration(next-mono) * time.Millisecond)
}

func (s *Shard) leads() bool { return s.machine.Role() == replica.Leader }

func (s *Shard) failed() bool { return s.machine.Role() == replica.Failed }

// saveFloor makes known, durably, up to where the log is: what can't be read
// below it after a crash is corrupt, not torn. Not on the owner's time.
func (s *Shard) saveFloor() {
	floor := s.commitlog.Synced()
	if floor == s.floor || s.failed() {
		return
	}
	s.floor = floor
	s.chore(func() error {
		return s.meta.Update(func(m *replica.Meta) { m.Floor, m.Clean = floor, false })
	})
}

// housekeep retires what retention lets go and forgets silent clients.
func (s *Shard) housekeep() {
	if !s.leads() {
		return
	}
	s.forgetMissing()
	s.subscriptions.Sweep(s.reading.Mono)
	s.retire()
}
