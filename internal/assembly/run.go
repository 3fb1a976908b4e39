// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/internal/datadir"
	"github.com/mansiomq/mansio/internal/invariant"
	"github.com/mansiomq/mansio/internal/metadata"
	"github.com/mansiomq/mansio/internal/rpc"
	"github.com/mansiomq/mansio/internal/run"
	"github.com/mansiomq/mansio/internal/telemetry"
)

// localController is the name under which the controller in this process is
// dialled.
const localController = "controller.in-process"

// stopMax bounds a stop in good order. Parts have shorter limits of their own;
// this one is for a part that hangs. What it leaves undone, recovery does.
const stopMax = 10 * time.Second

// process is what the parts of one process share.
type process struct {
	cfg    Config
	logger *slog.Logger
	guard  rpc.Guard
	dialer *rpc.Dialer
	data   *datadir.Dir
	table  *metadata.Table
	peers  *peers
	group  run.Group
	where  Addresses
	alive  *telemetry.Health
	ready  *telemetry.Health
	// clean reports after a stop whether the next start has nothing to recover; nil
	// without data of a store node. It may wait for a part that storing counts.
	clean func() bool
	// storing is how many parts are under way that write to the data folder.
	storing atomic.Int32
}

// Run runs the configured roles until ctx ends or one of them fails, then stops
// all of them in good order.
func Run(ctx context.Context, cfg Config) (err error) {
	invariant.Check(cfg.Logger != nil && cfg.Telemetry != nil, "assembly without logger or telemetry")
	if err := cfg.Validate(); err != nil {
		return err
	}
	p := &process{cfg: cfg, logger: cfg.Logger, table: metadata.NewTable(), alive: &telemetry.Health{}, ready: &telemetry.Health{}}
	if p.guard, err = cfg.guardOf(); err != nil {
		return err
	}
	if cfg.Data != "" {
		if p.data, err = datadir.Open(cfg.Data, cfg.Name); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.release()) }()
		p.where.Data = p.data.Path()
	}
	p.group.StopMax = stopMax
	stopped := p.tellStop(ctx)
	defer stopped()
	p.dialer = rpc.NewDialer(p.guard, cfg.Telemetry.DialOptions()...)
	defer func() { err = errors.Join(err, p.dialer.Close()) }()
	far := rpc.NewDialer(p.guard, cfg.Telemetry.DialOptions()...) // the peers' own: they forget addresses
	defer func() { err = errors.Join(err, far.Close()) }()
	p.peers = newPeers(p.table, far, cfg.watcher(), p.logger)
	setMemory(cfg.MemoryBytes)
	if err := p.assemble(ctx); err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if p.serving(inner) && cfg.Started != nil {
			cfg.Started(p.where)
		}
	}()
	err = p.group.Run(ctx)
	cancel()
	<-done
	return err
}

// tellStop has a line written when a stop begins; the result writes one when
// there was a stop and it is over.
func (p *process) tellStop(ctx context.Context) (stopped func()) {
	var began time.Time
	p.group.Stopping = func(ended string) {
		began = time.Now()
		why := "the part ended: " + ended
		if ended == "" {
			why = context.Cause(ctx).Error()
		}
		p.logger.InfoContext(ctx, "stopping", "reason", why)
	}
	return func() {
		if began.IsZero() {
			return
		}
		facts := []any{"took_ms", time.Since(began).Milliseconds()}
		if p.clean != nil {
			facts = append(facts, "clean", p.storing.Load() == 0 && p.clean())
		}
		p.logger.InfoContext(ctx, "stopped", facts...)
	}
}

// addStoring adds a part that writes to the data folder.
func (p *process) addStoring(name string, part run.Part) {
	p.group.Add(name, func(ctx context.Context, ready func()) error {
		p.storing.Add(1)
		defer p.storing.Add(-1)
		return part(ctx, ready)
	})
}

// release gives the data folder back, unless a part that outlived the stop may
// still write to it: then the end of the process does.
func (p *process) release() error {
	if p.storing.Load() > 0 {
		return nil
	}
	return p.data.Close()
}

// readyEvery is how often a starting process looks whether it serves.
const readyEvery = 5 * time.Millisecond

// serving waits until every part runs and passes its readiness check.
func (p *process) serving(ctx context.Context) bool {
	select {
	case <-p.group.Ready():
	case <-ctx.Done():
		return false
	}
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for len(p.ready.Failing()) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// assemble adds the parts in the order in which they start.
func (p *process) assemble(ctx context.Context) error {
	p.group.AddFunc("memory", idleCollector)
	if p.cfg.Controller != nil {
		if err := p.addController(ctx); err != nil {
			return err
		}
	}
	if p.cfg.StoreNode != nil || p.cfg.Proxy != nil {
		if err := p.addWatcher(); err != nil {
			return err
		}
	}
	if p.cfg.StoreNode != nil {
		if err := p.addStoreNode(ctx); err != nil {
			return err
		}
	}
	if p.cfg.Proxy != nil {
		if err := p.addProxy(ctx); err != nil {
			return err
		}
	}
	if p.cfg.HTTPListen != "" {
		return p.addHTTP(ctx)
	}
	return nil
}

// controllers are the connections to whoever may lead the metadata.
func (p *process) controllers() ([]grpc.ClientConnInterface, error) {
	addresses := p.cfg.Controllers
	if p.cfg.Controller != nil {
		addresses = []string{localController}
	}
	conns := make([]grpc.ClientConnInterface, len(addresses))
	for i, a := range addresses {
		c, err := p.dialer.Conn(a)
		if err != nil {
			return nil, err
		}
		conns[i] = c
	}
	return conns, nil
}

// addWatcher keeps the process's one metadata table fed.
func (p *process) addWatcher() error {
	conns, err := p.controllers()
	if err != nil {
		return err
	}
	w := metadata.NewWatcher(metadata.WatcherOptions{Name: p.cfg.watcher(), Controllers: conns, Table: p.table, Log: p.logger})
	p.group.AddFunc("metadata watch", w.Run)
	return nil
}

// serve adds a gRPC server as a part.
func (p *process) serve(name string, s *rpc.Server, listeners ...net.Listener) {
	p.group.AddFunc(name, func(ctx context.Context) error { return s.Serve(ctx, listeners...) })
}

// random64 is a number that no other life of any process has.
func random64() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:]) | 1
}
