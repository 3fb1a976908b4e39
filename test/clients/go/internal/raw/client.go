// SPDX-License-Identifier: Apache-2.0

package raw

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	v2 "github.com/apache/rocketmq-clients/golang/v5/protocol/v2"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// CallWithin bounds each unary call, and each receive beyond its long polling time.
const CallWithin = 10 * time.Second

const receiveMax = 64 << 20 // bytes; larger than any message

// reconnect makes a client find a restarted server soon.
var reconnect = grpc.ConnectParams{
	Backoff: backoff.Config{
		BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 200 * time.Millisecond,
	},
	MinConnectTimeout: 10 * time.Second,
}

// Client speaks with one server as one client id. Its methods may be called concurrently.
type Client struct {
	v2.MessagingServiceClient

	// ID is the client id that every call names.
	ID string
	// Addr is the server's address.
	Addr string

	conn  *grpc.ClientConn
	dials *atomic.Int64
}

// Dial makes a client with a fresh id; nothing is sent before its first call. With secure the connection is TLS and
// the server's certificate is not verified, as in the official Go and Java clients.
func Dial(addr string, secure bool) (*Client, error) {
	creds := insecure.NewCredentials()
	if secure {
		creds = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}) //nolint:gosec // self-signed on purpose
	}
	var dials atomic.Int64
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, target string) (net.Conn, error) {
			dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, "tcp", target)
		}),
		grpc.WithConnectParams(reconnect),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(receiveMax)))
	if err != nil {
		return nil, err
	}
	return &Client{
		MessagingServiceClient: v2.NewMessagingServiceClient(conn),
		ID:                     "raw@" + uuid.NewString(),
		Addr:                   addr,
		conn:                   conn,
		dials:                  &dials,
	}, nil
}

// As returns a client on the same connection with another client id.
func (c *Client) As(id string) *Client {
	other := *c
	other.ID = id
	return &other
}

// Close closes the connection, for every client that shares it.
func (c *Client) Close() error { return c.conn.Close() }

// Dials counts the connections opened so far.
func (c *Client) Dials() int64 { return c.dials.Load() }

// Headers returns ctx with the metadata of the protocol; an empty ID leaves the client id out.
func (c *Client) Headers(ctx context.Context) context.Context {
	pairs := []string{
		"x-mq-language", "GO", "x-mq-protocol", "v2", "x-mq-client-version", "5.1.4",
		"x-mq-request-id", uuid.NewString(), "x-mq-date-time", "20260102T030405Z",
	}
	if c.ID != "" {
		pairs = append(pairs, "x-mq-client-id", c.ID)
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

// Call returns ctx with headers and the deadline of a unary call.
func (c *Client) Call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.Headers(ctx), CallWithin)
}

// Endpoints returns the address of the server as a client puts it into QueryRoute.
func (c *Client) Endpoints() *v2.Endpoints {
	host, portText, _ := net.SplitHostPort(c.Addr)
	port, _ := strconv.ParseInt(portText, 10, 32)
	return &v2.Endpoints{
		Scheme:    v2.AddressScheme_IPv4,
		Addresses: []*v2.Address{{Host: host, Port: int32(port)}},
	}
}

// Resource names a topic or a group without namespace.
func Resource(name string) *v2.Resource { return &v2.Resource{Name: name} }

// Message is a valid message of type NORMAL with a fresh id; tests change what they are about.
func Message(topic, body string) *v2.Message {
	return &v2.Message{
		Topic: Resource(topic),
		Body:  []byte(body),
		SystemProperties: &v2.SystemProperties{
			MessageId:     MessageID(),
			MessageType:   v2.MessageType_NORMAL,
			BodyEncoding:  v2.Encoding_IDENTITY,
			BornTimestamp: timestamppb.Now(),
			BornHost:      "raw-client",
		},
	}
}

// MessageID returns a fresh message id.
func MessageID() string { return "01" + uuid.NewString() }

// Send sends messages in one request.
func (c *Client) Send(ctx context.Context, messages ...*v2.Message) (*v2.SendMessageResponse, error) {
	ctx, cancel := c.Call(ctx)
	defer cancel()
	return c.SendMessage(ctx, &v2.SendMessageRequest{Messages: messages})
}

// Receive is one ReceiveMessage call: what to ask.
type Receive struct {
	Group, Topic string
	// Tags is a TAG expression; empty means "*".
	Tags string
	// Batch is the batch size; 0 means 16.
	Batch int32
	// Invisible is the invisible duration; 0 leaves the field out.
	Invisible time.Duration
	// Poll is the long polling time; negative leaves the field out.
	Poll time.Duration
	// Deadline is the call's; 0 means Poll + CallWithin.
	Deadline time.Duration
	// Edit changes the request at the end.
	Edit func(*v2.ReceiveMessageRequest)
}

// Received is what a receive stream brought, in order.
type Received struct {
	Status   *v2.Status
	Messages []*v2.Message
	// Delivered is the stream's delivery timestamp.
	Delivered *timestamppb.Timestamp
	// Order has one letter per frame: s status, m message, d delivery timestamp, ? anything else.
	Order string
}

// Receive runs one receive to the end of its stream.
func (c *Client) Receive(ctx context.Context, r Receive) (Received, error) {
	deadline := r.Deadline
	if deadline == 0 {
		deadline = max(r.Poll, 0) + CallWithin
	}
	ctx, cancel := context.WithTimeout(c.Headers(ctx), deadline)
	defer cancel()
	stream, err := c.ReceiveMessage(ctx, r.request(c))
	if err != nil {
		return Received{}, err
	}
	var got Received
	for {
		frame, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, fmt.Errorf("after frames %q: %w", got.Order, err)
		}
		got.add(frame)
	}
}

func (r Receive) request(c *Client) *v2.ReceiveMessageRequest {
	req := &v2.ReceiveMessageRequest{
		Group: Resource(r.Group),
		MessageQueue: &v2.MessageQueue{
			Topic:  Resource(r.Topic),
			Broker: &v2.Broker{Name: "any", Endpoints: c.Endpoints()},
		},
		FilterExpression: &v2.FilterExpression{Type: v2.FilterType_TAG, Expression: "*"},
		BatchSize:        16,
	}
	if r.Tags != "" {
		req.FilterExpression.Expression = r.Tags
	}
	if r.Batch != 0 {
		req.BatchSize = r.Batch
	}
	if r.Invisible != 0 {
		req.InvisibleDuration = durationpb.New(r.Invisible)
	}
	if r.Poll >= 0 {
		req.LongPollingTimeout = durationpb.New(r.Poll)
	}
	if r.Edit != nil {
		r.Edit(req)
	}
	return req
}

func (got *Received) add(frame *v2.ReceiveMessageResponse) {
	switch content := frame.GetContent().(type) {
	case *v2.ReceiveMessageResponse_Status:
		got.Status = content.Status
		got.Order += "s"
	case *v2.ReceiveMessageResponse_Message:
		got.Messages = append(got.Messages, content.Message)
		got.Order += "m"
	case *v2.ReceiveMessageResponse_DeliveryTimestamp:
		got.Delivered = content.DeliveryTimestamp
		got.Order += "d"
	default:
		got.Order += "?"
	}
}

// Entry is the ack entry of a received message.
func Entry(m *v2.Message) *v2.AckMessageEntry {
	return &v2.AckMessageEntry{
		MessageId:     m.GetSystemProperties().GetMessageId(),
		ReceiptHandle: m.GetSystemProperties().GetReceiptHandle(),
	}
}

// Ack acknowledges entries of one topic in one request.
func (c *Client) Ack(
	ctx context.Context, group, topic string, entries ...*v2.AckMessageEntry,
) (*v2.AckMessageResponse, error) {
	ctx, cancel := c.Call(ctx)
	defer cancel()
	return c.AckMessage(ctx, &v2.AckMessageRequest{Group: Resource(group), Topic: Resource(topic), Entries: entries})
}

// Change changes the invisible duration of m.
func (c *Client) Change(
	ctx context.Context, group string, m *v2.Message, d time.Duration,
) (*v2.ChangeInvisibleDurationResponse, error) {
	ctx, cancel := c.Call(ctx)
	defer cancel()
	return c.ChangeInvisibleDuration(ctx, &v2.ChangeInvisibleDurationRequest{
		Group:             Resource(group),
		Topic:             m.GetTopic(),
		ReceiptHandle:     m.GetSystemProperties().GetReceiptHandle(),
		MessageId:         m.GetSystemProperties().GetMessageId(),
		InvisibleDuration: durationpb.New(d),
	})
}
