// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	v2 "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// fake is a server in memory: topics and groups by name, one list of messages.
type fake struct {
	controlv1.UnimplementedAdminServer
	controlv1.UnimplementedInspectServer
	v2.UnimplementedMessagingServiceServer

	mu       sync.Mutex
	topics   map[string]*controlv1.Topic
	groups   map[string]*controlv1.Group
	messages []*v2.Message
	acked    []string
	laggards []string
	tokens   []string // of the authorization header
}

// start serves a fake and returns its address.
func start(t *testing.T) (*fake, string) {
	t.Helper()
	f := &fake{topics: make(map[string]*controlv1.Topic), groups: make(map[string]*controlv1.Group)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, q any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.tokens = metadata.ValueFromIncomingContext(ctx, "authorization")
		return next(ctx, q)
	}))
	controlv1.RegisterAdminServer(s, f)
	controlv1.RegisterInspectServer(s, f)
	v2.RegisterMessagingServiceServer(s, f)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return f, l.Addr().String()
}

// outcome is what one command line printed, and its error.
type outcome struct {
	out, err string
	failed   error
}

// mansio runs one command line in this process.
func mansio(t *testing.T, line ...string) outcome {
	t.Helper()
	root := newRoot()
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetIn(strings.NewReader("from standard input\n"))
	root.SetArgs(line)
	failed := execute(t.Context(), root)
	return outcome{out.String(), errs.String(), failed}
}

func (f *fake) CreateTopic(_ context.Context, q *controlv1.CreateTopicRequest) (*controlv1.TopicResponse, error) {
	name := q.GetTopic().GetName()
	if old := f.topics[name]; old != nil {
		if old.GetType() != q.GetTopic().GetType() || !q.GetIfNotExists() {
			return nil, status.Errorf(codes.AlreadyExists, "topic %s exists with another type", name)
		}
		return &controlv1.TopicResponse{Topic: old, Laggards: f.laggards}, nil
	}
	topic := proto.CloneOf(q.GetTopic())
	topic.Id, topic.CreatedMs, topic.Revision = uint64(len(f.topics)+1), 1_000, 7
	for i := range q.GetQueues() {
		topic.Queues = append(topic.Queues, &controlv1.Queue{Shard: i%2 + 1})
	}
	f.topics[name] = topic
	return &controlv1.TopicResponse{Topic: topic, Laggards: f.laggards}, nil
}

func (f *fake) UpdateTopic(_ context.Context, q *controlv1.UpdateTopicRequest) (*controlv1.TopicResponse, error) {
	topic := f.topics[q.GetName()]
	if topic == nil {
		return nil, status.Errorf(codes.NotFound, "there is no topic %s", q.GetName())
	}
	if q.Queues != nil {
		for uint32(len(topic.GetQueues())) < q.GetQueues() {
			topic.Queues = append(topic.Queues, &controlv1.Queue{Shard: 1})
		}
	}
	if q.Reply != nil {
		topic.Reply = q.GetReply()
	}
	if q.Deduplicate != nil {
		topic.Deduplicate = q.GetDeduplicate()
	}
	return &controlv1.TopicResponse{Topic: topic}, nil
}

func (f *fake) GetTopic(_ context.Context, q *controlv1.GetTopicRequest) (*controlv1.TopicResponse, error) {
	if topic := f.topics[q.GetName()]; topic != nil {
		return &controlv1.TopicResponse{Topic: topic}, nil
	}
	return nil, status.Errorf(codes.NotFound, "there is no topic %s", q.GetName())
}

// ListTopics gives one topic a page.
func (f *fake) ListTopics(_ context.Context, q *controlv1.ListTopicsRequest) (*controlv1.ListTopicsResponse, error) {
	var names []string
	for name := range f.topics {
		if strings.HasPrefix(name, q.GetPrefix()) && name > q.GetPageToken() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	r := &controlv1.ListTopicsResponse{}
	if len(names) > 0 {
		r.Topics = append(r.Topics, f.topics[names[0]])
	}
	if len(names) > 1 {
		r.NextPageToken = names[0]
	}
	return r, nil
}

func (f *fake) DeleteTopic(_ context.Context, q *controlv1.DeleteTopicRequest) (*controlv1.DeleteResponse, error) {
	delete(f.topics, q.GetName())
	return &controlv1.DeleteResponse{Laggards: f.laggards}, nil
}

func (f *fake) CreateGroup(_ context.Context, q *controlv1.CreateGroupRequest) (*controlv1.GroupResponse, error) {
	g := proto.CloneOf(q.GetGroup())
	if q.StrictExpiry != nil {
		g.StrictExpiry = q.GetStrictExpiry()
	}
	f.groups[g.GetName()] = g
	return &controlv1.GroupResponse{Group: g, Laggards: f.laggards}, nil
}

func (f *fake) UpdateGroup(_ context.Context, q *controlv1.UpdateGroupRequest) (*controlv1.GroupResponse, error) {
	g := f.groups[q.GetName()]
	if g == nil {
		return nil, status.Errorf(codes.NotFound, "there is no group %s", q.GetName())
	}
	if q.MaxAttempts != nil {
		g.MaxAttempts = q.GetMaxAttempts()
	}
	if q.Fifo != nil {
		g.Fifo = q.GetFifo()
	}
	if q.Backoff != nil {
		g.Backoff = q.GetBackoff()
	}
	return &controlv1.GroupResponse{Group: g}, nil
}

func (f *fake) GetGroup(_ context.Context, q *controlv1.GetGroupRequest) (*controlv1.GroupResponse, error) {
	if g := f.groups[q.GetName()]; g != nil {
		return &controlv1.GroupResponse{Group: g}, nil
	}
	return nil, status.Errorf(codes.NotFound, "there is no group %s", q.GetName())
}

func (f *fake) ListGroups(_ context.Context, q *controlv1.ListGroupsRequest) (*controlv1.ListGroupsResponse, error) {
	r := &controlv1.ListGroupsResponse{}
	for _, name := range slices.Sorted(maps.Keys(f.groups)) {
		if strings.HasPrefix(name, q.GetPrefix()) {
			r.Groups = append(r.Groups, f.groups[name])
		}
	}
	return r, nil
}

func (f *fake) DeleteGroup(_ context.Context, q *controlv1.DeleteGroupRequest) (*controlv1.DeleteResponse, error) {
	delete(f.groups, q.GetName())
	return &controlv1.DeleteResponse{}, nil
}

func (f *fake) ListShards(_ context.Context, q *controlv1.ListShardsRequest) (*controlv1.ListShardsResponse, error) {
	replica := &controlv1.ReplicaID{Node: 9, Incarnation: 1}
	r := &controlv1.ListShardsResponse{
		Shards: []*controlv1.Shard{{
			Id: 1, Term: 4, Phase: controlv1.Phase_PHASE_STEADY, Leader: replica,
			Replicas: []*controlv1.ReplicaID{replica, {Node: 10}}, InSync: []*controlv1.ReplicaID{replica},
		}, {
			Id: 2, Term: 5, Phase: controlv1.Phase_PHASE_ELECTING, Leader: replica, Replicas: []*controlv1.ReplicaID{replica},
		}},
		Nodes: []*controlv1.Node{{Id: 9, Name: "alpha"}, {Id: 10, Name: "beta"}}, Live: []uint64{9},
	}
	if q.GetTopic() != "" {
		r.Shards = r.GetShards()[:1]
	}
	return r, nil
}

func (f *fake) ListNodes(context.Context, *controlv1.ListNodesRequest) (*controlv1.ListNodesResponse, error) {
	return &controlv1.ListNodesResponse{
		Nodes: []*controlv1.Node{{Id: 9, Name: "alpha", Address: "a:1", Zone: "z", SeenMs: 1_000}, {Id: 10, Name: "beta", Address: "b:1"}},
		Live:  []uint64{9}, SinceMs: map[uint64]int64{9: 2_000, 10: 3_000},
	}, nil
}

func (f *fake) GroupLag(_ context.Context, q *controlv1.GroupLagRequest) (*controlv1.GroupLagResponse, error) {
	r := &controlv1.GroupLagResponse{Queues: []*controlv1.QueueLag{
		{Topic: "t" + q.GetTopic(), Queue: 0, Shard: 1, NextOffset: 10, Ready: 3, InFlight: 2, Done: 5},
		{Topic: "t" + q.GetTopic(), Queue: 1, Shard: 2, NextOffset: 4, Ready: 4},
	}}
	if q.GetTopic() == "half" {
		r.Queues[1] = &controlv1.QueueLag{Topic: "half", Queue: 1, Shard: 2, Error: "shard 2: nobody there"}
	}
	return r, nil
}

// stored are the messages as a shard holds them.
func (f *fake) stored(keep func(*v2.Message) bool) (found []*controlv1.StoredMessage) {
	for i, m := range f.messages {
		if keep(m) {
			b, _ := proto.Marshal(m)
			found = append(found, &controlv1.StoredMessage{Shard: 1, Lsn: uint64(8 + i), Offset: uint64(i), StoreMs: 2_000, Message: b})
		}
	}
	return found
}

func (f *fake) GetMessage(_ context.Context, q *controlv1.GetMessageRequest) (*controlv1.GetMessageResponse, error) {
	return &controlv1.GetMessageResponse{Messages: f.stored(func(m *v2.Message) bool {
		return m.GetSystemProperties().GetMessageId() == q.GetMessageId()
	})}, nil
}

// QueryMessages gives one message a page; the token is the number to skip, as
// dots. It never gets on in the topic "stuck".
func (f *fake) QueryMessages(_ context.Context, q *controlv1.QueryMessagesRequest) (*controlv1.QueryMessagesResponse, error) {
	if q.GetTopic() == "stuck" {
		return &controlv1.QueryMessagesResponse{NextPageToken: "."}, nil
	}
	found := f.stored(func(m *v2.Message) bool {
		return q.GetKey() == "" || slices.Contains(m.GetSystemProperties().GetKeys(), q.GetKey())
	})
	found = found[min(len(q.GetPageToken()), len(found)):]
	r := &controlv1.QueryMessagesResponse{}
	if len(found) > 0 {
		r.Messages = found[:1]
	}
	if len(found) > 1 {
		r.NextPageToken = q.GetPageToken() + "."
	}
	return r, nil
}

func (f *fake) QueryRoute(_ context.Context, q *v2.QueryRouteRequest) (*v2.QueryRouteResponse, error) {
	if f.topics[q.GetTopic().GetName()] == nil {
		return &v2.QueryRouteResponse{Status: &v2.Status{Code: v2.Code_TOPIC_NOT_FOUND, Message: "no topic"}}, nil
	}
	return &v2.QueryRouteResponse{Status: &v2.Status{Code: v2.Code_OK}, MessageQueues: []*v2.MessageQueue{{
		Topic: q.GetTopic(), Permission: v2.Permission_READ_WRITE, Broker: &v2.Broker{Name: "b", Endpoints: q.GetEndpoints()},
	}}}, nil
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

func (f *fake) SendMessage(_ context.Context, q *v2.SendMessageRequest) (*v2.SendMessageResponse, error) {
	r := &v2.SendMessageResponse{Status: &v2.Status{Code: v2.Code_OK}}
	for _, m := range q.GetMessages() {
		r.Entries = append(r.Entries, &v2.SendResultEntry{
			Status: &v2.Status{Code: v2.Code_OK}, MessageId: m.GetSystemProperties().GetMessageId(), Offset: int64(len(f.messages)),
		})
		f.messages = append(f.messages, m)
	}
	return r, nil
}

func (f *fake) ReceiveMessage(q *v2.ReceiveMessageRequest, s v2.MessagingService_ReceiveMessageServer) error {
	f.mu.Lock()
	var batch []*v2.Message
	for _, m := range f.messages {
		tag := q.GetFilterExpression().GetExpression()
		taken := m.GetSystemProperties().GetDeliveryAttempt() > 0
		if len(batch) < int(q.GetBatchSize()) && !taken && (tag == "*" || tag == m.GetSystemProperties().GetTag()) {
			attempt, handle := int32(1), "handle-of-"+m.GetSystemProperties().GetMessageId()
			m.SystemProperties.DeliveryAttempt, m.SystemProperties.ReceiptHandle = &attempt, &handle
			batch = append(batch, proto.CloneOf(m))
		}
	}
	f.mu.Unlock()
	code := v2.Code_OK
	if len(batch) == 0 {
		code = v2.Code_MESSAGE_NOT_FOUND
	}
	if err := s.Send(&v2.ReceiveMessageResponse{Content: &v2.ReceiveMessageResponse_Status{Status: &v2.Status{Code: code}}}); err != nil {
		return err
	}
	for _, m := range batch {
		if err := s.Send(&v2.ReceiveMessageResponse{Content: &v2.ReceiveMessageResponse_Message{Message: m}}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) AckMessage(_ context.Context, q *v2.AckMessageRequest) (*v2.AckMessageResponse, error) {
	r := &v2.AckMessageResponse{Status: &v2.Status{Code: v2.Code_OK}}
	for _, e := range q.GetEntries() {
		f.acked = append(f.acked, e.GetMessageId())
		r.Entries = append(r.Entries, &v2.AckMessageResultEntry{Status: &v2.Status{Code: v2.Code_OK}})
	}
	return r, nil
}
