// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"net"
	"strconv"
	"testing"

	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"
	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/test/clients/go/internal/raw"
)

func route(t *testing.T, c *raw.Client, topic *v2.Resource, at *v2.Endpoints) *v2.QueryRouteResponse {
	t.Helper()
	ctx, cancel := c.Call(t.Context())
	defer cancel()
	resp, err := c.QueryRoute(ctx, &v2.QueryRouteRequest{Topic: topic, Endpoints: at})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestRawRoute checks what clients read from a route: one broker that is reached where the client asked.
func TestRawRoute(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "normal")
	c := dial(t)
	asked := &v2.Endpoints{Scheme: v2.AddressScheme_DOMAIN_NAME, Addresses: []*v2.Address{{Host: "mq.test", Port: 9}}}
	name := &v2.Resource{ResourceNamespace: "ns", Name: topic}

	resp := route(t, c, name, asked)
	wantCode(t, "route", resp.GetStatus(), v2.Code_OK)
	if len(resp.GetMessageQueues()) != 8 {
		t.Fatalf("%d queues, want 8", len(resp.GetMessageQueues()))
	}
	for i, q := range resp.GetMessageQueues() {
		wantQueue(t, q, int32(i), name, asked)
		if types := q.GetAcceptMessageTypes(); len(types) != 1 || types[0] != v2.MessageType_NORMAL {
			t.Errorf("queue %d accepts %v, want NORMAL", i, types)
		}
	}
	again := route(t, c, name, asked)
	again.Status = resp.GetStatus()
	if !proto.Equal(resp, again) {
		t.Error("two answers differ: clients take that for a change")
	}

	t.Run("several addresses", func(t *testing.T) {
		two := &v2.Endpoints{Scheme: v2.AddressScheme_IPv4, Addresses: []*v2.Address{
			{Host: "10.0.0.1", Port: 8081}, {Host: "10.0.0.2", Port: 18081},
		}}
		wantQueue(t, route(t, c, name, two).GetMessageQueues()[0], 0, name, two)
	})
	t.Run("no endpoints: the address that was dialled", func(t *testing.T) {
		for _, at := range []*v2.Endpoints{nil, {}} {
			q := route(t, c, name, at).GetMessageQueues()[0]
			addresses := q.GetBroker().GetEndpoints().GetAddresses()
			if len(addresses) != 1 {
				t.Fatalf("addresses %v, want one", addresses)
			}
			got := net.JoinHostPort(addresses[0].GetHost(), strconv.Itoa(int(addresses[0].GetPort())))
			if got != shared.Addr || q.GetBroker().GetEndpoints().GetScheme() == v2.AddressScheme_ADDRESS_SCHEME_UNSPECIFIED {
				t.Errorf("endpoints %v, want %s", q.GetBroker().GetEndpoints(), shared.Addr)
			}
		}
	})
	t.Run("mixed topic accepts what is built", func(t *testing.T) {
		mixed := newTopic(t, "mixed")
		types := route(t, c, raw.Resource(mixed), asked).GetMessageQueues()[0].GetAcceptMessageTypes()
		if len(types) != 1 || types[0] != v2.MessageType_NORMAL {
			t.Errorf("accepts %v, want NORMAL alone until the others are built", types)
		}
	})
}

func wantQueue(t *testing.T, q *v2.MessageQueue, id int32, topic *v2.Resource, at *v2.Endpoints) {
	t.Helper()
	if q.GetId() != id || q.GetPermission() != v2.Permission_READ_WRITE {
		t.Errorf("queue %d: id %d, permission %v", id, q.GetId(), q.GetPermission())
	}
	if !proto.Equal(q.GetTopic(), topic) {
		t.Errorf("queue %d: topic %v, want the one of the request", id, q.GetTopic())
	}
	if q.GetBroker().GetName() == "" || q.GetBroker().GetId() != 0 {
		t.Errorf("queue %d: broker %q with id %d", id, q.GetBroker().GetName(), q.GetBroker().GetId())
	}
	if !proto.Equal(q.GetBroker().GetEndpoints(), at) {
		t.Errorf("queue %d: endpoints %v, want %v", id, q.GetBroker().GetEndpoints(), at)
	}
}

// TestRawRouteLimits says which topics have no route.
func TestRawRouteLimits(t *testing.T) {
	t.Parallel()
	c := dial(t)
	cases := map[string]v2.Code{
		"": v2.Code_ILLEGAL_TOPIC, "a.b": v2.Code_ILLEGAL_TOPIC, "TBW102": v2.Code_ILLEGAL_TOPIC,
		"no-such-topic": v2.Code_TOPIC_NOT_FOUND,
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			resp := route(t, c, raw.Resource(name), c.Endpoints())
			wantCode(t, "route", resp.GetStatus(), want)
			if len(resp.GetMessageQueues()) != 0 {
				t.Error("queues beside an error")
			}
		})
	}
}

// TestRawAssignment says that every consumer of a group is given the whole broker.
func TestRawAssignment(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, "normal")
	c := dial(t)
	ask := func(t *testing.T, topic, group string) *v2.QueryAssignmentResponse {
		t.Helper()
		ctx, cancel := c.Call(t.Context())
		defer cancel()
		resp, err := c.QueryAssignment(ctx, &v2.QueryAssignmentRequest{
			Topic: raw.Resource(topic), Group: raw.Resource(group), Endpoints: c.Endpoints(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	t.Run("one queue that means all", func(t *testing.T) {
		group := unique(t)
		resp := ask(t, topic, group)
		wantCode(t, "assignment", resp.GetStatus(), v2.Code_OK)
		if len(resp.GetAssignments()) != 1 {
			t.Fatalf("%d assignments, want 1", len(resp.GetAssignments()))
		}
		q := resp.GetAssignments()[0].GetMessageQueue()
		wantQueue(t, q, -1, raw.Resource(topic), c.Endpoints())
		if again := ask(t, topic, group).GetAssignments(); len(again) != 1 || !proto.Equal(q, again[0].GetMessageQueue()) {
			t.Error("two answers differ: clients take that for a change")
		}
	})
	bad := []struct {
		topic, group string
		want         v2.Code
	}{
		{"a.b", "g", v2.Code_ILLEGAL_TOPIC},
		{topic, "g.h", v2.Code_ILLEGAL_CONSUMER_GROUP},
		{topic, "", v2.Code_ILLEGAL_CONSUMER_GROUP},
		{"no-such-topic", "g", v2.Code_TOPIC_NOT_FOUND},
	}
	for _, tc := range bad {
		t.Run(tc.want.String()+" "+tc.group, func(t *testing.T) {
			wantCode(t, "assignment", ask(t, tc.topic, tc.group).GetStatus(), tc.want)
		})
	}
}
