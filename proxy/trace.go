// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	"github.com/mansiomq/mansio/proxy/usage"
	"github.com/mansiomq/mansio/proxy/wire"
)

const (
	scopeName = "github.com/mansiomq/mansio/proxy"
	// traceparent and tracestate are the keys of the W3C context. A message carries
	// the value of the first as its trace_context, which has no room for the second;
	// both, if an instrumented producer set them as user properties.
	traceparent = "traceparent"
	tracestate  = "tracestate"
	// linksMax bounds the messages that the span of a receive links to.
	linksMax = 32
	// fieldTrace is SystemProperties.trace_context.
	fieldTrace = 18
)

var w3c propagation.TraceContext

// tracer makes the spans of sends, receives and settling, by the semantic
// conventions of messaging, and carries trace context in and out of messages.
// Without a provider it costs a comparison.
type tracer struct {
	t  trace.Tracer
	on bool
}

func newTracer(p trace.TracerProvider) tracer {
	if _, silent := p.(noop.TracerProvider); p == nil || silent {
		return tracer{t: noop.NewTracerProvider().Tracer(scopeName)}
	}
	return tracer{t: p.Tracer(scopeName), on: true}
}

func (t *tracer) start(ctx context.Context, name string, kind trace.SpanKind, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	//nolint:spancheck // whoever starts it ends it with end
	return t.t.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(append(attrs, semconv.MessagingSystemRocketMQ)...))
}

func operation(op usage.Operation, topic string, n int) []attribute.KeyValue {
	attrs := []attribute.KeyValue{
		semconv.MessagingOperationName(op.Name()), semconv.MessagingOperationTypeKey.String(op.Kind()),
		semconv.MessagingDestinationName(topic),
	}
	if n > 1 {
		attrs = append(attrs, semconv.MessagingBatchMessageCount(n))
	}
	return attrs
}

// startSend starts the span of a send; nil when nothing is traced.
func (t *tracer) startSend(ctx context.Context) (context.Context, trace.Span) {
	if !t.on {
		return ctx, nil
	}
	ctx, span := t.start(ctx, "send", trace.SpanKindProducer)
	if !span.IsRecording() { // not sampled: its context counts, nothing else
		return ctx, nil
	}
	return ctx, span
}

// sends says what a send turned out to be.
func (t *tracer) sends(span trace.Span, topic string, n int) {
	if span != nil {
		span.SetName("send " + topic)
		span.SetAttributes(operation(usage.Send, topic, n)...)
	}
}

// contextOf is the trace context that a message is to carry if it brings none:
// that of its send. If it brings one, in its system or user properties, the
// send's span is linked to it.
func (t *tracer) contextOf(ctx context.Context, m *wire.Message) string {
	if !t.on {
		return ""
	}
	parent, state := string(m.Trace.Bytes), ""
	for _, p := range m.Properties {
		switch {
		case string(p.Key) == tracestate:
			state = string(p.Value)
		case string(p.Key) == traceparent && parent == "":
			parent = string(p.Value)
		}
	}
	if parent != "" || m.Trace.Set {
		if s := spanContext(ctx, parent, state); s.IsValid() {
			trace.SpanFromContext(ctx).AddLink(trace.Link{SpanContext: s})
		}
		return ""
	}
	carrier := propagation.MapCarrier{}
	w3c.Inject(ctx, carrier)
	return carrier[traceparent]
}

// startReceive starts the span of a delivery, linked to what made its messages.
func (t *tracer) startReceive(ctx context.Context, topic string, taken *storeapi.TakeResult) (context.Context, trace.Span) {
	if !t.on {
		return ctx, nil
	}
	var links []trace.Link
	for i := range taken.Messages[:min(len(taken.Messages), linksMax)] {
		p := message.Payload(taken.Messages[i].Payload)
		parent, _ := message.Text(p.Sys(), fieldTrace)
		if parent == "" {
			parent = wire.UserProperty(p.Rest(), traceparent)
		}
		if s := spanContext(ctx, parent, wire.UserProperty(p.Rest(), tracestate)); s.IsValid() {
			links = append(links, trace.Link{SpanContext: s})
		}
	}
	attrs := append(operation(usage.Receive, topic, len(taken.Messages)), semconv.MessagingSystemRocketMQ)
	//nolint:spancheck // see start
	return t.t.Start(ctx, "receive "+topic, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attrs...), trace.WithLinks(links...))
}

// startSettle starts the span of settling.
func (t *tracer) startSettle(ctx context.Context, op usage.Operation, topic string, n int) (context.Context, trace.Span) {
	if !t.on {
		return ctx, nil
	}
	return t.start(ctx, op.Name()+" "+topic, trace.SpanKindClient, operation(op, topic, n)...)
}

// end ends a span with the status of the response; nil is good.
func (t *tracer) end(span trace.Span, s *pb.Status) {
	if span == nil {
		return
	}
	if s.GetCode() >= pb.Code_BAD_REQUEST {
		span.SetStatus(otelcodes.Error, s.GetMessage())
		span.SetAttributes(semconv.ErrorTypeKey.String(s.GetCode().String()))
	}
	span.End()
}

// spanContext reads the trace context that a message carries; state may be empty.
func spanContext(ctx context.Context, parent, state string) trace.SpanContext {
	if parent == "" {
		return trace.SpanContext{}
	}
	ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{}) // else that of ctx would be the answer to nonsense
	return trace.SpanContextFromContext(w3c.Extract(ctx, propagation.MapCarrier{traceparent: parent, tracestate: state}))
}
