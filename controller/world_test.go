// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/metadata"
	"github.com/mansiomq/mansio/internal/rpc"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	replicav1 "github.com/mansiomq/mansio/proto/mansio/replica/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a controller with a store in memory, and whoever talks to it, without sockets: tests run in bubbles of
// virtual time.
type world struct {
	t      *testing.T
	dialer *rpc.Dialer
	store  metastore.Store
	c      *Controller
	tasks  sync.WaitGroup
	life   context.Context    // of watchers, nodes, servers
	stopAt context.CancelFunc // the controller and its server
}

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// newWorld starts a controller; change may alter its configuration.
func newWorld(t *testing.T, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t, dialer: rpc.NewDialer(rpc.Guard{}), store: metastore.NewMemory(), life: t.Context()}
	w.dialer.Isolate()
	w.start(change)
	t.Cleanup(func() {
		w.stopAt()
		if err := w.dialer.Close(); err != nil {
			t.Error(err)
		}
		w.tasks.Wait()
	})
	return w
}

// start starts a controller at the address "controller", on the world's store.
func (w *world) start(change func(*Config)) {
	w.t.Helper()
	config := Config{
		Cluster: "test", Address: "controller", Store: w.store, ShardsPerNode: 2, AutoCreateTopics: true, AutoCreateGroups: true,
		Dial: w.dialer.Conn, Now: time.Now, Log: testLog(w.t),
	}
	if change != nil {
		change(&config)
		w.store = config.Store
	}
	var err error
	if w.c, err = New(config); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.life)
	stopServer := w.serve(ctx, "controller", w.c.Register)
	ended := make(chan struct{})
	w.tasks.Go(func() {
		defer close(ended)
		if err := w.c.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.stopAt = func() {
		cancel()
		stopServer()
		<-ended
	}
	select {
	case <-w.c.Ready():
	case <-ended:
		w.t.Fatal("the controller ended")
	}
}

// serve serves services at an address until ctx is done or the result is called.
func (w *world) serve(ctx context.Context, address string, register func(grpc.ServiceRegistrar)) (stop func()) {
	w.t.Helper()
	server := rpc.NewServer(rpc.ServerOptions{Log: testLog(w.t), Admin: []string{controlv1.Admin_ServiceDesc.ServiceName}})
	register(server)
	listener, err := w.dialer.Listen(address)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	w.tasks.Go(func() {
		defer close(ended)
		if err := server.Serve(ctx, []net.Listener{listener}...); err != nil {
			w.t.Error(err)
		}
	})
	return func() {
		cancel()
		<-ended
	}
}

func (w *world) conn() grpc.ClientConnInterface {
	w.t.Helper()
	conn, err := w.dialer.Conn("controller")
	if err != nil {
		w.t.Fatal(err)
	}
	return conn
}

func (w *world) admin() controlv1.AdminClient       { return controlv1.NewAdminClient(w.conn()) }
func (w *world) metadata() controlv1.MetadataClient { return controlv1.NewMetadataClient(w.conn()) }

// watch starts a watcher and returns its table.
func (w *world) watch(name string) *metadata.Table {
	w.t.Helper()
	table := metadata.NewTable()
	watcher := metadata.NewWatcher(metadata.WatcherOptions{
		Name: name, Controllers: []grpc.ClientConnInterface{w.conn()}, Table: table, Log: testLog(w.t),
	})
	w.tasks.Go(func() {
		if err := watcher.Run(w.life); err != nil {
			w.t.Error(err)
		}
	})
	return table
}

// await waits until a table's snapshot is as wanted.
func await(t *testing.T, table *metadata.Table, what string, ok func(s *metadata.Snapshot) bool) *metadata.Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		changed := table.Changed()
		if s := table.Snapshot(); ok(s) {
			return s
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// allLed reports whether there are n shards and each has a leader.
func allLed(n int) func(s *metadata.Snapshot) bool {
	return func(s *metadata.Snapshot) bool {
		led := 0
		for shard := range s.Shards() {
			if shard.GetPhase() == controlv1.Phase_PHASE_STEADY {
				led++
			}
		}
		return led == n && s.Counts().Shards == n
	}
}

// fakeNode is a store node that keeps only what the controller sees of it.
type fakeNode struct {
	replicav1.UnimplementedShardControlServer
	w        *world
	name     string
	uuid     string
	instance uint64
	zone     string
	address  string // "": the name's
	// controller is where it looks for a session; "" = the controller of this name.
	controller string

	mu       sync.Mutex
	id       uint64
	cluster  string
	replicas map[uint32]*fakeReplica
	maxID    uint64
	fences   int
	leads    int
	// faults
	fence  func(*replicav1.FenceRequest, *replicav1.FenceResponse) error
	delay  func() time.Duration // of each Fence
	create error
	silent bool // the stream stays open, and nothing is reported

	refusal chan string
	stop    func()
}

type fakeReplica struct {
	incarnation, term uint64
	state             string
}

// node starts a store node; change may alter it before.
func (w *world) node(name string, change func(*fakeNode)) *fakeNode {
	w.t.Helper()
	n := &fakeNode{w: w, name: name, uuid: "uuid of " + name, instance: 1, replicas: make(map[uint32]*fakeReplica), refusal: make(chan string, 1)}
	if change != nil {
		change(n)
	}
	n.start()
	return n
}

func (n *fakeNode) start() {
	n.w.t.Helper()
	ctx, cancel := context.WithCancel(n.w.life)
	if n.address == "" {
		n.address = n.name + ":1"
	}
	stopServer := n.w.serve(ctx, n.address, func(r grpc.ServiceRegistrar) { replicav1.RegisterShardControlServer(r, n) })
	ended := make(chan struct{})
	n.w.tasks.Go(func() {
		defer close(ended)
		again := time.NewTicker(100 * time.Millisecond)
		defer again.Stop()
		for ctx.Err() == nil && n.attend(ctx) {
			select {
			case <-ctx.Done():
			case <-again.C:
			}
		}
	})
	n.stop = func() {
		cancel()
		stopServer()
		<-ended
	}
}

// restart is a new process on the same data.
func (n *fakeNode) restart() {
	n.w.t.Helper()
	n.stop()
	n.mu.Lock()
	n.instance++
	for _, r := range n.replicas {
		r.state = "FENCED"
	}
	n.mu.Unlock()
	n.start()
}

// attend is one session; false when the node was refused.
func (n *fakeNode) attend(ctx context.Context) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n.mu.Lock()
	address := n.controller
	n.mu.Unlock()
	if address == "" {
		address = "controller"
	}
	conn, err := n.w.dialer.Conn(address)
	if err != nil {
		return false
	}
	stream, err := controlv1.NewNodeSessionClient(conn).Session(ctx)
	if err != nil {
		return true
	}
	go func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			if !n.isSilent() && stream.Send(n.reportNow()) != nil {
				return
			}
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		command, err := stream.Recv()
		if err != nil {
			return true
		}
		if command.GetRefusal() != "" {
			n.refusal <- command.GetRefusal()
			return false
		}
		n.mu.Lock()
		n.id, n.cluster = command.GetNodeId(), command.GetClusterUuid()
		n.mu.Unlock()
	}
}

func (n *fakeNode) isSilent() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.silent
}

func (n *fakeNode) reportNow() *controlv1.NodeReport {
	n.mu.Lock()
	defer n.mu.Unlock()
	report := &controlv1.NodeReport{
		Name: n.name, Address: n.address, Zone: n.zone, DataUuid: n.uuid, Instance: n.instance,
		ClusterUuid: n.cluster, NodeId: n.id, MaxTopicOrGroupId: n.maxID,
	}
	for id, r := range n.replicas {
		report.Replicas = append(report.Replicas, &controlv1.ReplicaReport{
			Shard: id, Incarnation: r.incarnation, Term: r.term, State: r.state,
		})
	}
	return report
}

func (n *fakeNode) Create(_ context.Context, request *replicav1.CreateRequest) (*replicav1.CreateResponse, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.create != nil {
		return nil, n.create
	}
	if n.replicas[request.GetShard()] != nil {
		return nil, fault.Errorf("create", fault.Exists, "shard %d is here", request.GetShard())
	}
	n.replicas[request.GetShard()] = &fakeReplica{incarnation: request.GetIncarnation(), state: "FENCED"}
	return &replicav1.CreateResponse{}, nil
}

func (n *fakeNode) Fence(_ context.Context, request *replicav1.FenceRequest) (*replicav1.FenceResponse, error) {
	if n.delay != nil {
		<-time.NewTimer(n.delay()).C
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fences++
	response := &replicav1.FenceResponse{Instance: n.instance, NowMs: time.Now().UnixMilli(), CurrentTerm: request.GetTerm()}
	r := n.replicas[request.GetShard()]
	switch {
	case r == nil || r.incarnation != request.GetWant().GetIncarnation():
		response.Absent = true
	case r.term > request.GetTerm():
		response.CurrentTerm, response.Refusal = r.term, "promised a higher term"
	default:
		r.term, r.state = request.GetTerm(), "FENCED"
	}
	if n.fence != nil {
		return response, n.fence(request, response)
	}
	return response, nil
}

func (n *fakeNode) Lead(_ context.Context, request *replicav1.LeadRequest) (*replicav1.LeadResponse, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leads++
	r := n.replicas[request.GetShard().GetId()]
	if r == nil || r.term != request.GetShard().GetTerm() || n.instance != request.GetShard().GetLeaderInstance() {
		return &replicav1.LeadResponse{Refusal: fmt.Sprintf("not the one that was fenced: %v", r)}, nil
	}
	r.state = "LEADER"
	return &replicav1.LeadResponse{}, nil
}
