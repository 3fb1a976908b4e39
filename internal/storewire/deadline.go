// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"context"
	"time"

	"github.com/mansiomq/mansio/internal/storeapi"
)

// sweepEvery is the least time between two looks at all deadlines: one pass over
// the table serves all operations, and none needs a timer of its own.
const sweepEvery = 50 * time.Millisecond

// watchDeadlines completes operations whose deadline passed, until ctx ends.
func (l *lane) watchDeadlines(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.armed: // also moves a timer forward when an earlier deadline came
		case <-timer.C:
		}
		earliest := l.sweep(time.Now())
		if earliest.IsZero() {
			timer.Stop()
			continue
		}
		timer.Reset(max(time.Until(earliest), sweepEvery))
	}
}

// sweep completes what is overdue at now and returns the earliest deadline left.
func (l *lane) sweep(now time.Time) time.Time {
	var done []completion
	l.mu.Lock()
	if l.mu.earliest.IsZero() || now.Before(l.mu.earliest) {
		defer l.mu.Unlock()
		return l.mu.earliest
	}
	earliest := time.Time{}
	for _, t := range []*table{&l.mu.ops, &l.mu.parks} {
		t.all(func(id uint64, s *slot) {
			if s.op.Deadline.IsZero() {
				return
			}
			due, reply := s.op.Deadline, storeapi.Reply{Code: storeapi.Expired, Detail: "it was not sent before its deadline"}
			if s.state != queued {
				due = due.Add(graceMS * time.Millisecond)
				reply = storeapi.Reply{Code: storeapi.Unknown, Detail: "the store did not answer before the deadline"}
			}
			if s.state != inHand && !now.Before(due) {
				done = append(done, completion{l.remove(id, s), reply})
			} else if earliest.IsZero() || due.Before(earliest) {
				earliest = due
			}
		})
	}
	l.mu.earliest = earliest
	l.mu.Unlock()
	complete(done)
	return earliest
}
