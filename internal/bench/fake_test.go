// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	v2 "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// fake is a server in memory whose faults a test chooses. Counters begin at 1.
type fake struct {
	v2.UnimplementedMessagingServiceServer

	loseEach    int // a send is answered OK and forgotten
	failEach    int // a send is stored and then answered UNAVAILABLE
	twiceEach   int // a message is delivered twice before its ack
	foreign     []*v2.Message
	refuseAcks  int // the first so many acks fail
	routeStatus v2.Code

	mu      sync.Mutex
	queue   []*v2.Message
	sends   int
	acks    int
	acked   map[string]int
	changed chan struct{}
}

// serve runs the fake and returns its address.
func (f *fake) serve(t *testing.T) string {
	t.Helper()
	f.changed = make(chan struct{})
	f.acked = make(map[string]int)
	f.queue = f.foreign
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	v2.RegisterMessagingServiceServer(s, f)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func each(n, count int) bool { return n > 0 && count%n == 0 }

// push makes a message available. The lock is held.
func (f *fake) push(m *v2.Message) {
	f.queue = append(f.queue, m)
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) QueryRoute(ctx context.Context, q *v2.QueryRouteRequest) (*v2.QueryRouteResponse, error) {
	if f.routeStatus != 0 {
		return &v2.QueryRouteResponse{Status: &v2.Status{Code: f.routeStatus, Message: "no such topic"}}, nil
	}
	return echo{}.QueryRoute(ctx, q)
}

func (f *fake) Telemetry(s v2.MessagingService_TelemetryServer) error {
	for {
		c, err := s.Recv()
		if err != nil {
			return nil //nolint:nilerr // the client has gone, as it may
		}
		c.Status = &v2.Status{Code: v2.Code_OK}
		if err := s.Send(c); err != nil {
			return err
		}
	}
}

func (f *fake) SendMessage(ctx context.Context, q *v2.SendMessageRequest) (*v2.SendMessageResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sends++
	if !each(f.loseEach, f.sends) {
		for _, m := range q.GetMessages() {
			f.push(m)
			if each(f.twiceEach, f.sends) {
				f.push(proto.CloneOf(m))
			}
		}
	}
	if each(f.failEach, f.sends) {
		return nil, status.Error(codes.Unavailable, "going down")
	}
	return echo{}.SendMessage(ctx, q)
}

func (f *fake) ReceiveMessage(q *v2.ReceiveMessageRequest, s v2.MessagingService_ReceiveMessageServer) error {
	for {
		f.mu.Lock()
		n := min(len(f.queue), int(q.GetBatchSize()))
		batch := f.queue[:n:n]
		f.queue = f.queue[n:]
		changed := f.changed
		f.mu.Unlock()
		if n == 0 {
			select {
			case <-changed:
				continue
			case <-s.Context().Done():
				return s.Context().Err()
			}
		}
		if err := s.Send(&v2.ReceiveMessageResponse{Content: &v2.ReceiveMessageResponse_Status{Status: &v2.Status{Code: v2.Code_OK}}}); err != nil {
			return err
		}
		for _, m := range batch {
			m = proto.CloneOf(m)
			handle := fmt.Sprintf("handle-%p", m)
			m.SystemProperties.ReceiptHandle = &handle
			if err := s.Send(&v2.ReceiveMessageResponse{Content: &v2.ReceiveMessageResponse_Message{Message: m}}); err != nil {
				return err
			}
		}
		return nil
	}
}

func (f *fake) AckMessage(_ context.Context, q *v2.AckMessageRequest) (*v2.AckMessageResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acks++
	if f.acks <= f.refuseAcks {
		return &v2.AckMessageResponse{Status: &v2.Status{Code: v2.Code_INTERNAL_SERVER_ERROR, Message: "not now"}}, nil
	}
	id := q.GetEntries()[0].GetMessageId()
	f.acked[id]++
	return &v2.AckMessageResponse{
		Status:  &v2.Status{Code: v2.Code_OK},
		Entries: []*v2.AckMessageResultEntry{{MessageId: id, Status: &v2.Status{Code: v2.Code_OK}}},
	}, nil
}
