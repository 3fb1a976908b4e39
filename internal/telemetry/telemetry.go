// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/mansiomq/mansio/internal/fault"
)

// scope names the instrumentation: one for the whole program.
const scope = "github.com/mansiomq/mansio"

// Config says who the process is.
type Config struct {
	// Role is standalone, controller, storenode or proxy.
	Role string
	// Node is the process's name in its cluster.
	Node string
	// Version of the program.
	Version string
	// Logger tells of exporters that fail.
	Logger *slog.Logger
}

// Telemetry holds the providers of one process. All methods may be called from
// any goroutine.
type Telemetry struct {
	registry *prometheus.Registry
	meters   metric.MeterProvider
	tracers  trace.TracerProvider
	exports  bool
	closers  []func(context.Context) error
}

// New makes the providers and starts the exporters that the environment asks
// for; Close ends them. Nothing is set globally, except the handler of
// OpenTelemetry's own errors, which goes to the logger.
func New(ctx context.Context, c Config) (*Telemetry, error) {
	const op = "telemetry"
	res, err := resourceOf(ctx, c)
	if err != nil {
		return nil, fault.E(op, fault.Invalid, err)
	}
	logExportErrors(c.Logger)
	t := &Telemetry{registry: prometheus.NewRegistry()}
	if err := t.registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})); err != nil {
		return nil, fault.E(op, fault.Internal, err)
	}
	if err := t.startMetrics(ctx, res); err != nil {
		return nil, fault.E(op, fault.Invalid, errors.Join(err, t.Close(ctx)))
	}
	if err := t.startTraces(ctx, res); err != nil {
		return nil, fault.E(op, fault.Invalid, errors.Join(err, t.Close(ctx)))
	}
	if err := runtime.Start(runtime.WithMeterProvider(t.meters)); err != nil {
		return nil, fault.E(op, fault.Internal, errors.Join(err, t.Close(ctx)))
	}
	return t, nil
}

// Close flushes and ends the exporters, within ctx.
func (t *Telemetry) Close(ctx context.Context) error {
	var err error
	for _, c := range t.closers {
		err = errors.Join(err, c(ctx))
	}
	return err
}

// Meter makes the instruments of the whole process.
func (t *Telemetry) Meter() metric.Meter { return t.meters.Meter(scope) }

// Tracers makes spans, or nothing when no exporter wants them.
func (t *Telemetry) Tracers() trace.TracerProvider { return t.tracers }

// Exports reports whether the environment asked for an exporter.
func (t *Telemetry) Exports() bool { return t.exports }

// Metrics serves all metrics in Prometheus' text form.
func (t *Telemetry) Metrics() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{})
}

// Propagator reads and writes the W3C trace context and baggage.
func Propagator() propagation.TextMapPropagator {
	return propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
}

// resourceOf describes the process; OTEL_RESOURCE_ATTRIBUTES and
// OTEL_SERVICE_NAME win.
func resourceOf(ctx context.Context, c Config) (*resource.Resource, error) {
	attrs := []attribute.KeyValue{
		semconv.ServiceName("mansio"),
		semconv.ServiceVersion(c.Version),
		attribute.String("mansio.role", c.Role),
	}
	if c.Node != "" {
		attrs = append(attrs, semconv.ServiceInstanceID(c.Node))
	}
	return resource.New(ctx,
		resource.WithAttributes(attrs...),
		resource.WithHost(),
		resource.WithProcessPID(),
		resource.WithProcessRuntimeName(),
		resource.WithProcessRuntimeVersion(),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(),
	)
}
