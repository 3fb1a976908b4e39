// SPDX-License-Identifier: Apache-2.0

package storenode

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/metadata"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	replicav1 "github.com/mansiomq/mansio/proto/mansio/replica/v1"
	"github.com/mansiomq/mansio/storenode/disk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// controller is the far end of node sessions.
type controller struct {
	controlv1.UnimplementedNodeSessionServer
	refusal string
	mu      sync.Mutex
	last    *controlv1.NodeReport // guarded
	reports chan struct{}
}

func (c *controller) Session(s grpc.BidiStreamingServer[controlv1.NodeReport, controlv1.NodeCommand]) error {
	for {
		r, err := s.Recv()
		if err != nil {
			return nil //nolint:nilerr // the node went away
		}
		c.mu.Lock()
		c.last = r
		c.mu.Unlock()
		if err := s.Send(&controlv1.NodeCommand{NodeId: 7, ClusterUuid: "cluster", Refusal: c.refusal}); err != nil {
			return err
		}
		select {
		case c.reports <- struct{}{}:
		default:
		}
	}
}

// dial serves the controller in memory.
func dial(t *testing.T, c *controller) grpc.ClientConnInterface {
	lis := bufconn.Listen(1 << 16)
	s := grpc.NewServer()
	controlv1.RegisterNodeSessionServer(s, c)
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		s.Stop()
		<-served
	})
	return conn
}

type host struct {
	*Node
	cancel context.CancelFunc
	ended  chan error
}

func (h *host) stop(t *testing.T) {
	h.cancel()
	if err := <-h.ended; err != nil {
		t.Fatal(err)
	}
}

func config(t *testing.T, fs disk.FS, c *controller, instance uint64) Config {
	return Config{
		Name: "n", Address: "n:1", DataUUID: "data", Instance: instance, Dirs: []string{"a", "b"}, FS: fs,
		Controllers: []grpc.ClientConnInterface{dial(t, c)}, Table: metadata.NewTable(), SegmentBytes: 1 << 20, Now: time.Now,
	}
}

func start(t *testing.T, cfg Config) *host {
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	h := &host{Node: n, cancel: cancel, ended: make(chan error, 1)}
	go func() { h.ended <- n.Run(ctx) }()
	return h
}

// joined waits until the node knows who it is.
func (h *host) joined(c *controller) {
	for !h.joinedNow() {
		<-c.reports
	}
}

func newController() *controller { return &controller{reports: make(chan struct{}, 1)} }

func fence(t *testing.T, h *host, shard uint32, term, incarnation uint64) *replicav1.FenceResponse {
	r, err := h.Fence(t.Context(), &replicav1.FenceRequest{
		Shard: shard, Term: term, Want: &controlv1.ReplicaID{Node: 7, Incarnation: incarnation},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func state(term, incarnation, instance uint64) *controlv1.Shard {
	id := &controlv1.ReplicaID{Node: 7, Incarnation: incarnation}
	return &controlv1.Shard{
		Id: 1, Term: term, Phase: controlv1.Phase_PHASE_STEADY, Leader: id, LeaderInstance: instance,
		Replicas: []*controlv1.ReplicaID{id}, InSync: []*controlv1.ReplicaID{id},
	}
}

func lead(t *testing.T, h *host, s *controlv1.Shard) string {
	r, err := h.Lead(t.Context(), &replicav1.LeadRequest{Shard: s})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetRefusal()
}

func TestAReplicaIsCreatedFencedAndLed(t *testing.T) {
	fs, c := disk.NewMemory(), newController()
	cfg := config(t, fs, c, 11)
	h := start(t, cfg)
	h.joined(c)
	if r := fence(t, h, 1, 1, 5); !r.GetAbsent() || r.GetRefusal() == "" {
		t.Fatalf("a replica that is not there: %v", r)
	}
	for range 2 { // idempotent
		if _, err := h.Create(t.Context(), &replicav1.CreateRequest{Shard: 1, Incarnation: 5}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Create(t.Context(), &replicav1.CreateRequest{Shard: 1, Incarnation: 6}); !fault.Is(err, fault.Exists) {
		t.Fatalf("created over another incarnation: %v", err)
	}
	if r := fence(t, h, 1, 3, 6); !r.GetAbsent() {
		t.Fatalf("answered for another incarnation: %v", r)
	}
	r := fence(t, h, 1, 3, 5)
	if r.GetRefusal() != "" || r.GetInstance() != 11 || r.GetCurrentTerm() != 3 || r.GetEnd() == 0 {
		t.Fatalf("fence: %v", r)
	}
	if r := fence(t, h, 1, 2, 5); r.GetRefusal() == "" || r.GetCurrentTerm() != 3 {
		t.Fatalf("promised a lower term: %v", r)
	}
	for name, s := range map[string]*controlv1.Shard{"an old term": state(2, 5, 11), "another life": state(3, 5, 10), "another incarnation": state(3, 6, 11)} {
		if lead(t, h, s) == "" {
			t.Errorf("led for %s", name)
		}
	}
	if why := lead(t, h, state(3, 5, 11)); why != "" {
		t.Fatal(why)
	}
	for h.Ready() != nil {
		<-c.reports
	}
	h.stop(t)

	cfg.Instance, cfg.ClusterUUID, cfg.NodeID, cfg.Table = 12, "cluster", 7, metadata.NewTable()
	h = start(t, cfg)
	defer h.stop(t)
	if r := fence(t, h, 1, 3, 5); r.GetRefusal() != "" || r.GetInstance() != 12 {
		t.Fatalf("a new life does not answer for its term: %v", r)
	}
	if lead(t, h, state(3, 5, 11)) == "" {
		t.Fatal("a new life led on its predecessor's promise")
	}
	done := make(chan storeapi.Reply, 2)
	h.Submit([]*storeapi.Op{
		{Shard: 1, Request: &storeapi.Offsets{Topic: 1}, Done: func(r storeapi.Reply) { done <- r }},
		{Shard: 2, Request: &storeapi.Offsets{Topic: 1}, Done: func(r storeapi.Reply) { done <- r }},
	})
	for range 2 {
		if r := <-done; r.Code != storeapi.NotLeader {
			t.Fatalf("served without leading: %v", r)
		}
	}
}

func TestARefusedNodeEnds(t *testing.T) {
	c := newController()
	c.refusal = "its metadata were lost"
	h := start(t, config(t, disk.NewMemory(), c, 11))
	defer h.cancel()
	if err := <-h.ended; !fault.Is(err, fault.Incompatible) || !strings.Contains(err.Error(), c.refusal) {
		t.Fatalf("the node went on: %v", err)
	}
}

func TestForeignAndDoubleReplicasAreNotServed(t *testing.T) {
	fs, c := disk.NewMemory(), newController()
	cfg := config(t, fs, c, 11)
	h := start(t, cfg)
	h.joined(c)
	if _, err := h.Create(t.Context(), &replicav1.CreateRequest{Shard: 1, Incarnation: 5}); err != nil {
		t.Fatal(err)
	}
	h.stop(t)
	cfg.ClusterUUID, cfg.Table = "another", metadata.NewTable()
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if st := n.find(ident.Shard(1)).status(); st.Failure == "" {
		t.Fatalf("opened another cluster's replica: %+v", st)
	}
	if err := fs.MkdirAll("b/store/shard-000001"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"meta.a", "meta.b"} {
		b, err := disk.ReadFile(fs, "a/store/shard-000001/"+name)
		if err != nil {
			continue
		}
		if err := disk.Replace(fs, "b/store/shard-000001/"+name, b); err != nil {
			t.Fatal(err)
		}
	}
	cfg.ClusterUUID, cfg.Table = "cluster", metadata.NewTable()
	if _, err := New(cfg); !fault.Is(err, fault.Invalid) {
		t.Fatalf("opened a shard that lies in two directories: %v", err)
	}
}

// TestOneCreationHoldsUpNoOtherShard: the disk may take its time.
func TestOneCreationHoldsUpNoOtherShard(t *testing.T) {
	fs, c := disk.NewMemory(), newController()
	h := start(t, config(t, fs, c, 11))
	defer h.stop(t)
	h.joined(c)
	if _, err := h.Create(t.Context(), &replicav1.CreateRequest{Shard: 1, Incarnation: 5}); err != nil {
		t.Fatal(err)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fs.Hook(func(c disk.Call) error {
		if strings.Contains(c.Name, "shard-000002") {
			once.Do(func() { close(entered) })
			<-release
		}
		return nil
	})
	created := make(chan error, 2)
	for range 2 { // the controller asks again
		go func() {
			_, err := h.Create(t.Context(), &replicav1.CreateRequest{Shard: 2, Incarnation: 5})
			created <- err
		}()
	}
	<-entered
	done := make(chan storeapi.Reply, 1)
	h.Submit([]*storeapi.Op{{Shard: 1, Request: &storeapi.Offsets{Topic: 1}, Done: func(r storeapi.Reply) { done <- r }}})
	if r := <-done; r.Code != storeapi.NotLeader {
		t.Fatal(r)
	}
	close(release)
	for range 2 {
		if err := <-created; err != nil {
			t.Fatal(err)
		}
	}
	if h.find(2).shard == nil {
		t.Fatal("it is not there")
	}
}

// TestManyReplicasOpen: as many as lie there, before anybody runs them.
func TestManyReplicasOpen(t *testing.T) {
	fs, c := disk.NewMemory(), newController()
	cfg := config(t, fs, c, 11)
	for id := range startMax + 10 {
		if err := fs.MkdirAll(shardDir("a", ident.Shard(id))); err != nil {
			t.Fatal(err)
		}
		if err := disk.Replace(fs, shardDir("a", ident.Shard(id))+"/meta.a", []byte("damaged")); err != nil {
			t.Fatal(err)
		}
	}
	n, err := New(cfg)
	if err != nil || len(n.all()) != startMax+10 {
		t.Fatal(len(n.all()), err)
	}
}
