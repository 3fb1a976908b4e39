// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"

	v2 "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// Send sends messages to the topic.
func Send(ctx context.Context, o Options) (*Result, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	to, err := dial(o.Endpoint, o.TLS, o.Connections)
	if err != nil {
		return nil, err
	}
	defer func() { _ = to.close() }() // what was measured is measured
	if err := route(ctx, to, o.Topic); err != nil {
		return nil, err
	}
	r := sendLoad(&o, to).run(ctx)
	r.Mode = "send"
	return r, ctx.Err()
}

// route asks for the topic's route, as every SDK does first.
func route(ctx context.Context, to *clients, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	if _, err := to.of(0).Route(ctx, topic); err != nil {
		return fmt.Errorf("route of topic %s: %w", topic, err)
	}
	return nil
}

// sendLoad is a load of single sends.
func sendLoad(o *Options, to *clients) *load {
	body := filler(o.Body)
	return &load{
		o: o, workers: o.InFlight, usage: &usage{pids: o.PIDs},
		do: func(ctx context.Context, worker int) (int, error) {
			return 1, sendOne(ctx, to, worker, newMessage(o.Topic, body))
		},
	}
}

func sendOne(ctx context.Context, to *clients, worker int, m *v2.Message) error {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	_, err := to.of(worker).Send(ctx, m)
	return err
}
