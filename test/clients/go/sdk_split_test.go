// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"fmt"
	"testing"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
	"github.com/apache/rocketmq-clients/golang/v5/credentials"

	"github.com/mansiomq/mansio/test/clients/go/internal/raw"
	"github.com/mansiomq/mansio/test/clients/go/internal/relay"
	"github.com/mansiomq/mansio/test/clients/go/internal/server"
)

// sdkOtherProxy gives the SDK two proxies, kills the one it has chosen, and settles through the other. The SDK shuffles
// the addresses it is given, so relays before the proxies tell which one serves.
func sdkOtherProxy(t *testing.T) {
	cluster, err := server.StartCluster(t.Context(), server.ClusterSpec{
		Bin: bin, Dir: t.TempDir(), Stores: 2, Proxies: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Kill)
	var relays [2]*relay.Relay
	for i, p := range cluster.Proxies {
		if relays[i], err = relay.Start(p.Addr); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(relays[i].Close)
	}
	topic, group := unique(t), unique(t)
	if _, err := server.Run(t.Context(), bin, "topic", "create", topic, "--type", "normal",
		"--server", cluster.Proxies[0].Addr); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		send(t, dialTo(t, cluster.Proxies[i%2].Addr, false), raw.Message(topic, fmt.Sprint(i)))
	}
	consumer := sdkOn(t, relays[0].Addr()+";"+relays[1].Addr(), group, topic)
	var held []*rmq.MessageView
	for len(held) < 8 {
		held = append(held, sdkReceive(t, consumer, 20*time.Second)...)
	}
	chosen := 0
	if relays[1].Open() > 0 {
		chosen = 1
	}
	if relays[chosen].Open() == 0 {
		t.Fatal("the SDK has a connection to neither relay")
	}
	cluster.Proxies[chosen].Kill()
	relays[chosen].Close()
	for i, m := range held {
		sdkSettle(t, consumer, m, i%2 == 0)
	}
	if relays[1-chosen].Open() == 0 {
		t.Error("the SDK has no connection to the proxy that is left")
	}
	// Half was acknowledged, half is held for an hour: nothing comes back when the first lease is over.
	left := dialTo(t, cluster.Proxies[1-chosen].Addr, false)
	wantNothing(t, left, raw.Receive{Group: group, Topic: topic, Invisible: time.Minute}, 22*time.Second)
}

func sdkOn(t *testing.T, endpoints, group, topic string) rmq.SimpleConsumer {
	t.Helper()
	c, err := rmq.NewSimpleConsumer(&rmq.Config{
		Endpoint: endpoints, ConsumerGroup: group, Credentials: &credentials.SessionCredentials{},
	}, rmq.WithSimpleAwaitDuration(time.Second),
		rmq.WithSimpleSubscriptionExpressions(map[string]*rmq.FilterExpression{topic: rmq.SUB_ALL}))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.GracefulStop() })
	return c
}

// sdkSettle acknowledges m or holds it for an hour, again and again until the SDK has found the other proxy.
func sdkSettle(t *testing.T, c rmq.SimpleConsumer, m *rmq.MessageView, acknowledge bool) {
	t.Helper()
	limit := time.Now().Add(15 * time.Second)
	for {
		var err error
		if acknowledge {
			err = c.Ack(t.Context(), m)
		} else {
			err = c.ChangeInvisibleDuration(m, time.Hour)
		}
		if err == nil {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("settle through the other proxy: %v", err)
		}
		pause(t.Context(), 50*time.Millisecond)
	}
}
