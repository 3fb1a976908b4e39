// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mansiomq/mansio/internal/ident"
	table "github.com/mansiomq/mansio/internal/metadata"
	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/fakestore"
	"github.com/mansiomq/mansio/proxy/listen"
	"github.com/mansiomq/mansio/proxy/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// controller stands in for the controller: it creates what it is asked for, and
// the table hears of it at once.
type controller struct {
	mu     sync.Mutex
	table  *table.Table
	rev    int64
	lastID uint64
	err    error    // of every call
	calls  []string // methods
	slow   time.Duration
}

func (c *controller) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, grpcstatus.Error(codes.Unimplemented, "no streams")
}

func (c *controller) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.slow > 0 {
		wait(ctx, c.slow)
		return ctx.Err()
	}
	c.calls = append(c.calls, method[strings.LastIndexByte(method, '/')+1:])
	if c.err != nil {
		return c.err
	}
	snap := c.table.Snapshot()
	var out proto.Message
	switch r := args.(type) {
	case *controlv1.EnsureTopicRequest:
		t := snap.TopicByName(r.GetName())
		if t == nil {
			t = c.topic(r.GetName(), controlv1.TopicType_TOPIC_TYPE_MIXED)
		}
		out = &controlv1.EnsureTopicResponse{Topic: t, Revision: c.rev}
	case *controlv1.EnsureGroupRequest:
		g := snap.GroupByName(r.GetName())
		if g == nil {
			g = c.group(&controlv1.Group{Name: r.GetName()})
		}
		resp := &controlv1.EnsureGroupResponse{Group: g}
		if t := snap.TopicByName(r.GetTopic()); t != nil {
			resp.Start = &controlv1.Start{Group: g.GetId(), Topic: t.GetId(), SinceMs: 1}
			c.apply(&controlv1.WatchResponse{Starts: []*controlv1.Start{resp.Start}})
		}
		resp.Revision = c.rev
		out = resp
	case *controlv1.GetTopicRequest:
		out = &controlv1.TopicResponse{Topic: snap.TopicByName(r.GetName())}
	case *controlv1.DeleteTopicRequest:
		if t := snap.TopicByName(r.GetName()); t != nil {
			c.apply(&controlv1.WatchResponse{DeletedTopics: []uint64{t.GetId()}})
		}
		out = &controlv1.DeleteResponse{Revision: c.rev}
	default:
		return grpcstatus.Errorf(codes.Unimplemented, "%s", method)
	}
	proto.Merge(reply.(proto.Message), out)
	return nil
}

func (c *controller) apply(m *controlv1.WatchResponse) {
	c.rev++
	m.Revision = c.rev
	for _, t := range m.Topics {
		t.Revision = c.rev
	}
	for _, g := range m.Groups {
		g.Revision = c.rev
	}
	for _, s := range m.Starts {
		s.Revision = c.rev
	}
	for _, s := range m.Shards {
		s.Revision = c.rev
	}
	if err := c.table.Apply(m); err != nil {
		panic(err)
	}
}

// topic makes a topic of eight queues, in turn on both shards.
func (c *controller) topic(name string, kind controlv1.TopicType) *controlv1.Topic {
	c.lastID++
	t := &controlv1.Topic{Id: c.lastID, Name: name, Type: kind}
	for i := range uint32(8) {
		t.Queues = append(t.Queues, &controlv1.Queue{Shard: 1 + i%2})
	}
	c.apply(&controlv1.WatchResponse{Topics: []*controlv1.Topic{t}})
	return t
}

func (c *controller) group(g *controlv1.Group) *controlv1.Group {
	c.lastID++
	g.Id = c.lastID
	if g.MaxAttempts == 0 {
		g.MaxAttempts = 17
	}
	if g.InvisibleMs == 0 {
		g.InvisibleMs = 60_000
	}
	c.apply(&controlv1.WatchResponse{Groups: []*controlv1.Group{g}})
	return g
}

func (c *controller) called(method string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.calls {
		if m == method {
			n++
		}
	}
	return n
}

// fixture is a proxy that serves in memory, over a store and a controller that
// stand in for the real ones.
type fixture struct {
	t       *testing.T
	proxy   *Proxy
	node    *fakestore.Node
	ctl     *controller
	table   *table.Table
	dial    func(context.Context) (net.Conn, error)
	server  *grpc.Server
	hook    func(string)
	admin   error
	cancel  context.CancelFunc
	stopped chan error
	seen    []storeapi.ClientSign
	last    []func() // to be done before the server stops
}

type option func(*Config, *controlv1.Cluster)

func newFixture(t *testing.T, options ...option) *fixture {
	t.Helper()
	f := &fixture{t: t, node: fakestore.New(), table: table.NewTable(), hook: func(string) {}, stopped: make(chan error, 1)}
	f.ctl = &controller{table: f.table, lastID: 100}
	cluster := &controlv1.Cluster{
		Uuid: "c1", Name: "test-cluster", AutoCreateGroups: true,
		HandleKeys: []*controlv1.HandleKey{{Id: 1, Secret: []byte("a secret of the cluster")}},
	}
	config := Config{
		Table: f.table, Controllers: []grpc.ClientConnInterface{f.ctl}, Incarnation: 77, Now: time.Now,
		Log: slog.New(slog.DiscardHandler), CheckAdmin: func(context.Context) error { return f.admin },
		Peers: func(*controlv1.Node) route.Peer { return f.node },
		Hook:  func(call string) { f.hook(call) },
	}
	for _, o := range options {
		o(&config, cluster)
	}
	var err error
	if f.proxy, err = New(config); err != nil {
		t.Fatal(err)
	}
	f.ctl.rev = 1
	leader := &controlv1.ReplicaID{Node: 1}
	if err := f.table.Apply(&controlv1.WatchResponse{
		Snapshot: true, Revision: 1, Cluster: cluster,
		Nodes: []*controlv1.Node{{Id: 1, Name: "store-1", Address: "store-1:8084"}},
		Shards: []*controlv1.Shard{
			{Id: 1, Term: 1, Phase: controlv1.Phase_PHASE_STEADY, Leader: leader},
			{Id: 2, Term: 1, Phase: controlv1.Phase_PHASE_STEADY, Leader: leader},
		},
	}); err != nil {
		t.Fatal(err)
	}
	f.serve()
	return f
}

func (f *fixture) serve() {
	f.t.Helper()
	l := bufconn.Listen(1 << 20)
	f.dial = l.DialContext
	so, err := listen.ServerOptions(listen.Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.t.Fatal(err)
	}
	f.server = grpc.NewServer(so...)
	f.proxy.Register(f.server)
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	var all sync.WaitGroup
	all.Go(func() { _ = f.server.Serve(l) })
	all.Go(func() { _ = f.proxy.Run(ctx) })
	go func() {
		all.Wait()
		f.stopped <- nil
	}()
}

// later has something done before the server stops.
func (f *fixture) later(do func()) { f.last = append(f.last, do) }

// stop ends the server at once.
func (f *fixture) stop() {
	for _, do := range f.last {
		do()
	}
	f.server.Stop()
	f.cancel()
	<-f.stopped
	f.node.Close()
}

// bubble runs a test with a fixture in fake time.
func bubble(t *testing.T, test func(f *fixture), options ...option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, options...)
		defer f.stop()
		test(f)
	})
}

// client is a connection of one SDK instance.
type client struct {
	pb.MessagingServiceClient
	conn *grpc.ClientConn
	f    *fixture
	id   string
	ctx  context.Context
	stop context.CancelFunc
}

func (f *fixture) client(id string, headers ...string) *client {
	f.t.Helper()
	conn, err := grpc.NewClient("passthrough:///mq.example:8081", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)), // as official clients mostly do
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return f.dial(ctx) }))
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(f.t.Context(), append([]string{headerClientID, id}, headers...)...))
	c := &client{MessagingServiceClient: pb.NewMessagingServiceClient(conn), conn: conn, f: f, id: id, ctx: ctx, stop: cancel}
	return c
}

func (c *client) close() {
	c.stop()
	_ = c.conn.Close()
}

// with opens a client for the length of a function.
func (f *fixture) with(id string, use func(*client)) {
	f.t.Helper()
	c := f.client(id)
	defer c.close()
	use(c)
}

func resource(name string) *pb.Resource { return &pb.Resource{Name: name} }

func newMessage(topic, id string) *pb.Message {
	return &pb.Message{
		Topic: resource(topic), Body: []byte("body of " + id),
		SystemProperties: &pb.SystemProperties{MessageId: id, MessageType: pb.MessageType_NORMAL},
	}
}

func (c *client) send(messages ...*pb.Message) *pb.SendMessageResponse {
	c.f.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, 3*time.Second)
	defer cancel()
	resp, err := c.SendMessage(ctx, &pb.SendMessageRequest{Messages: messages})
	if err != nil {
		c.f.t.Fatal(err)
	}
	return resp
}

// mustSend sends messages of these ids.
func (c *client) mustSend(topic string, ids ...string) {
	c.f.t.Helper()
	for _, id := range ids {
		wantCode(c.f.t, "send "+id, c.send(newMessage(topic, id)), pb.Code_OK)
	}
}

// got is the stream of a receive.
type got struct {
	order     string // s status, m message, d delivery timestamp
	status    *pb.Status
	messages  []*pb.Message
	delivered time.Time
	took      time.Duration
	err       error
}

func (g *got) GetStatus() *pb.Status { return g.status }

func (g *got) ids() string {
	var ids []string
	for _, m := range g.messages {
		ids = append(ids, m.GetSystemProperties().GetMessageId())
	}
	return strings.Join(ids, " ")
}

// receive is a request with a lease of a minute that does not wait.
func receive(group, topic string, edits ...func(*pb.ReceiveMessageRequest)) *pb.ReceiveMessageRequest {
	r := &pb.ReceiveMessageRequest{
		Group: resource(group), MessageQueue: &pb.MessageQueue{Topic: resource(topic)}, BatchSize: 32,
		InvisibleDuration: durationpb.New(time.Minute), LongPollingTimeout: durationpb.New(0),
	}
	for _, e := range edits {
		e(r)
	}
	return r
}

func polling(d time.Duration) func(*pb.ReceiveMessageRequest) {
	return func(r *pb.ReceiveMessageRequest) { r.LongPollingTimeout = durationpb.New(d) }
}

func tagged(expression string) func(*pb.ReceiveMessageRequest) {
	return func(r *pb.ReceiveMessageRequest) {
		r.FilterExpression = &pb.FilterExpression{Type: pb.FilterType_TAG, Expression: expression}
	}
}

func (c *client) receive(r *pb.ReceiveMessageRequest) *got {
	ctx, cancel := context.WithTimeout(c.ctx, time.Minute)
	defer cancel()
	return c.receiveIn(ctx, r)
}

func (c *client) receiveIn(ctx context.Context, r *pb.ReceiveMessageRequest) *got {
	g := &got{}
	start := time.Now()
	defer func() { g.took = time.Since(start) }()
	stream, err := c.ReceiveMessage(ctx, r)
	if err != nil {
		g.err = err
		return g
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			if err.Error() != "EOF" {
				g.err = err
			}
			return g
		}
		switch content := m.GetContent().(type) {
		case *pb.ReceiveMessageResponse_Status:
			g.order += "s"
			g.status = content.Status
		case *pb.ReceiveMessageResponse_Message:
			g.order += "m"
			g.messages = append(g.messages, content.Message)
		case *pb.ReceiveMessageResponse_DeliveryTimestamp:
			g.order += "d"
			g.delivered = content.DeliveryTimestamp.AsTime()
		}
	}
}

func (c *client) ack(group, topic string, messages ...*pb.Message) *pb.AckMessageResponse {
	c.f.t.Helper()
	r := &pb.AckMessageRequest{Group: resource(group), Topic: resource(topic)}
	for _, m := range messages {
		r.Entries = append(r.Entries, &pb.AckMessageEntry{
			MessageId: m.GetSystemProperties().GetMessageId(), ReceiptHandle: m.GetSystemProperties().GetReceiptHandle(),
		})
	}
	resp, err := c.AckMessage(c.ctx, r)
	if err != nil {
		c.f.t.Fatal(err)
	}
	return resp
}

func wantCode(t *testing.T, what string, r response, want pb.Code) {
	t.Helper()
	if s := r.GetStatus(); s.GetCode() != want {
		t.Errorf("%s: %v %q, want %v", what, s.GetCode(), s.GetMessage(), want)
	}
}

func (f *fixture) groupID(name string) ident.Group {
	return ident.Group(f.table.Snapshot().GroupByName(name).GetId())
}

func (f *fixture) storedOf(topic string) (n int) {
	id := ident.Topic(f.table.Snapshot().TopicByName(topic).GetId())
	return len(f.node.Stored(1, id)) + len(f.node.Stored(2, id))
}

// failing answers requests of one kind with a code.
func failing[R storeapi.Request](f *fixture, code storeapi.Code) {
	f.node.Intercept(func(op *storeapi.Op) bool {
		if _, is := op.Request.(R); is {
			op.Done(storeapi.Reply{Code: code, Detail: "injected"})
			return true
		}
		return false
	})
}
