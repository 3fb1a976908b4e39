// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/controller/plan"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/metadata"
	replicav1 "github.com/mansiomq/mansio/proto/mansio/replica/v1"
)

const (
	// roundEvery is the pace of rounds when nothing is notified.
	roundEvery = time.Second
	// roundMin is the pause between two rounds: a burst of changes is looked at once.
	roundMin = 2 * time.Millisecond
	// actionsMax bounds the actions under way.
	actionsMax = 64
	// pauseFirst and pauseMax bound the pause after a failed action.
	pauseFirst = 100 * time.Millisecond
	pauseMax   = 10 * time.Second
	// pauseHopeless is the pause when only an operator or a restarted node can help: each attempt costs a term.
	pauseHopeless = time.Minute
	// callMax bounds one call to a node: it syncs a small file, and on a busy disk that takes a while.
	callMax = 5 * time.Second
)

// Options is what a reconciler works with.
type Options struct {
	Book  *metastore.Book
	Table *metadata.Table // the controller's own
	// Live returns the nodes that report now; LiveChanged a channel that is closed when
	// the next report comes that differs.
	Live        func() []plan.Node
	LiveChanged func() <-chan struct{}
	// Dial returns the connection to an address.
	Dial          func(address string) (grpc.ClientConnInterface, error)
	ShardsPerNode int
	Now           func() time.Time
	Log           *slog.Logger
	Meter         metric.Meter
}

// Reconciler repairs the cluster for as long as it runs.
type Reconciler struct {
	options Options
	// done wakes the loop when an action has ended.
	done chan struct{}
	// slots are taken by actions under way.
	slots   chan struct{}
	working sync.WaitGroup

	mu struct {
		sync.Mutex
		underway map[subject]bool       // guarded
		pauses   map[subject]pause      // guarded; of failed actions
		blocked  map[ident.Shard]string // guarded; reason of each shard without a leader
	}

	elections  metric.Int64Counter
	leaderless metric.Registration
}

// subject is what at most one action at a time is about.
type subject struct {
	shard ident.Shard
	node  ident.Node // creations have no shard yet
}

// pause is how long a subject is left alone, in its nodes' present lives.
type pause struct {
	until time.Time
	next  time.Duration
	cause string // what the pause is about: a restart of a node ends it
}

// New makes a reconciler; it starts nothing.
func New(options Options) (*Reconciler, error) {
	r := &Reconciler{options: options, done: make(chan struct{}, 1), slots: make(chan struct{}, actionsMax)}
	r.mu.underway = make(map[subject]bool)
	r.mu.pauses = make(map[subject]pause)
	r.mu.blocked = make(map[ident.Shard]string)
	if err := r.measure(); err != nil {
		return nil, err
	}
	return r, nil
}

// measure registers what is counted.
func (r *Reconciler) measure() error {
	const op = "reconcile.New"
	var err error
	r.elections, err = r.options.Meter.Int64Counter("mansio.controller.elections", metric.WithUnit("{election}"),
		metric.WithDescription("Elections of shard leaders by outcome"))
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	gauge, err := r.options.Meter.Int64ObservableGauge("mansio.controller.shards_without_leader", metric.WithUnit("{shard}"),
		metric.WithDescription("Shards that have no leader and cannot get one without help"))
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	r.leaderless, err = r.options.Meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(gauge, int64(len(r.Blocked())))
		return nil
	}, gauge)
	if err != nil {
		return fault.E(op, fault.Internal, err)
	}
	return nil
}

// Blocked tells which shards have no leader and cannot get one, and why.
func (r *Reconciler) Blocked() map[ident.Shard]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	blocked := make(map[ident.Shard]string, len(r.mu.blocked))
	maps.Copy(blocked, r.mu.blocked)
	return blocked
}

// Run works until ctx is done; all its goroutines are gone when it returns nil.
func (r *Reconciler) Run(ctx context.Context) error {
	defer func() { _ = r.leaderless.Unregister() }() // nothing is measured any more
	defer r.working.Wait()
	r.working.Go(func() { r.spreadLoop(ctx) })
	ticker := time.NewTicker(roundEvery)
	defer ticker.Stop()
	breath := time.NewTimer(0)
	defer breath.Stop()
	for {
		// Take the channels first: what changes during the round starts another one.
		changed, lives := r.options.Table.Changed(), r.options.LiveChanged()
		if err := r.round(ctx); err != nil && ctx.Err() == nil {
			r.options.Log.WarnContext(ctx, "a round of repair failed; the next one follows", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-changed:
		case <-lives:
		case <-r.done:
		}
		breath.Reset(roundMin)
		select {
		case <-ctx.Done():
			return nil
		case <-breath.C:
		}
	}
}

// round starts what the plan asks for and is not under way.
func (r *Reconciler) round(ctx context.Context) error {
	ids, err := r.options.Book.LastIDs(ctx)
	if err != nil {
		return err
	}
	snapshot := r.options.Table.Snapshot()
	nodes := r.options.Live()
	actions := plan.Next(plan.State{
		Shards: slices.Collect(snapshot.Shards()), Nodes: nodes, ShardsPerNode: r.options.ShardsPerNode,
		LastShard: ident.Shard(ids.GetShard()), LastIncarnation: ids.GetIncarnation(),
	})
	r.settle(ctx, snapshot, actions)
	lives := livesOf(nodes)
	for _, action := range actions {
		if action.Kind != plan.Blocked {
			r.start(ctx, action, lives)
		}
	}
	return nil
}

// settle notes which shards are blocked, and logs what is new.
func (r *Reconciler) settle(ctx context.Context, snapshot *metadata.Snapshot, actions []plan.Action) {
	open := make(map[ident.Shard]bool)
	for _, action := range actions {
		switch action.Kind {
		case plan.Blocked:
			open[action.Shard] = true
			r.block(ctx, action.Shard, action.Reason)
		case plan.Elect:
			open[action.Shard] = true // what its last attempt found still holds
		default:
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for shard := range r.mu.blocked {
		if !open[shard] || snapshot.Shard(shard) == nil {
			delete(r.mu.blocked, shard)
		}
	}
}

// block notes that a shard has no leader, and says so once per reason.
func (r *Reconciler) block(ctx context.Context, shard ident.Shard, reason string) {
	r.mu.Lock()
	known := r.mu.blocked[shard] == reason
	r.mu.blocked[shard] = reason
	r.mu.Unlock()
	if !known {
		r.options.Log.ErrorContext(ctx, "a shard has no leader", "shard", shard, "reason", reason)
	}
}

// livesOf names the present lives of all nodes: when it changes, what failed
// before is tried again at once.
func livesOf(nodes []plan.Node) map[ident.Node]uint64 {
	lives := make(map[ident.Node]uint64, len(nodes))
	for _, n := range nodes {
		lives[n.ID] = n.Instance
	}
	return lives
}

// connect returns the node's control service.
func (r *Reconciler) connect(node ident.Node) (replicav1.ShardControlClient, error) {
	address := r.options.Table.Snapshot().Node(node).GetAddress()
	if address == "" {
		return nil, fault.Errorf("reach node", fault.Unavailable, "n%d has no address", node)
	}
	conn, err := r.options.Dial(address)
	if err != nil {
		return nil, err
	}
	return replicav1.NewShardControlClient(conn), nil
}

// count notes the outcome of an election.
func (r *Reconciler) count(ctx context.Context, outcome string) {
	r.elections.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}
