// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"time"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
)

// round is one batch on its way to the disk and back.
type round struct {
	batch *batch
	err   error
}

// own is the owner goroutine: it alone touches views, sequencer, parking and
// subscriptions. It never waits for the disk: while one batch is being written
// and synced it sequences the next, and what comes meanwhile shares that one's
// sync. No timer lingers: a batch leaves as soon as the disk is free.
func (s *Shard) own(ctx context.Context) error {
	if err := s.commitlog.WaitPrepared(ctx, batchBytesMax); err != nil && !fault.Is(err, fault.DiskFull) && ctx.Err() == nil {
		s.fail(err)
	}
	s.timer = time.NewTimer(time.Hour)
	defer s.timer.Stop()
	s.look()
	s.startedMS = s.reading.Mono
	s.inbox.open()
	s.publish()
	dead := s.commitlog.Failed()
	for {
		wake := s.inbox.wake
		if s.crowded() {
			wake = nil // the disk is behind; let operations wait where they are bounded
		}
		select {
		case <-wake:
			s.look()
			s.serve()
		case r := <-s.written:
			s.look()
			s.landed(r)
		case f := <-s.calls:
			s.look()
			f()
		case <-s.timer.C:
			s.look()
		case <-dead:
			dead = nil
			s.look()
			s.fail(errLogFailed)
		case <-ctx.Done():
			err := s.stop()
			s.publish()
			return err
		}
		s.tick()
		s.send()
		if s.behind && !s.crowded() {
			s.serve()
			s.send()
		}
		s.publish()
	}
}

var errLogFailed = errors.New("the log cannot be written any more")

// landed takes a batch back from the writer.
func (s *Shard) landed(r round) {
	switch {
	case s.failed():
		s.syncing = nil
	case errors.Is(r.err, errStopped):
		s.abandon(s.syncing)
		s.syncing, s.cutShort = nil, true
	case r.err != nil:
		s.fail(r.err)
		s.syncing = nil
	default:
		s.syncing = nil
		s.commit(r.batch)
	}
}

// serve sequences what waits in the inbox, as much as the batch has room for. So
// what is sequenced and not written yet stays below what the log has prepared,
// and finds its place also when the disk turns out to be full meanwhile.
func (s *Shard) serve() {
	looked := s.served == len(s.waiting)
	if looked {
		s.waiting, s.served = s.inbox.take(s.waiting), 0
	}
	for s.served < len(s.waiting) && !s.crowded() {
		op := s.waiting[s.served]
		s.waiting[s.served] = nil
		s.served++
		s.sequence(op)
	}
	s.behind = s.served < len(s.waiting) || !looked
}

// crowded reports that the batch is as large as one round shall be.
func (s *Shard) crowded() bool { return s.filling.bytes() >= batchBytesMax }

// send hands the filling batch to the writer if it is free.
func (s *Shard) send() {
	if s.syncing != nil || s.filling.empty() || s.failed() || s.cutShort {
		return
	}
	s.closeSettle()
	s.o.Counts.Rounds.Add(1)
	s.o.Counts.Entries.Add(uint64(len(s.filling.entries)))
	s.syncing, s.filling = s.filling, s.spareBatch
	s.spareBatch = nil
	s.toWrite <- s.syncing
}

// write is the writer goroutine: pwrite of the batch's blocks, one sync.
func (s *Shard) write(ctx context.Context) error {
	for {
		select {
		case b := <-s.toWrite:
			s.written <- round{b, s.writeBatch(ctx, b)}
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Shard) writeBatch(ctx context.Context, b *batch) error {
	for i := range b.blocks {
		if len(b.blocks[i].buf) == 0 {
			continue // opened behind a Seal, and nothing came
		}
		for {
			err := s.commitlog.AppendAs(b.blocks[i].use, b.blocks[i].buf, b.blocks[i].last)
			if err == nil {
				break
			}
			if !fault.Is(err, fault.DiskFull) && !fault.Is(err, fault.Unavailable) {
				return err
			}
			s.logger.Warn("the disk is full: waiting for space", "error", err)
			if !s.pause(ctx, spaceAgain) {
				return errStopped
			}
		}
	}
	return s.commitlog.Sync()
}

// spaceAgain is when a batch is tried again that the disk had no room for. Its
// clients wait, and are told when their deadlines pass.
const spaceAgain = time.Second

// pause waits; false when the shard stops meanwhile.
func (s *Shard) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.stopping:
	case <-ctx.Done():
	}
	return false
}

// commit applies a batch that is durable: with one replica that is committed.
// Receives are called when all of it has been applied.
func (s *Shard) commit(b *batch) {
	for i := range b.entries {
		e := b.entry(i)
		s.commitEnd = e.End()
		w := b.entries[i].waits
		b.entries[i].waits = waiter{}
		s.applyOne(&e, w)
		if s.failed() {
			s.abandon(b)
			return
		}
	}
	b.reset()
	s.spareBatch = b
	for _, t := range s.touched {
		s.wakeTopic(t)
	}
	s.touched = s.touched[:0]
	s.answerFences()
}

// look reads the machine's clocks and the disk's state: once for each event,
// whatever it brings.
func (s *Shard) look() {
	s.spaceEnd = s.commitlog.End()
	s.space = s.commitlog.Space()
	s.reading = s.o.Clock()
	if s.clock != nil {
		s.tail.timeMS = max(s.clock.Now(s.reading), s.tail.timeMS)
		s.shift(s.clock.Step())
	}
}

// call has f run on the owner goroutine and waits until it, or what it began,
// answers; once. What was begun goes on when ctx ends.
func call[T any](ctx context.Context, s *Shard, op string, f func(answer func(T, error))) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	done := make(chan result, 1)
	toOwner := s.calls
	for {
		select {
		case toOwner <- func() { f(func(v T, err error) { done <- result{v, err} }) }:
			toOwner = nil
		case r := <-done:
			return r.value, r.err
		case <-s.stopped:
			return none, fault.E(op, fault.Unavailable, errStopped)
		case <-ctx.Done():
			return none, fault.E(op, fault.Timeout, ctx.Err())
		}
	}
}

// Turn returns when the owner has taken a turn; an error says that the shard has
// stopped or ctx has ended before.
func (s *Shard) Turn(ctx context.Context) error {
	_, err := call(ctx, s, "turn", func(answer func(struct{}, error)) { answer(struct{}{}, nil) })
	return err
}

// later runs f on the owner goroutine, from a goroutine of the shard's own: as
// long as one of those lives, somebody takes calls.
func (s *Shard) later(f func()) { s.calls <- f }

// ask runs f on the owner goroutine, unless the shard has stopped.
func (s *Shard) ask(f func()) {
	select {
	case s.calls <- f:
	case <-s.stopped:
	}
}

// reply completes an operation.
func reply(op *storeapi.Op, code storeapi.Code, term ident.Term, result storeapi.Result) {
	op.Done(storeapi.Reply{Code: code, Term: term, Result: result})
}
