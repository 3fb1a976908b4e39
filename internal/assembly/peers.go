// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/mansiomq/mansio/internal/metadata"
	"github.com/mansiomq/mansio/internal/rpc"
	"github.com/mansiomq/mansio/internal/storewire"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/route"
)

// peers gives the proxy its way to each store node: the node of this process
// itself, a pair of streams to any other, for as long as a node has the address.
type peers struct {
	table       *metadata.Table
	dialer      *rpc.Dialer
	name        string
	log         *slog.Logger
	incarnation uint64
	local       route.Peer // nil: no store node in this process
	localAt     string     // its address in the metadata

	mu     sync.RWMutex
	remote map[string]*remote // guarded; by address
	start  chan *remote
}

// remote is the way to a node of another process.
type remote struct {
	*storewire.Peer
	gone chan struct{} // closed when no node has the address any more
}

// peersMax bounds the store nodes that one proxy speaks with.
const peersMax = 4096

// newPeers makes peers that listen to the table, which must not be fed yet.
func newPeers(t *metadata.Table, d *rpc.Dialer, name string, log *slog.Logger) *peers {
	p := &peers{
		table: t, dialer: d, name: name, log: log, incarnation: random64(),
		remote: map[string]*remote{}, start: make(chan *remote, peersMax),
	}
	t.OnApply(func(d metadata.Delta) {
		if len(d.Nodes)+len(d.DeletedNodes) > 0 {
			p.keep(d.New)
		}
	})
	return p
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
	if !slices.Contains(addresses(p.table.Snapshot()), address) {
		return nil // the caller's metadata are old: nobody would end the way again
	}
	conn, err := p.dialer.Conn(address)
	if err != nil {
		return nil
	}
	r := &remote{
		storewire.NewPeer(conn, storewire.PeerOptions{Proxy: p.name, Incarnation: p.incarnation, Logger: p.log}),
		make(chan struct{}),
	}
	select {
	case p.start <- r:
	default:
		return nil
	}
	p.remote[address] = r
	return r
}

// keep gives up the ways to addresses that no node has any more.
func (p *peers) keep(snap *metadata.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := addresses(snap)
	for address, r := range p.remote {
		if !slices.Contains(known, address) {
			delete(p.remote, address)
			close(r.gone)
			p.dialer.Forget(address) // with the lock held: the next way there needs a connection of its own
			p.log.Info("no store node has this address any more", "address", address)
		}
	}
}

func addresses(snap *metadata.Snapshot) (all []string) {
	for n := range snap.Nodes() {
		all = append(all, n.GetAddress())
	}
	return all
}

// run keeps the streams of all remote peers.
func (p *peers) run(ctx context.Context) error {
	g, inner := errgroup.WithContext(ctx)
	for {
		select {
		case r := <-p.start:
			g.Go(func() error { return r.run(inner) })
		case <-ctx.Done():
			return g.Wait()
		}
	}
}

// run keeps the streams until ctx ends or the address is given up.
func (r *remote) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	g.Go(func() error {
		defer cancel()
		return r.Run(ctx)
	})
	select {
	case <-r.gone:
		cancel()
	case <-ctx.Done():
	}
	return g.Wait()
}
