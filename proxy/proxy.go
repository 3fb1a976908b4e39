// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/metadata"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/handle"
	"github.com/mansiomq/mansio/proxy/park"
	"github.com/mansiomq/mansio/proxy/route"
	"github.com/mansiomq/mansio/proxy/session"
)

const (
	// reconnectGrace is how long clients have to connect elsewhere before their
	// streams end.
	reconnectGrace = 500 * time.Millisecond
	// drainSpread is the time over which waiting receives end.
	drainSpread = time.Second
)

// Proxy serves the calls of clients. Its methods may be called from any goroutine.
type Proxy struct {
	o        Config
	router   *route.Router
	lot      *park.Lot
	clients  *session.Registry
	handles  atomic.Pointer[handle.Codec]
	meter    *meter
	tracer   tracer
	metadata controlv1.MetadataClient
	admin    controlv1.AdminClient
	creating singleflight.Group
	// allowance bounds creations, refusals their log lines.
	allowance *rate.Limiter
	refusals  *rate.Limiter
	nonce     atomic.Uint64
	open      *openStreams
	// receiving is the bytes of messages that are on their way to clients.
	receiving *budget
}

// New makes a proxy; it starts nothing. The table must not be fed yet.
func New(c Config) (*Proxy, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.ReceiveBytesMax == 0 {
		c.ReceiveBytesMax = receiveBytesMax
	}
	if c.TopicsMax == 0 {
		c.TopicsMax = namesMax
	}
	if c.GroupsMax == 0 {
		c.GroupsMax = namesMax
	}
	conn := &controllers{conns: c.Controllers}
	p := &Proxy{
		o: c, clients: session.New(0), metadata: controlv1.NewMetadataClient(conn), admin: controlv1.NewAdminClient(conn),
		open: newOpenStreams(), allowance: newAllowance(), refusals: seldom(), receiving: newBudget(c.ReceiveBytesMax),
	}
	p.router = route.New(route.Options{
		Table: c.Table, Peers: c.Peers, Incarnation: c.Incarnation, Now: c.Now, SendBytesMax: c.SendBytesMax,
	})
	p.lot = park.New(park.Options{Now: c.Now, Start: p.startParked})
	p.handles.Store(handle.NewCodec("", nil))
	c.Table.OnApply(func(d metadata.Delta) {
		if d.Cluster {
			p.handles.Store(handlesOf(d.New.Cluster()))
		}
	})
	p.tracer = newTracer(c.Tracer)
	var err error
	if p.meter, err = newMeter(c.Meter, p); err != nil {
		return nil, fault.E("proxy.New", fault.Internal, err)
	}
	return p, nil
}

func handlesOf(c *controlv1.Cluster) *handle.Codec {
	keys := make([]handle.Key, len(c.GetHandleKeys()))
	for i, k := range c.GetHandleKeys() {
		keys[i] = handle.Key{ID: k.GetId(), Secret: k.GetSecret()}
	}
	return handle.NewCodec(c.GetUuid(), keys)
}

// startParked hands an operation of a place over.
func (p *Proxy) startParked(shard ident.Shard, s *park.Spot, r storeapi.Request, done func(storeapi.Reply)) {
	q := route.Request{Shard: shard, Topic: s.Topic, Group: s.Group, Start: s.Start, Request: r}
	if _, waits := r.(*storeapi.Park); !waits {
		q.Deadline = p.o.Now().Add(signTime)
	}
	p.router.Start(&q, done)
}

// Register adds the proxy's services to the server of the client port, which must
// be made with the options of package listen.
func (p *Proxy) Register(s grpc.ServiceRegistrar) {
	s.RegisterService(messaging(), p)
	controlv1.RegisterAdminServer(recovering{s, p}, &adminServer{p: p})
	controlv1.RegisterInspectServer(recovering{s, p}, &inspectServer{p: p})
}

// Run does what has no call of its own: deadlines of waiting receives, signs of
// life, forgetting. It returns nil when ctx is done.
func (p *Proxy) Run(ctx context.Context) error {
	defer p.meter.close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.lot.Run(ctx) })
	g.Go(func() error { return p.keepAlive(ctx) })
	return g.Wait()
}

// Ready reports why the proxy should get no clients; nil: it should.
func (p *Proxy) Ready() error {
	switch led, all := p.router.Leaders(); {
	case p.open.stopping():
		return fault.Errorf("", fault.Unavailable, "stopping")
	case p.o.Table.Snapshot().Cluster() == nil:
		return fault.Errorf("", fault.Unavailable, "nothing heard from a controller yet")
	case all == 0:
		return fault.Errorf("", fault.Unavailable, "the cluster has no shards yet")
	case led == 0:
		return fault.Errorf("", fault.Unavailable, "none of %d shards has a leader that can be reached", all)
	}
	return nil
}

// Drain prepares the end: from its beginning the proxy is not ready, clients are
// asked to connect elsewhere, then waiting receives and telemetry streams end.
// It returns when they have, or with ctx's error when ctx is done before. Then
// the server can stop gracefully; Run should end last.
func (p *Proxy) Drain(ctx context.Context) error {
	p.open.stop()
	grace := time.NewTimer(reconnectGrace)
	defer grace.Stop()
	select {
	case <-grace.C:
	case <-ctx.Done():
	}
	p.lot.Drain(drainSpread)
	return p.open.end(ctx)
}
