// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// Operation is what a client did.
type Operation uint8

// The operations.
const (
	Send Operation = iota
	Receive
	Ack
	ChangeInvisible
	DeadLetter
	operations
)

// Name is the operation's name in metrics and spans.
func (o Operation) Name() string { return operationNames[o].name }

// Kind is the operation's type, one of those of the conventions.
func (o Operation) Kind() string { return operationNames[o].kind }

var operationNames = [operations]struct{ name, kind string }{
	Send: {"send", "send"}, Receive: {"receive", "receive"}, Ack: {"ack", "settle"},
	ChangeInvisible: {"change invisible", "settle"}, DeadLetter: {"dead letter", "settle"},
}

// errorsMax bounds the sets of operation, topic and error that are counted
// apart; failures behind it name no topic.
const errorsMax = 400

// Options say what a Meter works with.
type Options struct {
	Meter metric.Meter // nil: nothing is measured
	Now   func() time.Time
	// Exists reports whether a topic and, if it is named, a group are there (still).
	Exists func(topic, group string) bool
}

// Meter counts. Its methods may be called from any goroutine.
type Meter struct {
	topics, pairs *places
	duration      metric.Float64Histogram
	registration  metric.Registration

	mu     sync.Mutex
	failed map[failure]*failures // guarded by mu
	slow   map[failure][]metric.RecordOption
}

// failure is a way to fail. Without a topic: of all topics.
type failure struct {
	topic string
	op    Operation
	code  pb.Code
}

type failures struct {
	messages int64
	attrs    metric.ObserveOption
}

// New makes a Meter. Close ends it.
func New(o Options) (*Meter, error) {
	if o.Meter == nil {
		o.Meter = noop.NewMeterProvider().Meter("")
	}
	m := &Meter{
		topics: newPlaces(o.Now, o.Exists, false), pairs: newPlaces(o.Now, o.Exists, true),
		failed: make(map[failure]*failures), slow: make(map[failure][]metric.RecordOption),
	}
	var err error
	m.duration, err = o.Meter.Float64Histogram("messaging.client.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of operations of clients, as the proxy sees them; a receive waits for messages."))
	if err != nil {
		return nil, err
	}
	sent, err := o.Meter.Int64ObservableCounter("messaging.client.sent.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Messages that producers sent."))
	if err != nil {
		return nil, err
	}
	consumed, err := o.Meter.Int64ObservableCounter("messaging.client.consumed.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Messages that were delivered to consumers."))
	if err != nil {
		return nil, err
	}
	m.registration, err = o.Meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		m.topics.observe(to, sent)
		m.pairs.observe(to, consumed)
		m.observeFailed(to, sent)
		return nil
	}, sent, consumed)
	return m, err
}

// Close stops offering the numbers.
func (m *Meter) Close() { _ = m.registration.Unregister() }

// Event is an operation that ended.
type Event struct {
	Operation
	// Topic and Group are names of what exists. Group is empty for Send, Topic may
	// be for what failed.
	Topic, Group string
	Messages     int
	Stored       int // of Messages, by a Send that failed for the others
	Took         time.Duration
	Code         pb.Code // of the answer
}

// Count counts an operation.
func (m *Meter) Count(ctx context.Context, e Event) {
	if e.Code != pb.Code_OK {
		m.fail(ctx, &e)
		return
	}
	places, n := m.pairs, name{e.Topic, e.Group}
	if e.Operation == Send {
		places, n.group = m.topics, ""
	}
	p := places.of(n)
	if e.Operation == Send || e.Operation == Receive {
		p.messages.Add(int64(e.Messages))
	}
	p.touched.Store(true)
	m.duration.Record(ctx, e.Took.Seconds(), p.took[e.Operation]...)
}

func (m *Meter) fail(ctx context.Context, e *Event) {
	m.mu.Lock()
	key := failure{op: e.Operation, code: e.Code}
	slow := m.slow[key]
	if slow == nil {
		slow = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(append(operationAttrs(key.op), errorType(key.code))...))}
		m.slow[key] = slow
	}
	if e.Operation == Send {
		m.failedLocked(e.Topic, key).messages += int64(e.Messages - e.Stored)
	}
	m.mu.Unlock()
	if e.Stored > 0 {
		p := m.topics.of(name{topic: e.Topic})
		p.messages.Add(int64(e.Stored))
		p.touched.Store(true)
	}
	m.duration.Record(ctx, e.Took.Seconds(), slow...)
}

// failedLocked is the count of a way to fail.
func (m *Meter) failedLocked(topic string, key failure) *failures {
	key.topic = topic
	if f := m.failed[key]; f != nil {
		return f
	}
	attrs := append(operationAttrs(key.op), errorType(key.code))
	switch {
	case topic == "":
	case len(m.failed) < errorsMax:
		attrs = append(attrs, semconv.MessagingDestinationName(topic))
	default:
		return m.failedLocked("", key)
	}
	f := &failures{attrs: metric.WithAttributeSet(attribute.NewSet(attrs...))}
	m.failed[key] = f
	return f
}

func (m *Meter) observeFailed(to metric.Observer, sent metric.Int64Observable) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, f := range m.failed {
		if key.topic != "" && !m.topics.exists(key.topic, "") {
			delete(m.failed, key)
			continue
		}
		to.ObserveInt64(sent, f.messages, f.attrs)
	}
}

func operationAttrs(op Operation) []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.MessagingSystemRocketMQ,
		semconv.MessagingOperationName(op.Name()), semconv.MessagingOperationTypeKey.String(op.Kind()),
	}
}

func errorType(code pb.Code) attribute.KeyValue { return semconv.ErrorTypeKey.String(code.String()) }
