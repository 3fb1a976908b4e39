// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"testing"
	"testing/synctest"

	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func TestFirstTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		proxy := w.watch("proxy p1")
		n := w.node("n1", nil)
		await(t, proxy, "two shards led", allLed(2))
		response, err := w.admin().CreateTopic(t.Context(), &controlv1.CreateTopicRequest{Topic: &controlv1.Topic{Name: "orders"}})
		if err != nil {
			t.Fatal(err)
		}
		topic := proxy.Snapshot().TopicByName("orders")
		if topic == nil || len(topic.GetQueues()) != 8 || len(response.GetLaggards()) != 0 {
			t.Errorf("%v, laggards %v", topic, response.GetLaggards())
		}
		synctest.Wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.fences != 2 || n.leads != 2 {
			t.Errorf("%d fences, %d leads", n.fences, n.leads)
		}
	})
}
