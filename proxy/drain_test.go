// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func TestReady(t *testing.T) {
	bubble(t, func(f *fixture) {
		if err := f.proxy.Ready(); err != nil {
			f.t.Errorf("ready: %v", err)
		}
		away := func(id uint32) *controlv1.Shard {
			return &controlv1.Shard{Id: id, Term: 2, Phase: controlv1.Phase_PHASE_ELECTING}
		}
		f.ctl.apply(&controlv1.WatchResponse{Shards: []*controlv1.Shard{away(1)}})
		if err := f.proxy.Ready(); err != nil {
			f.t.Errorf("one of two shards led: %v", err)
		}
		f.ctl.apply(&controlv1.WatchResponse{Shards: []*controlv1.Shard{away(2)}})
		if err := f.proxy.Ready(); !fault.Is(err, fault.Unavailable) {
			f.t.Errorf("no shard led: %v", err)
		}
		f.ctl.apply(&controlv1.WatchResponse{DeletedShards: []uint32{1, 2}})
		if err := f.proxy.Ready(); !fault.Is(err, fault.Unavailable) {
			f.t.Errorf("no shards: %v", err)
		}
	})
}

// TestDrain is the end of a proxy: not ready at once, clients are asked to connect
// elsewhere, waiting receives and streams end spread over a while, calls under way
// finish, and then the server stops gracefully.
func TestDrain(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.ctl.topic("other", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		const clients = 20
		var all sync.WaitGroup
		for i := range clients {
			c := f.client(fmt.Sprint("c", i))
			f.later(c.close)
			s, err := c.Telemetry(c.ctx)
			if err != nil {
				f.t.Fatal(err)
			}
			if err := s.Send(producerSettings("orders")); err != nil {
				f.t.Fatal(err)
			}
			if _, err := s.Recv(); err != nil {
				f.t.Fatal(err)
			}
			all.Go(func() {
				m, err := s.Recv()
				if err != nil || m.GetReconnectEndpointsCommand().GetNonce() == "" {
					f.t.Errorf("client %d: %v %v, want to be asked to connect elsewhere", i, m, err)
				}
				if _, err := s.Recv(); !errors.Is(err, io.EOF) {
					f.t.Errorf("client %d: the stream ended with %v", i, err)
				}
			})
			all.Go(func() {
				g := c.receive(receive("g", "orders", polling(30*time.Second)))
				if g.err != nil || g.status.GetCode() != pb.Code_MESSAGE_NOT_FOUND || g.order != "sd" {
					f.t.Errorf("client %d: waiting receive ended with %v %v", i, g.err, g.status)
				}
			})
		}
		synctest.Wait()
		slow := f.client("slow")
		defer slow.close()
		f.node.Intercept(func(op *storeapi.Op) bool {
			if _, is := op.Request.(*storeapi.Append); is {
				time.AfterFunc(800*time.Millisecond, func() { f.node.Serve(op) })
				return true
			}
			return false
		})
		all.Go(func() { wantCode(f.t, "send under way", slow.send(newMessage("other", "m")), pb.Code_OK) })
		synctest.Wait()

		start := time.Now()
		drained := make(chan error, 1)
		go func() { drained <- f.proxy.Drain(f.t.Context()) }()
		synctest.Wait()
		if err := f.proxy.Ready(); !fault.Is(err, fault.Unavailable) {
			f.t.Errorf("ready while draining: %v", err)
		}
		if err := <-drained; err != nil {
			f.t.Errorf("drain: %v", err)
		}
		if took := time.Since(start); took > 3*time.Second {
			f.t.Errorf("drained in %v", took)
		}
		late := f.client("late")
		defer late.close()
		if g := late.receive(receive("g", "orders", polling(20*time.Second))); g.err != nil || g.status.GetCode() != pb.Code_MESSAGE_NOT_FOUND {
			f.t.Errorf("a receive after the drain: %v %v", g.err, g.status)
		}
		if _, err := telemetryOnce(late.ctx, late, producerSettings("orders")); !errors.Is(err, io.EOF) {
			f.t.Errorf("a stream after the drain: %v", err)
		}
		f.server.GracefulStop()
		all.Wait()
		if took := time.Since(start); took > 10*time.Second {
			f.t.Errorf("stopped in %v", took)
		}
		if err := f.proxy.Drain(f.t.Context()); err != nil {
			f.t.Errorf("a second drain: %v", err)
		}
	})
}

// TestDrainGivesUp says that a drain does not wait longer than it may.
func TestDrainGivesUp(t *testing.T) {
	bubble(t, func(f *fixture) {
		if !f.proxy.open.enter() {
			f.t.Fatal("no call may stay open")
		}
		ctx, cancel := context.WithTimeout(f.t.Context(), 2*time.Second)
		defer cancel()
		if err := f.proxy.Drain(ctx); !fault.Is(err, fault.Timeout) {
			f.t.Errorf("%v, want a timeout", err)
		}
		f.proxy.open.leave()
		if err := f.proxy.Drain(f.t.Context()); err != nil {
			f.t.Errorf("after the last one left: %v", err)
		}
	})
}
