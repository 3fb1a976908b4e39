// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"time"

	"github.com/mansiomq/mansio/internal/rocketmq"
	v2 "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// Receive receives the messages of the topic for the group, and acknowledges
// each unless NoAck, InFlight at a time. One operation is one receive; what is
// counted are messages, acknowledged unless NoAck.
func Receive(ctx context.Context, o Options) (*Result, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	from, err := dial(o.Endpoint, o.TLS, o.Connections)
	if err != nil {
		return nil, err
	}
	defer func() { _ = from.close() }() // what was measured is measured
	streams, end := context.WithCancel(ctx)
	defer end()
	consumers, err := subscribe(streams, from, &o)
	if err != nil {
		return nil, err
	}
	slots := make(chan struct{}, o.InFlight)
	l := &load{
		o: &o, workers: o.Consumers, usage: &usage{pids: o.PIDs},
		do: func(ctx context.Context, worker int) (int, error) {
			k := consumers[worker%len(consumers)]
			messages, err := k.Receive(ctx, int32(o.Batch), o.Invisible, o.Wait) //nolint:gosec // small
			if err != nil || o.NoAck {
				return len(messages), err
			}
			return ackAll(ctx, k, messages, slots)
		},
	}
	r := l.run(ctx)
	r.Mode = "receive"
	return r, ctx.Err()
}

// ackAll acknowledges messages, as many at a time as there are slots, and
// returns how many were.
func ackAll(ctx context.Context, k *rocketmq.Consumer, messages []*v2.Message, slots chan struct{}) (done int, err error) {
	results := make(chan error, len(messages))
	for _, m := range messages {
		slots <- struct{}{}
		go func() {
			err := ack(ctx, k, m)
			<-slots
			results <- err
		}()
	}
	for range messages {
		if e := <-results; e != nil {
			err = e
		} else {
			done++
		}
	}
	return done, err
}

// subscribe makes one consumer per connection.
func subscribe(ctx context.Context, from *clients, o *Options) ([]*rocketmq.Consumer, error) {
	var consumers []*rocketmq.Consumer
	for _, c := range from.all {
		k, err := c.Subscribe(ctx, o.Group, o.Topic, "*")
		if err != nil {
			return nil, err
		}
		consumers = append(consumers, k)
	}
	return consumers, nil
}

func ack(ctx context.Context, k *rocketmq.Consumer, m *v2.Message) error {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	return k.Ack(ctx, m)
}

// ackUntilSure acknowledges until the server has said yes or that the handle is
// no longer valid, and reports whether it said yes.
func ackUntilSure(ctx context.Context, k *rocketmq.Consumer, m *v2.Message, failed func(error)) bool {
	for ctx.Err() == nil {
		err := ack(ctx, k, m)
		if err == nil {
			return true
		}
		failed(err)
		var s *rocketmq.StatusError
		if errors.As(err, &s) && s.Code == v2.Code_INVALID_RECEIPT_HANDLE {
			return false
		}
		pause(ctx, retryAfter)
	}
	return false
}

// retryAfter is the pause after a failed operation of E2E.
const retryAfter = 50 * time.Millisecond

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
