// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

// signsOf describes the signs of one client that came since the last call.
func (f *fixture) signsOf(client string) (alive, farewells int, last storeapi.ClientSign) {
	for _, s := range f.node.Signs() {
		if s.Client != client {
			continue
		}
		last = s
		if s.Terminated {
			farewells++
		} else {
			alive++
		}
	}
	return alive, farewells, last
}

// TestSigns says which clients the shards hear of, and how often: all that gave a
// sign of life since the last time, on each shard of what they consume.
func TestSigns(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("streaming", func(streaming *client) {
			s, err := streaming.Telemetry(streaming.ctx)
			if err != nil {
				f.t.Fatal(err)
			}
			if err := s.Send(settingsCommand(consumerSettings(pb.ClientType_PUSH_CONSUMER, "g", "orders"))); err != nil {
				f.t.Fatal(err)
			}
			if _, err := s.Recv(); err != nil {
				f.t.Fatal(err)
			}
			synctest.Wait()
			alive, _, sign := f.signsOf("streaming")
			if alive != 2 || sign.Unknown || len(sign.Subscriptions) != 1 || len(sign.Subscriptions[0].Filter.Tags) != 2 || sign.Group != f.groupID("g") {
				f.t.Errorf("settings are told at once: %d signs, %+v", alive, sign)
			}
			var all sync.WaitGroup
			f.with("waiting", func(waiting *client) {
				f.with("silent", func(silent *client) {
					all.Go(func() { waiting.receive(receive("g", "orders", polling(30*time.Second))) })
					silent.receive(receive("g", "orders"))
					pass(signEvery)
					for client, want := range map[string]int{"streaming": 2, "waiting": 4, "silent": 4} {
						if alive, _, _ := f.signsOfAll(client); alive != want {
							f.t.Errorf("%s: %d signs in the first period, want %d: one on each shard at the first receive and one later", client, alive, want)
						}
					}
					f.seen = nil
					pass(signEvery)
					for client, want := range map[string]int{"streaming": 2, "silent": 0} {
						if alive, _, _ := f.signsOfAll(client); alive != want {
							f.t.Errorf("%s: %d signs in the second period, want %d", client, alive, want)
						}
					}
					all.Wait()
				})
			})
		})
	})
}

// signsOfAll is signsOf, but leaves the signs for the next call.
func (f *fixture) signsOfAll(client string) (alive, farewells int, last storeapi.ClientSign) {
	f.seen = append(f.seen, f.node.Signs()...)
	for _, s := range f.seen {
		if s.Client == client {
			last = s
			if s.Terminated {
				farewells++
			} else {
				alive++
			}
		}
	}
	return alive, farewells, last
}

// TestFarewell says that a client that takes its leave is told to all shards that
// may hold something of it, and forgotten; and what it settles still counts.
func TestFarewell(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("c", func(c *client) {
			m := c.leased("orders", "g", 1)[0]
			f.node.Signs()
			resp, err := c.NotifyClientTermination(c.ctx, &pb.NotifyClientTerminationRequest{Group: resource("g")})
			if err != nil {
				f.t.Fatal(err)
			}
			wantCode(f.t, "farewell", resp, pb.Code_OK)
			if _, farewells, _ := f.signsOf("c"); farewells != 2 {
				f.t.Errorf("%d farewells, want one on each shard", farewells)
			}
			if f.proxy.clients.Len() != 0 {
				f.t.Error("the client is not forgotten")
			}
			wantCode(f.t, "ack after the farewell", c.ack("g", "orders", m), pb.Code_OK)
			pass(2 * signEvery)
			if alive, _, _ := f.signsOf("c"); alive != 0 {
				f.t.Errorf("%d signs of a client that is gone", alive)
			}
		})
		f.with("stranger", func(c *client) {
			if _, err := c.NotifyClientTermination(c.ctx, &pb.NotifyClientTerminationRequest{Group: resource("g")}); err != nil {
				f.t.Fatal(err)
			}
			if _, farewells, _ := f.signsOf("stranger"); farewells != 2 {
				f.t.Errorf("%d farewells of a client that this proxy has never seen, want 2", farewells)
			}
		})
	})
}

// TestUnknownFilter says that a client of which only the group is known is told as
// one that may want everything.
func TestUnknownFilter(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		f.with("other", func(c *client) { c.receive(receive("g", "orders")) })
		f.node.Signs()
		f.with("c", func(c *client) {
			if _, err := c.Heartbeat(c.ctx, &pb.HeartbeatRequest{Group: resource("g"), ClientType: pb.ClientType_PUSH_CONSUMER}); err != nil {
				f.t.Fatal(err)
			}
			alive, _, sign := f.signsOf("c")
			if alive != 2 || !sign.Unknown || len(sign.Subscriptions) != 0 {
				f.t.Errorf("%d signs, %+v", alive, sign)
			}
			c.receive(receive("g", "orders", tagged("a")))
			pass(signEvery)
			if _, _, sign := f.signsOf("c"); sign.Unknown || len(sign.Subscriptions) != 1 {
				f.t.Errorf("after a receive: %+v", sign)
			}
		})
	})
}

// TestRefusedClients says that who only makes calls that are refused is not
// remembered, and who was served is.
func TestRefusedClients(t *testing.T) {
	bubble(t, func(f *fixture) {
		withTopics(f)
		for i := range 20 {
			f.with(fmt.Sprint("stranger", i), func(c *client) {
				c.send(newMessage("nobody", "m"))
				c.receive(receive("g", "nobody"))
				if stream, err := c.Telemetry(c.ctx); err != nil || stream.Send(producerSettings("a.b")) != nil {
					f.t.Fatal(err)
				} else if _, err := stream.Recv(); err != nil {
					f.t.Fatal(err)
				}
			})
		}
		f.with("producer", func(c *client) { c.mustSend("orders", "m") })
		f.with("consumer", func(c *client) { c.receive(receive("g", "orders")) })
		synctest.Wait()
		if n := f.proxy.clients.Len(); n != 2 {
			f.t.Errorf("%d clients remembered, want 2", n)
		}
	})
}

// TestForgetting says that clients that fall silent leave nothing behind.
func TestForgetting(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
		for i := range 20 {
			f.with(fmt.Sprint("c", i), func(c *client) { c.receive(receive("g", "orders")) })
		}
		if n := f.proxy.clients.Len(); n != 20 {
			f.t.Fatalf("%d clients", n)
		}
		pass(125 * time.Second)
		if n := f.proxy.clients.Len(); n != 0 {
			f.t.Errorf("%d clients left behind", n)
		}
	})
}

// TestPortionsOfSigns: an operation has few enough signs, and few enough bytes of them unless it is one.
func TestPortionsOfSigns(t *testing.T) {
	large := storeapi.ClientSign{Subscriptions: make([]storeapi.Subscription, 4000)}
	huge := storeapi.ClientSign{Subscriptions: make([]storeapi.Subscription, 40_000)}
	for _, c := range []struct {
		signs []storeapi.ClientSign
		want  int
	}{
		{slices.Repeat([]storeapi.ClientSign{{Client: "c"}}, signsMax+1), signsMax},
		{slices.Repeat([]storeapi.ClientSign{large}, 20), storeapi.AliveBytesMax / large.Size()},
		{[]storeapi.ClientSign{huge, {}}, 1},
		{[]storeapi.ClientSign{{}, huge}, 1},
		{[]storeapi.ClientSign{{}}, 1},
	} {
		if n := portion(c.signs); n != c.want {
			t.Errorf("%d of %d signs, want %d", n, len(c.signs), c.want)
		}
	}
}
