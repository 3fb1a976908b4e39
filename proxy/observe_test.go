// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

// numbers are the sums of a collection, by instrument and attributes.
func numbers(t *testing.T, reader *sdkmetric.ManualReader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.WithoutCancel(t.Context()), &all); err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					out[name(m.Name, p.Attributes)] += p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					out[name(m.Name, p.Attributes)] += int64(p.Count)
				}
			}
		}
	}
	return out
}

func name(instrument string, attrs attribute.Set) string {
	text := instrument
	for _, a := range attrs.ToSlice() {
		text += " " + a.Value.AsString()
	}
	return text
}

func TestMetrics(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	metered := func(c *Config, _ *controlv1.Cluster) { c.Meter = provider.Meter("test") }
	f := newFixture(t, metered)
	f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
	f.with("c", func(c *client) {
		messages := c.leased("orders", "g", 3)
		c.ack("g", "orders", messages[0])
		c.change("g", "orders", handleOf(messages[1]))
		c.forward("g", "orders", handleOf(messages[2]))
		c.ack("g", "orders", withText("nonsense"))
		c.send(newMessage("nobody", "m"))
		f.node.Intercept(func(op *storeapi.Op) bool {
			_, is := op.Request.(*storeapi.Append)
			if is {
				op.Done(storeapi.Reply{Result: &storeapi.AppendResult{Entries: []storeapi.Appended{{}, {Code: storeapi.TopicNotFound}}}})
			}
			return is
		})
		c.send(newMessage("orders", "a"), newMessage("orders", "b"))
		f.hook = func(string) { panic("injected") }
		c.ack("g", "orders", messages[0])
	})
	got := numbers(t, reader)
	for what, want := range map[string]int64{
		"mansio.proxy.calls OK SendMessage":                                              3,
		"mansio.proxy.calls TOPIC_NOT_FOUND SendMessage":                                 1,
		"mansio.proxy.calls MULTIPLE_RESULTS SendMessage":                                1,
		"mansio.proxy.calls OK AckMessage":                                               1,
		"mansio.proxy.calls INVALID_RECEIPT_HANDLE AckMessage":                           1,
		"mansio.proxy.calls INTERNAL_SERVER_ERROR AckMessage":                            1,
		"mansio.proxy.call.duration SendMessage":                                         5,
		"mansio.proxy.panics":                                                            1,
		"mansio.proxy.sent.messages":                                                     4,
		"mansio.proxy.sent.bytes":                                                        4 * int64(len("body of 0")),
		"mansio.proxy.received.messages":                                                 3,
		"mansio.proxy.settled.messages ack":                                              1,
		"mansio.proxy.settled.messages extend":                                           1,
		"mansio.proxy.settled.messages bury":                                             1,
		"mansio.proxy.settled.messages release":                                          0,
		"messaging.client.sent.messages orders send" + " send rocketmq":                  4,
		"messaging.client.sent.messages MULTIPLE_RESULTS orders send" + " send rocketmq": 1,
		"messaging.client.sent.messages TOPIC_NOT_FOUND send" + " send rocketmq":         1,
		"messaging.client.consumed.messages g orders receive" + " receive rocketmq":      3,
		"messaging.client.operation.duration g orders ack settle rocketmq":               1,
		"messaging.client.operation.duration g orders change invisible settle rocketmq":  1,
		"messaging.client.operation.duration g orders dead letter settle rocketmq":       1,
		"messaging.client.operation.duration INVALID_RECEIPT_HANDLE ack settle rocketmq": 1,
		"mansio.proxy.clients":                                                           1,
		"mansio.proxy.receives.waiting":                                                  0,
		"mansio.proxy.sends.inflight":                                                    0,
		"mansio.proxy.sends.inflight.bytes":                                              0,
		"mansio.proxy.receives.inflight.bytes":                                           0,
		"mansio.proxy.send.refused":                                                      0,
	} {
		if n, there := got[what]; !there && want != 0 || n != want {
			t.Errorf("%s is %d, want %d", what, n, want)
		}
	}
	if got["mansio.proxy.store.attempts"] == 0 || got["mansio.proxy.received.bytes"] == 0 {
		t.Errorf("attempts %d, bytes %d", got["mansio.proxy.store.attempts"], got["mansio.proxy.received.bytes"])
	}
	f.stop()
	for what := range numbers(t, reader) {
		if strings.HasPrefix(what, "mansio.proxy.clients") {
			t.Error("a stopped proxy is still observed")
		}
	}
	if err := provider.Shutdown(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

const remoteTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// TestTraces says which spans there are, and that trace context goes into messages
// that have none and links what reads them.
func TestTraces(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	traced := func(c *Config, _ *controlv1.Cluster) { c.Tracer = provider }
	f := newFixture(t, traced)
	defer f.stop()
	f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
	f.with("c", func(c *client) {
		own := newMessage("orders", "own")
		own.SystemProperties.TraceContext = new(remoteTrace)
		wantCode(t, "send", c.send(own), pb.Code_OK)
		g := c.receive(receive("g", "orders"))
		if got := g.messages[0].GetSystemProperties().GetTraceContext(); got != remoteTrace {
			t.Errorf("the producer's context became %q", got)
		}
		c.ack("g", "orders", g.messages[0])
		c.mustSend("orders", "filled")
		g = c.receive(receive("g", "orders"))
		filled := g.messages[0].GetSystemProperties().GetTraceContext()
		c.send(newMessage("nobody", "m"))
		f.node.Intercept(func(op *storeapi.Op) bool {
			op.Done(storeapi.Reply{Code: storeapi.Internal})
			return true
		})
		c.send(newMessage("orders", "fails"))
		spans := recorder.Ended()
		var names []string
		for _, s := range spans {
			names = append(names, s.Name()+"/"+s.SpanKind().String()+"/"+s.Status().Code.String())
		}
		want := []string{
			"send orders/producer/Unset", "receive orders/consumer/Unset", "ack orders/client/Unset",
			"send orders/producer/Unset", "receive orders/consumer/Unset", "send/producer/Error", "send orders/producer/Error",
		}
		if !slices.Equal(names, want) {
			t.Fatalf("spans %q, want %q", names, want)
		}
		remote := trace.SpanContextFromContext(t.Context()).WithTraceID(spans[0].Links()[0].SpanContext.TraceID())
		if remote.TraceID().String() != remoteTrace[3:35] || spans[1].Links()[0].SpanContext.TraceID() != remote.TraceID() {
			t.Error("the spans of a message with a context are not linked to it")
		}
		if id := spans[3].SpanContext().TraceID().String(); !strings.Contains(filled, id) {
			t.Errorf("the message carries %q, its send is of trace %s", filled, id)
		}
		if spans[4].Links()[0].SpanContext.SpanID() != spans[3].SpanContext().SpanID() {
			t.Error("the receive is not linked to the send")
		}
		attrs := attribute.NewSet(spans[0].Attributes()...)
		for key, want := range map[attribute.Key]string{
			"messaging.system": "rocketmq", "messaging.operation.name": "send", "messaging.operation.type": "send", "messaging.destination.name": "orders",
		} {
			if v, _ := attrs.Value(key); v.AsString() != want {
				t.Errorf("%s is %q, want %q", key, v.AsString(), want)
			}
		}
	})
}

// TestTraceOfUser says that the context which an instrumented producer put into
// user properties is as good as the one in the system's.
func TestTraceOfUser(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	f := newFixture(t, func(c *Config, _ *controlv1.Cluster) { c.Tracer = provider })
	defer f.stop()
	f.ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
	f.with("c", func(c *client) {
		m := newMessage("orders", "m")
		m.UserProperties = map[string]string{traceparent: remoteTrace, tracestate: "vendor=1"}
		wantCode(t, "send", c.send(m), pb.Code_OK)
		got := c.receive(receive("g", "orders")).messages[0]
		if got.SystemProperties.TraceContext != nil || got.GetUserProperties()[tracestate] != "vendor=1" {
			t.Errorf("delivered with %v and %v", got.GetSystemProperties(), got.GetUserProperties())
		}
		for _, s := range recorder.Ended() {
			if len(s.Links()) != 1 {
				t.Fatalf("%s has %d links", s.Name(), len(s.Links()))
			}
			l := s.Links()[0].SpanContext
			if l.TraceID().String() != remoteTrace[3:35] || l.TraceState().Get("vendor") != "1" {
				t.Errorf("%s is linked to %v %v", s.Name(), l.TraceID(), l.TraceState())
			}
		}
	})
}

// TestTraceNonsense says that a context that is none disturbs nothing.
func TestTraceNonsense(t *testing.T) {
	for _, text := range []string{"", "nonsense", "00-00000000000000000000000000000000-b7ad6b7169203331-01"} {
		if s := spanContext(t.Context(), text, ""); s.IsValid() {
			t.Errorf("%q was read as %v", text, s)
		}
	}
	if !spanContext(t.Context(), remoteTrace, "").IsValid() {
		t.Error("a good one was not read")
	}
}
