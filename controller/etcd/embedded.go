// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/mansiomq/mansio/internal/fault"
)

const (
	// A member alone has nobody to wait for: it becomes leader after one election timeout and stays it. The timeout
	// (5 to 10 ticks) is most of the time that a start takes.
	tickMS     = 20
	electionMS = 100
	// startMax is when a start counts as failed: replaying a long log on a slow disk takes seconds.
	startMax = 30 * time.Second
	// historyRevisions is how much history a compaction leaves: a watch that lags more lists again.
	historyRevisions = "10000"
	// memberName is what etcd calls its only member.
	memberName = "mansio"
	// loopback lets the system pick a port.
	loopback = "http://127.0.0.1:0"
)

// Embedded is an etcd inside this process.
type Embedded struct {
	// Client calls the server directly, without a socket.
	Client *clientv3.Client
	// Endpoint is where etcdctl reaches it.
	Endpoint string

	server  *embed.Etcd
	room    *room // nil: the disk is not watched
	trouble *trouble
}

// smallSegments is done before the first server starts.
var smallSegments = sync.OnceFunc(func() { wal.SegmentSizeBytes = segmentBytes })

// EmbeddedOptions says where and how.
type EmbeddedOptions struct {
	Dir string // created if absent
	// Token makes the etcd cluster's id unique; it matters at the first start in a folder.
	Token string
	Log   *slog.Logger // nil: nothing is logged
	// Free watches the disk; nil: nobody does, and a full one ends the process.
	Free FreeFunc
	// NoSync leaves out every fsync: for tests only, whose data nobody needs.
	NoSync bool
}

// StartEmbedded starts an etcd and returns when it answers. The caller closes it.
// On a full disk it fails with kind DiskFull, before etcd has touched anything.
func StartEmbedded(ctx context.Context, options EmbeddedOptions) (*Embedded, error) {
	const op = "start embedded etcd"
	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return nil, fault.E(op, fault.Invalid, err)
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	t := newTrouble()
	r := &room{dir: options.Dir, free: options.Free, log: options.Log, trouble: t}
	if options.Free != nil {
		if err := r.checkStart(); err != nil {
			return nil, fault.E(op, fault.Other, err)
		}
	}
	config, err := options.config(r)
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	smallSegments()
	e, err := launch(ctx, config, t)
	if err != nil {
		return nil, fault.Errorf(op, fault.Other, "in %s: %w", options.Dir, err)
	}
	if options.Free != nil {
		r.used = e.server.Server.Backend().Size
		e.room = r
	}
	return e, nil
}

// launch returns when the server answers. One that gives up while it starts is
// left to itself: its goroutine does not come back.
func launch(ctx context.Context, config *embed.Config, t *trouble) (*Embedded, error) {
	type outcome struct {
		server *embed.Etcd
		err    error
	}
	began := make(chan outcome, 1)
	go func() {
		server, err := embed.StartEtcd(config)
		began <- outcome{server, err}
	}()
	var server *embed.Etcd
	select {
	case o := <-began:
		if o.err != nil {
			return nil, fault.E("", fault.Unavailable, o.err)
		}
		server = o.server
	case err := <-t.first:
		return nil, err
	}
	patience, cancel := context.WithTimeout(ctx, startMax)
	defer cancel()
	var err error
	select {
	case <-server.Server.ReadyNotify():
		return &Embedded{
			Client:   v3client.New(server.Server),
			Endpoint: server.Clients[0].Addr().String(),
			server:   server,
			trouble:  t,
		}, nil
	case err := <-t.first:
		return nil, err
	case err = <-server.Err():
		err = fault.E("", fault.Unavailable, err)
	case <-patience.Done():
		err = fault.Errorf("", fault.Timeout, "not ready after %s", startMax)
		if ctx.Err() != nil {
			err = fault.E("", fault.Canceled, ctx.Err())
		}
	}
	server.Close()
	return nil, err
}

func (o EmbeddedOptions) config(r *room) (*embed.Config, error) {
	address, err := url.Parse(loopback)
	if err != nil {
		return nil, err
	}
	addresses := []url.URL{*address}
	c := embed.NewConfig()
	c.Name = memberName
	c.Dir = o.Dir
	c.ListenPeerUrls, c.AdvertisePeerUrls = addresses, addresses
	c.ListenClientUrls, c.AdvertiseClientUrls = addresses, addresses
	c.InitialCluster = memberName + "=" + loopback
	if o.Token != "" {
		c.InitialClusterToken = o.Token
	}
	c.TickMs, c.ElectionMs = tickMS, electionMS
	c.UnsafeNoFsync = o.NoSync
	c.AutoCompactionMode = embed.CompactorModeRevision
	c.AutoCompactionRetention = historyRevisions
	c.StrictReconfigCheck = false // a single member has nobody to ask
	c.EnableGRPCGateway = false
	last := &lastWords{dir: o.Dir, trouble: r.trouble, grace: graceMax, exit: zapcore.WriteThenFatal}
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(
		&bridge{log: o.Log, stale: &r.stale}, zap.WithFatalHook(last), zap.WithPanicHook(last)))
	return c, nil
}

// Room says whether the disk has room for a write, one that creates entries or
// one that only changes and deletes; otherwise it fails with kind DiskFull. Every
// write has to ask: etcd itself does not survive a disk without space.
func (e *Embedded) Room(creates bool) error {
	if e.room == nil {
		return nil
	}
	return e.room.check(creates)
}

// Failed waits until the server broke, or has to be opened again (ErrReopen), and
// returns why; nil when ctx is done before.
func (e *Embedded) Failed(ctx context.Context) error {
	select {
	case err := <-e.trouble.first:
		return err
	case err := <-e.server.Err():
		return fault.E("", fault.Internal, err)
	case <-ctx.Done():
		return nil
	}
}

// Close stops the server; everything acknowledged is on disk. One that broke ends
// with the process.
func (e *Embedded) Close() error {
	err := e.Client.Close()
	if e.trouble.dead.Load() {
		return nil
	}
	e.server.Close()
	if errors.Is(err, context.Canceled) {
		return nil // what it says after it has cancelled its own context
	}
	return err
}
