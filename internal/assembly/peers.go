// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"context"
	"log/slog"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/mansiomq/mansio/internal/rpc"
	"github.com/mansiomq/mansio/internal/storewire"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/route"
)

// peers gives the proxy its way to each store node: the node of this process
// itself, a pair of streams to any other.
type peers struct {
	dialer      *rpc.Dialer
	name        string
	log         *slog.Logger
	incarnation uint64
	local       route.Peer // nil: no store node in this process
	localAt     string     // its address in the metadata

	mu     sync.RWMutex
	remote map[string]*storewire.Peer // guarded; by address
	start  chan *storewire.Peer
}

// peersMax bounds the store nodes that one proxy speaks with.
const peersMax = 4096

func newPeers(d *rpc.Dialer, name string, log *slog.Logger) *peers {
	return &peers{
		dialer: d, name: name, log: log, incarnation: random64(), remote: map[string]*storewire.Peer{}, start: make(chan *storewire.Peer, peersMax),
	}
}

// of returns the peer of a node; nil when there is no way to it.
func (p *peers) of(n *controlv1.Node) route.Peer {
	if n == nil {
		return nil
	}
	if p.local != nil && n.GetAddress() == p.localAt {
		return p.local
	}
	p.mu.RLock()
	r := p.remote[n.GetAddress()]
	p.mu.RUnlock()
	if r != nil {
		return r
	}
	return p.connect(n.GetAddress())
}

func (p *peers) connect(address string) route.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.remote[address]; r != nil {
		return r
	}
	conn, err := p.dialer.Conn(address)
	if err != nil {
		return nil
	}
	r := storewire.NewPeer(conn, storewire.PeerOptions{Proxy: p.name, Incarnation: p.incarnation, Logger: p.log})
	select {
	case p.start <- r:
	default:
		return nil
	}
	p.remote[address] = r
	return r
}

// run keeps the streams of all remote peers.
func (p *peers) run(ctx context.Context) error {
	g, inner := errgroup.WithContext(ctx)
	for {
		select {
		case r := <-p.start:
			g.Go(func() error { return r.Run(inner) })
		case <-ctx.Done():
			return g.Wait()
		}
	}
}
