// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mansiomq/mansio/controller/metastore"
	"github.com/mansiomq/mansio/controller/reconcile"
	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/metadata"
)

// reign is everything that a controller has while it leads.
type reign struct {
	config   Config
	log      *slog.Logger
	turn     *metastore.Reign
	book     *metastore.Book
	table    *metadata.Table
	mirror   *mirror
	hub      *hub
	sessions *sessions
	repair   *reconcile.Reconciler
	names    *turns
	// life is done when the reign is over: streams and waits end with it.
	life context.Context //nolint:containedctx // the reign's own
	end  context.CancelCauseFunc
}

// errOver ends streams and waits of a reign that is over.
var errOver = fault.Errorf("", fault.Unavailable, "this controller does not lead any more")

// begin prepares a reign: the metadata are those of this cluster, and all of them
// are in the table.
func (c *Controller) begin(ctx context.Context, store metastore.Store, turn *metastore.Reign) (*reign, error) {
	r := &reign{
		config: c.config, log: c.log, turn: turn,
		book:  metastore.NewBook(store, c.keys, turn.Conds...),
		table: metadata.NewTable(),
		names: newTurns(),
	}
	r.life, r.end = context.WithCancelCause(context.WithoutCancel(ctx))
	if err := r.bootstrap(ctx); err != nil {
		return nil, err
	}
	r.hub = newHub(r.table)
	r.table.OnApply(r.hub.publish)
	r.sessions = newSessions(c.config.Now)
	r.mirror = &mirror{book: r.book, table: r.table, log: c.log}
	if err := r.mirror.load(ctx); err != nil {
		return nil, err
	}
	var err error
	r.repair, err = reconcile.New(reconcile.Options{
		Book: r.book, Table: r.table, Live: r.sessions.live, LiveChanged: r.sessions.changed,
		Dial: c.config.Dial, ShardsPerNode: c.config.ShardsPerNode, Now: c.config.Now, Log: c.log, Meter: c.config.Meter,
	})
	return r, err
}

// run works until ctx is done or the turn is lost.
func (r *reign) run(ctx context.Context) error {
	defer r.end(errOver)
	unmeasure, err := r.measure()
	if err != nil {
		return err
	}
	defer unmeasure()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		select {
		case <-r.turn.Lost():
			return fault.Errorf("controller", fault.Unavailable, "another controller may lead now")
		case <-ctx.Done():
			return nil
		}
	})
	group.Go(func() error { return r.mirror.follow(ctx) })
	group.Go(func() error { return r.repair.Run(ctx) })
	group.Go(func() error {
		if err := r.sweepStarts(ctx); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "starts of deleted groups and topics stay for now", "error", err)
		}
		return nil
	})
	return group.Wait()
}

// during calls f while this controller leads, again when another change came
// between; the context that f gets also ends with the reign.
func (c *Controller) during(ctx context.Context, f func(ctx context.Context, r *reign) error) error {
	r, err := c.lead()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	detach := context.AfterFunc(r.life, func() { cancel(errOver) })
	defer detach()
	pause := time.NewTimer(conflictWait)
	defer pause.Stop()
	for range conflictsMax {
		changed := r.table.Changed()
		err = f(ctx, r)
		if !fault.Is(err, fault.Conflict) {
			break
		}
		pause.Reset(conflictWait)
		// What came between is in the store already, and will be in the table at once.
		select {
		case <-changed:
		case <-pause.C:
		case <-ctx.Done():
		}
	}
	if err != nil && r.life.Err() != nil {
		return errOver
	}
	return err
}

const (
	// conflictsMax bounds how often a change is tried again because others came between.
	conflictsMax = 8
	// conflictWait bounds the wait for the table to show what came between.
	conflictWait = 20 * time.Millisecond
)
