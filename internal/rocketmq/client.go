// SPDX-License-Identifier: Apache-2.0

package rocketmq

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	v2 "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// Client speaks with one server as one client id. Its methods may be called from
// any goroutine.
type Client struct {
	v2.MessagingServiceClient

	// ID is the client id.
	ID        string
	endpoints *v2.Endpoints
	headers   metadata.MD
}

// New makes a client with an id of its own over conn, which dials address.
func New(conn grpc.ClientConnInterface, address string) (*Client, error) {
	endpoints, err := endpointsOf(address)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	id := fmt.Sprintf("%s@%d@%s", host, os.Getpid(), random(8))
	return &Client{
		MessagingServiceClient: v2.NewMessagingServiceClient(conn),
		ID:                     id,
		endpoints:              endpoints,
		headers: metadata.Pairs(
			"x-mq-client-id", id,
			"x-mq-language", "GO",
			"x-mq-client-version", "5.1.4",
			"x-mq-protocol", "v2",
			"x-mq-namespace", "",
			"x-mq-request-id", random(16),
			"x-mq-date-time", time.Now().UTC().Format("20060102T150405Z"),
		),
	}, nil
}

// Context returns ctx with the headers of the protocol.
func (c *Client) Context(ctx context.Context) context.Context {
	return metadata.NewOutgoingContext(ctx, c.headers)
}

// Route returns the queues of a topic.
func (c *Client) Route(ctx context.Context, topic string) ([]*v2.MessageQueue, error) {
	r, err := c.QueryRoute(c.Context(ctx), &v2.QueryRouteRequest{Topic: Resource(topic), Endpoints: c.endpoints})
	if err != nil {
		return nil, err
	}
	if err := Check(r.GetStatus()); err != nil {
		return nil, err
	}
	if len(r.GetMessageQueues()) == 0 {
		return nil, fmt.Errorf("topic %s has no queues", topic)
	}
	return r.GetMessageQueues(), nil
}

// Send sends one request and returns its entries, one per message.
func (c *Client) Send(ctx context.Context, messages ...*v2.Message) ([]*v2.SendResultEntry, error) {
	r, err := c.SendMessage(c.Context(ctx), &v2.SendMessageRequest{Messages: messages})
	if err != nil {
		return nil, err
	}
	if err := Check(r.GetStatus()); err != nil {
		return r.GetEntries(), err
	}
	for _, e := range r.GetEntries() {
		if err := Check(e.GetStatus()); err != nil {
			return r.GetEntries(), err
		}
	}
	return r.GetEntries(), nil
}

// Ack acknowledges one message and returns the entry's verdict.
func (c *Client) Ack(ctx context.Context, group string, m *v2.Message) error {
	r, err := c.AckMessage(c.Context(ctx), &v2.AckMessageRequest{
		Group: Resource(group), Topic: m.GetTopic(),
		Entries: []*v2.AckMessageEntry{{
			MessageId: m.GetSystemProperties().GetMessageId(), ReceiptHandle: m.GetSystemProperties().GetReceiptHandle(),
		}},
	})
	if err != nil {
		return err
	}
	if len(r.GetEntries()) == 1 {
		return Check(r.GetEntries()[0].GetStatus())
	}
	return Check(r.GetStatus())
}

// Resource names a topic or a group.
func Resource(name string) *v2.Resource { return &v2.Resource{Name: name} }

// MessageID makes an id in the shape of the official clients: version 01 and 32
// hexadecimal digits.
func MessageID() string { return "01" + random(16) }

func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// StatusError is an answer that is not OK.
type StatusError struct {
	Code    v2.Code
	Message string
}

func (e *StatusError) Error() string { return fmt.Sprintf("%v: %s", e.Code, e.Message) }

// Check returns nil for OK, else a StatusError.
func Check(s *v2.Status) error {
	if s.GetCode() == v2.Code_OK {
		return nil
	}
	return &StatusError{Code: s.GetCode(), Message: s.GetMessage()}
}

// endpointsOf is host:port as the protocol writes it.
func endpointsOf(address string) (*v2.Endpoints, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address %q is not HOST:PORT: %w", address, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("address %q: port %q is no number", address, portText)
	}
	scheme := v2.AddressScheme_DOMAIN_NAME
	if ip := net.ParseIP(host); ip != nil {
		scheme = v2.AddressScheme_IPv6
		if ip.To4() != nil {
			scheme = v2.AddressScheme_IPv4
		}
	}
	return &v2.Endpoints{Scheme: scheme, Addresses: []*v2.Address{{Host: host, Port: int32(port)}}}, nil
}
