// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"context"
	"log/slog"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/internal/storeapi"
	storev1 "github.com/mansiomq/mansio/proto/mansio/store/v1"
)

// version of the protocol on the streams.
const version = 1

// PeerOptions names the proxy to the store.
type PeerOptions struct {
	// Proxy is the proxy's name, for logs.
	Proxy string
	// Incarnation is the number that the proxy's messages carry as their source.
	Incarnation uint64
	// Logger tells of streams that come and go.
	Logger *slog.Logger
}

// Peer submits operations to the store node at the far end of a connection. All
// methods may be called from any goroutine.
type Peer struct{ write, read *lane }

// NewPeer makes a peer over conn, which it does not close. conn decides how long
// a dial may take, how soon after a failed one it dials again (the peer asks
// every second at least) and when a dead connection is noticed (keepalive).
func NewPeer(conn grpc.ClientConnInterface, o PeerOptions) *Peer {
	return &Peer{
		write: newLane(conn, o, storev1.Lane_LANE_WRITE),
		read:  newLane(conn, o, storev1.Lane_LANE_READ),
	}
}

// Submit queues operations in order. It never blocks: what cannot be queued is
// completed at once, from this goroutine, with Overloaded, Unavailable, Expired
// or Invalid.
func (p *Peer) Submit(ops []*storeapi.Op) {
	for len(ops) > 0 {
		l := p.laneOf(ops[0])
		n := 1
		for n < len(ops) && p.laneOf(ops[n]) == l {
			n++
		}
		l.submit(ops[:n])
		ops = ops[n:]
	}
}

func (p *Peer) laneOf(op *storeapi.Op) *lane {
	switch op.Request.(type) {
	case *storeapi.Append, *storeapi.Settle, *storeapi.Alive:
		return p.write
	}
	return p.read
}

// Run keeps both lanes connected until ctx ends, then completes whatever is in
// flight and returns nil.
func (p *Peer) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range []*lane{p.write, p.read} {
		g.Go(func() error { l.run(ctx); return nil })
		g.Go(func() error { l.watchDeadlines(ctx); return nil })
	}
	return g.Wait()
}

// Up reports whether both lanes are connected.
func (p *Peer) Up() bool { return p.write.isUp.Load() && p.read.isUp.Load() }
