// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"log/slog"
	"os"
	"strings"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// wanted says whether the environment asks for an exporter of that signal:
// TRACES or METRICS.
func wanted(signal string) bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	if exporter := os.Getenv("OTEL_" + signal + "_EXPORTER"); exporter != "" {
		return !strings.EqualFold(exporter, "none")
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
}

// startTraces makes the tracer provider. Sampling follows OTEL_TRACES_SAMPLER.
func (t *Telemetry) startTraces(ctx context.Context, res *resource.Resource) error {
	if !wanted("TRACES") {
		t.tracers = noop.NewTracerProvider()
		return nil
	}
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return err
	}
	p := sdk.NewTracerProvider(sdk.WithResource(res), sdk.WithBatcher(exporter))
	t.tracers = p
	t.exports = true
	t.closers = append(t.closers, p.Shutdown)
	return nil
}

// logExportErrors sends what OpenTelemetry cannot deliver to the log.
func logExportErrors(log *slog.Logger) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("telemetry could not be exported", "error", err)
	}))
}

// longLived are the streams that last as long as the processes at their ends: a
// span of theirs says nothing.
var longLived = map[string]bool{
	"/mansio.store.v1.Store/Exchange":                           true,
	"/mansio.control.v1.Metadata/Watch":                         true,
	"/mansio.control.v1.NodeSession/Session":                    true,
	"/apache.rocketmq.v2.MessagingService/Telemetry":            true,
	"/grpc.health.v1.Health/Watch":                              true,
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": true,
}

func shortLived(i *stats.RPCTagInfo) bool { return !longLived[i.FullMethodName] }

// ServerOptions are for every gRPC server: spans and metrics of calls, when
// something is exported.
func (t *Telemetry) ServerOptions() []grpc.ServerOption {
	if !t.exports {
		return nil
	}
	return []grpc.ServerOption{grpc.StatsHandler(otelgrpc.NewServerHandler(t.grpcOptions()...))}
}

// DialOptions are for every gRPC client.
func (t *Telemetry) DialOptions() []grpc.DialOption {
	if !t.exports {
		return nil
	}
	return []grpc.DialOption{grpc.WithStatsHandler(otelgrpc.NewClientHandler(t.grpcOptions()...))}
}

func (t *Telemetry) grpcOptions() []otelgrpc.Option {
	return []otelgrpc.Option{
		otelgrpc.WithMeterProvider(t.meters),
		otelgrpc.WithTracerProvider(t.tracers),
		otelgrpc.WithPropagators(Propagator()),
		otelgrpc.WithFilter(shortLived),
	}
}
