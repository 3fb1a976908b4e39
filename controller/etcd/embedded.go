// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"

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

	server *embed.Etcd
}

// EmbeddedOptions says where and how.
type EmbeddedOptions struct {
	Dir string // created if absent
	// Token makes the etcd cluster's id unique; it matters at the first start in a folder.
	Token string
	Log   *slog.Logger
	// NoSync leaves out every fsync: for tests only, whose data nobody needs.
	NoSync bool
}

// StartEmbedded starts an etcd and returns when it answers. The caller closes it.
func StartEmbedded(ctx context.Context, options EmbeddedOptions) (*Embedded, error) {
	const op = "start embedded etcd"
	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return nil, fault.E(op, fault.Invalid, err)
	}
	config, err := options.config()
	if err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return nil, fault.Errorf(op, fault.Unavailable, "in %s: %w", options.Dir, err)
	}
	patience, cancel := context.WithTimeout(ctx, startMax)
	defer cancel()
	select {
	case <-server.Server.ReadyNotify():
	case err = <-server.Err():
		err = fault.Errorf(op, fault.Unavailable, "in %s: %w", options.Dir, err)
	case <-patience.Done():
		err = fault.Errorf(op, fault.Timeout, "in %s: not ready after %s", options.Dir, startMax)
		if ctx.Err() != nil {
			err = fault.E(op, fault.Canceled, ctx.Err())
		}
	}
	if err != nil {
		server.Close()
		return nil, err
	}
	return &Embedded{
		Client:   v3client.New(server.Server),
		Endpoint: server.Clients[0].Addr().String(),
		server:   server,
	}, nil
}

func (o EmbeddedOptions) config() (*embed.Config, error) {
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
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(&bridge{log: o.Log}))
	return c, nil
}

// Failed delivers an error when the server broke.
func (e *Embedded) Failed() <-chan error { return e.server.Err() }

// Close stops the server; everything acknowledged is on disk.
func (e *Embedded) Close() error {
	err := e.Client.Close()
	e.server.Close()
	if errors.Is(err, context.Canceled) {
		return nil // what it says after it has cancelled its own context
	}
	return err
}
