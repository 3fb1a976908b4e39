// SPDX-License-Identifier: Apache-2.0

// Package telemetry is what a process shows of itself: metrics, traces, logs,
// health and profiles. Only the composition root and the commands use it; all
// others are given a metric.Meter, a trace.TracerProvider and a slog.Logger.
//
//	metrics   /metrics in Prometheus' text form, always; pushed over OTLP when asked for
//	traces    pushed over OTLP when asked for; else nothing is recorded
//	logs      text on a terminal, JSON lines elsewhere; with trace_id and span_id inside a span
//	health    /healthz and /readyz
//	profiles  /debug/pprof/, when switched on, to this machine or the admin token
//
// # When OTLP is asked for
//
// The standard variables decide, nothing else: OTEL_EXPORTER_OTLP_ENDPOINT (or
// its forms for traces and metrics) or OTEL_TRACES_EXPORTER and
// OTEL_METRICS_EXPORTER switch on; OTEL_SDK_DISABLED=true or the exporter `none`
// switch off. All other OTEL_* variables mean what OpenTelemetry says. Spans and
// metrics of gRPC calls exist only then: they cost microseconds per call, and
// what an operator of one process needs is counted by the roles themselves.
//
// # Names
//
// Instruments are called mansio.<package>.<what>, or as the conventions of
// OpenTelemetry call them where there are some, and have a unit; /metrics shows
// them as mansio_<package>_<what>_<unit>, counters with _total. This translation
// is fixed here, so that dashboards survive upgrades of libraries.
//
// # Cardinality
//
// No instrument ever has more than SeriesMax sets of attributes: the next ones
// are counted together under otel_metric_overflow="true", which is itself the
// sign that the limit is reached. Attributes that name a client, a message or a
// receipt handle are dropped whoever sets them.
//
// # Health
//
// Alive (/healthz) means that the process can make progress: it fails only for
// what a restart would mend. A full disk, a missing leader or an absent
// controller never fails it. Ready (/readyz) means that the roles in this
// process can do their work now; each role registers its own check.
package telemetry
