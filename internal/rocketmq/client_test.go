// SPDX-License-Identifier: Apache-2.0

package rocketmq

import (
	"errors"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/testing/protocmp"

	v2 "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

func TestEndpoints(t *testing.T) {
	one := func(scheme v2.AddressScheme, host string) *v2.Endpoints {
		return &v2.Endpoints{Scheme: scheme, Addresses: []*v2.Address{{Host: host, Port: 8081}}}
	}
	for address, want := range map[string]*v2.Endpoints{
		"127.0.0.1:8081": one(v2.AddressScheme_IPv4, "127.0.0.1"),
		"[::1]:8081":     one(v2.AddressScheme_IPv6, "::1"),
		"mq.local:8081":  one(v2.AddressScheme_DOMAIN_NAME, "mq.local"),
	} {
		got, err := endpointsOf(address)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
	for _, bad := range []string{"", "host", "host:x", "host:70000", "host:-1"} {
		if c, err := New(nil, bad); err == nil {
			t.Errorf("%q accepted as %v", bad, c.endpoints)
		}
	}
}

func TestHeaders(t *testing.T) {
	c, err := New(nil, "h:1")
	if err != nil {
		t.Fatal(err)
	}
	md, _ := metadata.FromOutgoingContext(c.Context(t.Context()))
	for header, pattern := range map[string]string{
		"x-mq-client-id": `^.+@\d+@[0-9a-f]{16}$`, "x-mq-language": "^GO$", "x-mq-protocol": "^v2$", "x-mq-date-time": `^\d{8}T\d{6}Z$`,
	} {
		if v := md.Get(header); len(v) != 1 || !regexp.MustCompile(pattern).MatchString(v[0]) {
			t.Errorf("%s: %q", header, v)
		}
	}
	if a, b := MessageID(), MessageID(); a == b || !regexp.MustCompile(`^01[0-9a-f]{32}$`).MatchString(a) {
		t.Errorf("message ids %s, %s", a, b)
	}
}

func TestCheck(t *testing.T) {
	if err := Check(&v2.Status{Code: v2.Code_OK}); err != nil {
		t.Error(err)
	}
	var s *StatusError
	if err := Check(&v2.Status{Code: v2.Code_TOPIC_NOT_FOUND, Message: "x"}); !errors.As(err, &s) || s.Code != v2.Code_TOPIC_NOT_FOUND {
		t.Error(err)
	}
	if Check(nil) == nil {
		t.Error("no status is OK")
	}
}

func TestOneQueuePerBroker(t *testing.T) {
	q := func(broker string, id int32, p v2.Permission) *v2.MessageQueue {
		return &v2.MessageQueue{Id: id, Permission: p, Broker: &v2.Broker{Name: broker}}
	}
	got := perBroker([]*v2.MessageQueue{
		q("a", 0, v2.Permission_WRITE), q("a", 1, v2.Permission_READ_WRITE), q("a", 2, v2.Permission_READ), q("b", 0, v2.Permission_READ),
	})
	if len(got) != 2 || got[0].GetId() != 1 || got[1].GetBroker().GetName() != "b" {
		t.Errorf("%v", got)
	}
}
