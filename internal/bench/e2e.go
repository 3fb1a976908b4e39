// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/rocketmq"
	v2 "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// E2E sends and receives at once and keeps the ledger. It goes on through
// restarts of the server: a send that was not answered OK is tried again, and so
// is an acknowledgement, until the server has said yes or no. What is counted
// are messages that were sent, received and acknowledged.
func E2E(ctx context.Context, o Options) (*Result, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Body < BodyMin {
		return nil, fault.Errorf("bench", fault.Invalid, "body of %d bytes: the ledger needs %d", o.Body, BodyMin)
	}
	to, err := dial(o.Endpoint, o.TLS, o.Connections)
	if err != nil {
		return nil, err
	}
	defer func() { _ = to.close() }() // what was measured is measured
	streams, end := context.WithCancel(ctx)
	defer end()
	consumers, err := subscribe(streams, to, &o)
	if err != nil {
		return nil, err
	}
	e := &exchange{
		o: &o, to: to, consumers: consumers, ledger: newLedger(random64(), o.InFlight), seqs: make([]uint64, o.InFlight),
		slots: make(chan struct{}, o.InFlight), delivery: newHistogram(),
	}
	return e.run(ctx)
}

// exchange is one run of E2E.
type exchange struct {
	o         *Options
	to        *clients
	consumers []*rocketmq.Consumer
	ledger    *ledger
	seqs      []uint64 // of each producer, its own
	slots     chan struct{}

	mu       sync.Mutex
	delivery *hdrhistogram.Histogram
	errors   errorCounts
	settled  int64     // sent since the warm-up, and acknowledged
	last     time.Time // of those
	begin    time.Time
}

func (e *exchange) run(ctx context.Context) (*Result, error) {
	e.begin = time.Now().Add(e.o.WarmUp)
	receiving, stop := context.WithCancel(ctx)
	defer stop()
	var receivers sync.WaitGroup
	for i := range e.o.Consumers {
		receivers.Go(func() { e.receive(receiving, e.consumers[i%len(e.consumers)]) })
	}
	u := &usage{pids: e.o.PIDs}
	sends := &load{o: e.o, workers: e.o.InFlight, usage: u, do: e.produce}
	r := sends.run(ctx)
	e.drain(ctx)
	stop()
	receivers.Wait()

	balance := e.ledger.close()
	e.mu.Lock()
	defer e.mu.Unlock()
	r.Mode, r.Ledger = "e2e", &balance
	delivery := latencyOf(e.delivery)
	r.Delivery = &delivery
	e.errors.into(r.Errors)
	r.Messages = e.settled
	r.finish(e.last.Sub(e.begin), u)
	return r, ctx.Err()
}

// produce sends one message until it is acknowledged.
func (e *exchange) produce(ctx context.Context, worker int) (int, error) {
	m := mark{run: e.ledger.run, producer: uint32(worker), seq: e.seqs[worker], sent: time.Now()} //nolint:gosec // small
	e.seqs[worker]++
	body := filler(e.o.Body)
	m.put(body)
	msg := newMessage(e.o.Topic, body)
	for {
		err := sendOne(ctx, e.to, worker, msg)
		if err == nil {
			e.ledger.acknowledge(m)
			return 1, nil
		}
		if ctx.Err() != nil {
			return 0, err
		}
		e.failed(err)
		e.ledger.retry(m)
		pause(ctx, retryAfter)
	}
}

func (e *exchange) failed(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.errors.add(err)
}

// receive receives until ctx ends.
func (e *exchange) receive(ctx context.Context, k *rocketmq.Consumer) {
	var acks sync.WaitGroup
	defer acks.Wait()
	for ctx.Err() == nil {
		messages, err := k.Receive(ctx, int32(e.o.Batch), e.o.Invisible, e.o.Wait) //nolint:gosec // small
		if err != nil && ctx.Err() == nil {
			e.failed(err)
			pause(ctx, retryAfter)
		}
		for _, m := range messages {
			e.slots <- struct{}{}
			acks.Go(func() {
				defer func() { <-e.slots }()
				e.delivered(ctx, k, m)
			})
		}
	}
}

// delivered books one delivery and acknowledges it.
func (e *exchange) delivered(ctx context.Context, k *rocketmq.Consumer, msg *v2.Message) {
	m, first := e.ledger.receive(msg.GetBody())
	if first {
		e.mu.Lock()
		record(e.delivery, time.Since(m.sent))
		e.mu.Unlock()
	}
	if e.o.NoAck || !ackUntilSure(ctx, k, msg, e.failed) {
		return
	}
	e.ledger.done(m)
	e.mu.Lock()
	defer e.mu.Unlock()
	if first && m.sent.After(e.begin) {
		e.settled++
		e.last = time.Now()
	}
}

// drain waits until nothing is absent, or nothing has moved for Drain.
func (e *exchange) drain(ctx context.Context) {
	const look = 20 * time.Millisecond
	left, moved := e.ledger.absent(), time.Now()
	for left > 0 && time.Since(moved) < e.o.Drain && ctx.Err() == nil {
		e.o.Progress(fmt.Sprintf("%d acknowledged messages are not received yet", left))
		pause(ctx, look)
		if now := e.ledger.absent(); now != left {
			left, moved = now, time.Now()
		}
	}
	// Deliveries under way are still being acknowledged: one that comes back
	// afterwards must be seen.
	pause(ctx, min(e.o.Drain, settleFor))
}

// settleFor is how long E2E listens on after the last message.
const settleFor = time.Second

func random64() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}
