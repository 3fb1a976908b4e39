// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mansiomq/mansio/internal/bench"
	"github.com/mansiomq/mansio/internal/rocketmq"
	v2 "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// Names and times of the recovery case.
const (
	logQueues  = 128
	probeLease = time.Second
)

// recovery fills a log, leases many messages, kills the process, and measures
// how long it takes from its start until a message whose lease had passed
// arrives as its second delivery, while none of the leased ones does.
func recovery(ctx context.Context, s *suite) (err error) {
	p, err := s.start(ctx, "standalone", "recovery")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.kill()) }()
	for _, topic := range []string{"large", "probe"} {
		if err := p.topic(ctx, topic, logQueues, controlv1.ReplyPoint_REPLY_POINT_COMMITTED); err != nil {
			return err
		}
	}
	if err := s.fill(ctx, p); err != nil {
		return err
	}
	if err := probe(ctx, p, func(c *rocketmq.Client, k *rocketmq.Consumer) error {
		m := &v2.Message{
			Topic: rocketmq.Resource("probe"), Body: []byte("probe"),
			SystemProperties: &v2.SystemProperties{MessageId: rocketmq.MessageID(), MessageType: v2.MessageType_NORMAL, BodyEncoding: v2.Encoding_IDENTITY, BornHost: "bench"},
		}
		if _, err := c.Send(ctx, m); err != nil {
			return err
		}
		got, err := k.Receive(ctx, 1, probeLease, 5*time.Second)
		if err == nil && len(got) != 1 {
			err = fmt.Errorf("%d messages, want the probe", len(got))
		}
		return err
	}); err != nil {
		return err
	}
	wait(ctx, probeLease)
	if err := p.kill(); err != nil {
		return err
	}
	if err := p.run(ctx); err != nil {
		return err
	}
	var took time.Duration
	if err := probe(ctx, p, func(_ *rocketmq.Client, k *rocketmq.Consumer) error {
		got, err := k.Receive(ctx, 1, time.Minute, 20*time.Second)
		took = time.Since(p.began)
		if err == nil && (len(got) != 1 || got[0].GetSystemProperties().GetDeliveryAttempt() != 2) {
			err = fmt.Errorf("after the restart: %v, want the probe's second delivery", got)
		}
		return err
	}); err != nil {
		return err
	}
	s.atMost("one process: kill -9 to a correct receive", took.Seconds(), 2, "s",
		fmt.Sprintf("%d MiB of log, %d queues, %d live leases; ready after %.2f s", s.measure.logBytes>>20, logQueues, s.measure.leases, p.ready.Sub(p.began).Seconds()))
	return s.leasesHold(ctx, p)
}

// fill writes the log and leases its messages, without acknowledging them.
func (s *suite) fill(ctx context.Context, p *process) error {
	o := s.options(p, "large", 64)
	o.WarmUp, o.Duration, o.Count = 0, 0, int64(s.measure.leases)
	o.Body = int(s.measure.logBytes / int64(s.measure.leases))
	r, err := bench.Send(ctx, o)
	if err != nil {
		return err
	}
	if r.Messages < o.Count {
		return fmt.Errorf("stored %d of %d messages, errors %v", r.Messages, o.Count, r.Errors)
	}
	o.Count, o.NoAck, o.Invisible, o.Consumers, o.Wait = int64(s.measure.leases/o.Batch), true, time.Hour, 8, time.Second
	leased := int64(0)
	for leased < int64(s.measure.leases) {
		r, err := bench.Receive(ctx, o)
		if err != nil {
			return err
		}
		if r.Messages == 0 {
			return fmt.Errorf("leased %d of %d messages, errors %v", leased, s.measure.leases, r.Errors)
		}
		leased += r.Messages
		o.Count = max((int64(s.measure.leases)-leased)/int64(o.Batch), 1)
	}
	return nil
}

// leasesHold fails when a leased message is delivered again.
func (s *suite) leasesHold(ctx context.Context, p *process) error {
	o := s.options(p, "large", 1)
	o.WarmUp, o.Duration, o.Count, o.NoAck, o.Wait = 0, 0, 1, true, 500*time.Millisecond
	r, err := bench.Receive(ctx, o)
	if err == nil && r.Messages > 0 {
		err = fmt.Errorf("%d leased messages were delivered again", r.Messages)
	}
	return err
}

// probe runs do with a consumer of the probe topic. It connects anew, as a
// client of a restarted server does, with hardly a pause between attempts.
func probe(ctx context.Context, p *process, do func(*rocketmq.Client, *rocketmq.Consumer) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+p.addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: time.Millisecond, Multiplier: 1, MaxDelay: time.Millisecond}, MinConnectTimeout: time.Second}))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // what was measured is measured
	c, err := rocketmq.New(conn, p.addr)
	if err != nil {
		return err
	}
	k, err := c.Subscribe(ctx, "probe", "probe", "*")
	if err != nil {
		return err
	}
	return do(c, k)
}
