// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/controller/etcd"
	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/internal/fault"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// againAfter is the pause before a controller whose reign ended, or that cannot
// reach etcd any more, tries again.
const againAfter = 500 * time.Millisecond

// Controller is one controller process. Its services may be called at any time;
// they answer UNAVAILABLE while it does not lead.
type Controller struct {
	config Config
	keys   metastore.Keys
	log    *slog.Logger

	current atomic.Pointer[reign]
	// leader is who leads while this one waits.
	leader atomic.Pointer[controlv1.Candidate]
	ready  chan struct{}
	once   sync.Once
}

// New makes a controller; it starts nothing.
func New(config Config) (*Controller, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	keys, err := metastore.NewKeys(config.Cluster)
	if err != nil {
		return nil, err
	}
	return &Controller{
		config: config, keys: keys, ready: make(chan struct{}),
		log: config.Log.With("part", "controller", "cluster", config.Cluster),
	}, nil
}

// Register adds the services Metadata, NodeSession and Admin.
func (c *Controller) Register(registrar grpc.ServiceRegistrar) {
	controlv1.RegisterMetadataServer(registrar, &metadataService{c: c})
	controlv1.RegisterNodeSessionServer(registrar, &sessionService{c: c})
	controlv1.RegisterAdminServer(registrar, &adminService{c: c})
}

// Ready is closed when the controller has led, or has found out that another one
// does: from then on its health is not in question.
func (c *Controller) Ready() <-chan struct{} { return c.ready }

// Leads reports whether this controller leads now.
func (c *Controller) Leads() bool { return c.current.Load() != nil }

// Run works until ctx is done and then returns nil. It fails when etcd cannot be
// started or reached at the beginning, and whenever the metadata there are not
// those of this data folder; trouble that may pass is waited out.
func (c *Controller) Run(ctx context.Context) error {
	for {
		err := c.serve(ctx)
		if !errors.Is(err, etcd.ErrReopen) {
			return err
		}
		c.log.InfoContext(ctx, "the embedded etcd starts again", "reason", err)
	}
}

// serve works until ctx is done or the store has to be opened again.
func (c *Controller) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	store, campaign, closeStore, err := c.open(ctx, cancel)
	if err != nil {
		return err
	}
	defer closeStore()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := context.Cause(ctx); fault.KindOf(err) != fault.Other {
				return err
			}
			return nil
		case <-pause.C:
		}
		err := c.rule(ctx, store, campaign)
		if fault.Is(err, fault.Incompatible) || fault.Is(err, fault.Corrupt) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "the controller does not lead; it tries again", "error", err)
		}
		pause.Reset(againAfter)
	}
}

// rule waits for this controller's turn and leads until it ends.
func (c *Controller) rule(ctx context.Context, store metastore.Store, campaign campaigner) error {
	turn, err := campaign(ctx)
	if err != nil {
		return err
	}
	defer turn.End()
	r, err := c.begin(ctx, store, turn)
	if err != nil {
		return err
	}
	c.current.Store(r)
	c.leader.Store(nil)
	c.once.Do(func() { close(c.ready) })
	c.log.InfoContext(ctx, "the controller leads", "revision", r.table.Snapshot().Revision())
	err = r.run(ctx)
	c.current.Store(nil)
	return err
}

// campaigner waits until this controller may lead.
type campaigner func(ctx context.Context) (*metastore.Reign, error)

func alone(context.Context) (*metastore.Reign, error) { return metastore.AloneReign(), nil }

// open opens the store. fail ends Run when an embedded etcd breaks.
func (c *Controller) open(
	ctx context.Context, fail context.CancelCauseFunc,
) (metastore.Store, campaigner, func(), error) {
	switch {
	case c.config.Store != nil:
		return c.config.Store, alone, func() {}, nil
	case c.config.Embedded:
		if err := c.checkEtcdFolder(); err != nil {
			return nil, nil, nil, err
		}
		server, err := etcd.StartEmbedded(ctx, etcd.EmbeddedOptions{
			Dir: c.config.Data.Etcd(), Token: c.config.Data.Identity().Data, Free: c.config.Free, Log: c.log,
		})
		if err != nil {
			return nil, nil, nil, err
		}
		c.log.InfoContext(ctx, "embedded etcd answers", "endpoint", server.Endpoint, "folder", c.config.Data.Etcd())
		watch, stop := context.WithCancel(context.WithoutCancel(ctx))
		watching := make(chan struct{})
		go func() {
			defer close(watching)
			if err := server.Failed(watch); err != nil {
				fail(fault.E("embedded etcd", fault.Other, err))
			}
		}()
		return metastore.NewGuarded(server.Client, server.Room), alone, func() {
			stop()
			<-watching
			c.closeQuietly(ctx, server.Close)
		}, nil
	default:
		client, err := etcd.Dial(ctx, *c.config.External)
		if err != nil {
			return nil, nil, nil, err
		}
		return metastore.NewEtcd(client), c.election(client).Campaign, func() { c.closeQuietly(ctx, client.Close) }, nil
	}
}

// checkEtcdFolder refuses to start an empty etcd for a cluster that exists.
func (c *Controller) checkEtcdFolder() error {
	identity := c.config.Data.Identity()
	if _, err := os.Stat(c.config.Data.Etcd()); identity.Cluster != "" && errors.Is(err, fs.ErrNotExist) {
		return lostCluster(c.config.Data.Path(), identity.Cluster)
	}
	return nil
}

func (c *Controller) closeQuietly(ctx context.Context, closeIt func() error) {
	if err := closeIt(); err != nil && !errors.Is(err, context.Canceled) {
		c.log.WarnContext(ctx, "etcd was not closed cleanly", "error", err)
	}
}

func (c *Controller) election(client *clientv3.Client) *metastore.Election {
	return &metastore.Election{
		Client: client, Keys: c.keys, Log: c.log,
		Candidate: &controlv1.Candidate{
			DataUuid: c.config.Data.Identity().Data, Instance: rand.Uint64(), Address: c.config.Address,
		},
		Waiting: func(leader *controlv1.Candidate) {
			c.leader.Store(leader)
			c.once.Do(func() { close(c.ready) })
		},
	}
}

// lead returns the present reign, or says who leads.
func (c *Controller) lead() (*reign, error) {
	if r := c.current.Load(); r != nil {
		return r, nil
	}
	if leader := c.leader.Load(); leader != nil {
		return nil, fault.Errorf("", fault.Unavailable, "this controller does not lead; the one at %s does", leader.GetAddress())
	}
	return nil, fault.Errorf("", fault.Unavailable, "this controller does not lead yet")
}
