// SPDX-License-Identifier: Apache-2.0

package assembly

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/mansiomq/mansio/internal/rpc"
	"github.com/mansiomq/mansio/internal/telemetry"
	"github.com/mansiomq/mansio/storenode/shard"
)

// httpGrace bounds what running requests of probes and scrapers may take when
// the process stops.
const httpGrace = time.Second

// addHTTP adds health, metrics and profiles. It is the last part to start and
// the first to stop, so a process that stops is unready before anything else.
func (p *process) addHTTP(ctx context.Context) error {
	l, err := listenOn(ctx, "--http-listen", p.cfg.HTTPListen)
	if err != nil {
		return err
	}
	p.where.HTTP = l.Addr().String()
	token := ""
	if p.cfg.AdminTokenFile != "" {
		text, err := os.ReadFile(p.cfg.AdminTokenFile)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		token = strings.TrimSpace(string(text))
	}
	server := telemetry.Pages{
		Alive: p.alive, Ready: p.ready, Metrics: p.cfg.Telemetry.Metrics(), Pprof: p.cfg.Pprof, AdminToken: token,
	}.Server()
	p.group.AddFunc("http", func(ctx context.Context) error {
		broken := make(chan error, 1)
		go func() { broken <- server.Serve(l) }()
		select {
		case err := <-broken:
			return err
		case <-ctx.Done():
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpGrace)
		defer cancel()
		err := server.Shutdown(grace)
		if served := <-broken; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return server.Close()
		}
		return err
	})
	return nil
}

// serverOptions are those of every internal gRPC server.
func (p *process) serverOptions() rpc.ServerOptions {
	return rpc.ServerOptions{
		Log: p.logger, Meter: p.cfg.Telemetry.Meter(), Guard: p.guard, Extra: p.cfg.Telemetry.ServerOptions(),
	}
}

// observeStore shows what the shards count.
func observeStore(m metric.Meter, c *shard.Counts) error {
	var errs []error
	for _, v := range []struct {
		name, unit, what string
		load             func() uint64
	}{
		{"mansio.store.messages", "{message}", "Messages stored", c.Messages.Load},
		{"mansio.store.bytes", "By", "Bytes of the messages stored", c.Bytes.Load},
		{"mansio.store.deliveries", "{delivery}", "Deliveries made", c.Leased.Load},
		{"mansio.store.settlements", "{settlement}", "Settlements answered OK", c.Settled.Load},
		{"mansio.store.settlements.refused", "{settlement}", "Settlements of deliveries that were not current", c.Refused.Load},
		{"mansio.store.dead_letters", "{message}", "Messages dead-lettered", c.DeadLettered.Load},
		{"mansio.store.rounds", "{round}", "Rounds of write and sync", c.Rounds.Load},
		{"mansio.store.entries", "{entry}", "Log entries written in those rounds", c.Entries.Load},
	} {
		_, err := m.Int64ObservableCounter(v.name, metric.WithUnit(v.unit), metric.WithDescription(v.what),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
				o.Observe(int64(v.load())) //nolint:gosec // counts stay below 2^63
				return nil
			}))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
