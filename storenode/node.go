// SPDX-License-Identifier: Apache-2.0

package storenode

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/metadata"
	"github.com/mansiomq/mansio/internal/storeapi"
	replicav1 "github.com/mansiomq/mansio/proto/mansio/replica/v1"
	"github.com/mansiomq/mansio/storenode/clock"
	"github.com/mansiomq/mansio/storenode/disk"
	"github.com/mansiomq/mansio/storenode/replica"
	"github.com/mansiomq/mansio/storenode/shard"
)

// Config says what a node is and where it keeps its shards.
type Config struct {
	Name     string
	Zone     string
	Address  string // where proxies and controllers reach it
	DataUUID string // of the data folder
	Instance uint64 // random per process start
	BootID   [16]byte
	Dirs     []string // data directories; shards lie in DIR/store
	FS       disk.FS
	Free     disk.FreeFunc
	// Controllers are asked in turn; one of them leads.
	Controllers []grpc.ClientConnInterface
	Table       *metadata.Table
	// Joined is told the cluster and the node's id when the controller has
	// taken the node in; an error of it ends the node.
	Joined func(clusterUUID string, node ident.Node) error
	// ClusterUUID and NodeID are what an earlier life was told; empty and 0 else.
	ClusterUUID string
	NodeID      ident.Node

	SegmentBytes   int64
	RingBytes      int64 // of all shards together
	MinFreeBytes   int64
	RetentionMS    int64
	RetentionBytes int64
	Clock          clock.Source     // nil = the machine's
	Now            func() time.Time // for deadlines
	Logger         *slog.Logger
	Counts         *shard.Counts
}

// Node is a store node. Run makes it live; Submit and the gRPC services may be
// called at any time.
type Node struct {
	replicav1.UnimplementedShardControlServer

	o      Config
	logger *slog.Logger
	mu     struct {
		sync.RWMutex
		shards  map[ident.Shard]*hosted // guarded
		cluster string                  // guarded; UUID, empty before the first join
		node    ident.Node              // guarded
	}
	losing   sync.Mutex   // held while a replica is closed, cut and opened again
	creating sync.Mutex   // held while a replica is created; taken before mu
	start    chan *hosted // shards for Run to run
	report   chan struct{}
}

// startMax bounds the shards that wait for Run to take them, beside those that
// were there when the node was made.
const startMax = 1024

// New opens the replicas in the node's directories; Run recovers them. A
// directory that can't be listed is an error, a replica that can't be opened is
// a failed one.
func New(o Config) (*Node, error) {
	if len(o.Dirs) == 0 || o.Address == "" || o.Table == nil || o.Now == nil {
		return nil, fault.Errorf("storenode.New", fault.Invalid, "a data directory, an address, a metadata table and a clock are needed")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	n := &Node{o: o, logger: o.Logger, report: make(chan struct{}, 1)}
	n.mu.shards = map[ident.Shard]*hosted{}
	n.mu.cluster, n.mu.node = o.ClusterUUID, o.NodeID
	if err := n.openAll(); err != nil {
		return nil, err
	}
	n.o.Table.OnApply(n.heed)
	return n, nil
}

// Register adds the node's services.
func (n *Node) Register(r grpc.ServiceRegistrar) { replicav1.RegisterShardControlServer(r, n) }

// Run lives until ctx ends or the controller refuses the node; then every shard
// has stopped cleanly.
func (n *Node) Run(ctx context.Context) error {
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return n.session(inner) })
	g.Go(func() error {
		for {
			select {
			case h := <-n.start:
				g.Go(func() error { return n.host(inner, h) })
			case <-inner.Done():
				return nil
			}
		}
	})
	return g.Wait()
}

// Up says that operations reach the node: it is in this process.
func (n *Node) Up() bool { return true }

// Submit hands operations to their shards; see package storeapi.
func (n *Node) Submit(ops []*storeapi.Op) {
	for len(ops) > 0 {
		same := 1
		for same < len(ops) && ops[same].Shard == ops[0].Shard {
			same++
		}
		n.mu.RLock()
		h := n.mu.shards[ops[0].Shard]
		n.mu.RUnlock()
		if h == nil || h.shard == nil {
			for _, op := range ops[:same] {
				op.Done(storeapi.Reply{Code: storeapi.NotLeader})
			}
		} else {
			h.shard.Submit(ops[:same])
		}
		ops = ops[same:]
	}
}

// Clean reports, when Run has ended, whether each replica marked its stop clean:
// the next start finds their logs whole.
func (n *Node) Clean() bool {
	for _, h := range n.all() {
		if h.shard == nil || !h.shard.Clean() {
			return false
		}
	}
	return true
}

// Ready says why the node can't serve yet; nil when it has joined its cluster
// and each of its replicas leads, or has failed, which waiting does not mend.
func (n *Node) Ready() error {
	n.mu.RLock()
	joined := n.mu.node != 0
	n.mu.RUnlock()
	if !joined {
		return fault.Errorf("", fault.Unavailable, "has not joined a cluster yet")
	}
	for _, h := range n.all() {
		if role := h.status().Role; role != replica.Leader && role != replica.Failed {
			return fault.Errorf("", fault.Unavailable, "shard %d is %v", h.id, role)
		}
	}
	return nil
}
