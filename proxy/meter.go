// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/usage"
)

// answers are the codes of responses; a code's index is its number in counters.
var answers = func() []pb.Code {
	all := make([]pb.Code, 0, len(pb.Code_name))
	for n := range pb.Code_name {
		all = append(all, pb.Code(n))
	}
	slices.Sort(all)
	return all
}()

// verdictNames are the ways to settle.
var verdictNames = [...]string{storeapi.Ack: "ack", storeapi.Extend: "extend", storeapi.Release: "release", storeapi.Bury: "bury"}

// meter counts what a proxy does. Counting is an atomic addition; instruments
// read the counters when they are asked.
type meter struct {
	calls    [][]atomic.Uint64 // by method and code
	panics   atomic.Uint64
	sends    traffic
	receives traffic
	settles  [len(verdictNames)]atomic.Uint64 // successful ones
	usage    *usage.Meter

	duration     metric.Float64Histogram
	methodAttrs  [][]metric.RecordOption // by method
	registration metric.Registration
}

// traffic is messages and the bytes of their bodies or payloads.
type traffic struct{ messages, bytes atomic.Uint64 }

func newMeter(m metric.Meter, p *Proxy) (*meter, error) {
	if m == nil {
		m = noop.NewMeterProvider().Meter(scopeName)
	}
	out := &meter{calls: make([][]atomic.Uint64, len(methods)), methodAttrs: make([][]metric.RecordOption, len(methods))}
	for i, name := range methods {
		out.calls[i] = make([]atomic.Uint64, len(answers))
		out.methodAttrs[i] = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attribute.String("rpc.method", name)))}
	}
	var err error
	out.duration, err = m.Float64Histogram("mansio.proxy.call.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of calls of clients; waiting for messages is part of a receive."))
	if err != nil {
		return nil, err
	}
	if err := out.register(m, p); err != nil {
		return nil, err
	}
	out.usage, err = usage.New(usage.Options{Meter: m, Now: p.o.Now, Exists: p.exists})
	return out, err
}

// observed is one number that is read when asked for.
type observed struct {
	name, unit, description string
	gauge                   bool
	read                    func() uint64
}

func count(v *atomic.Uint64) func() uint64 { return v.Load }

func (m *meter) observed(p *Proxy) []observed {
	c := p.router.Counters()
	level := func(read func() int64) func() uint64 {
		return func() uint64 { return uint64(max(read(), 0)) }
	}
	return []observed{
		{"mansio.proxy.panics", "{panic}", "Panics in calls of clients.", false, count(&m.panics)},
		{"mansio.proxy.sent.messages", "{message}", "Messages stored for producers.", false, count(&m.sends.messages)},
		{"mansio.proxy.sent.bytes", "By", "Bytes of the bodies of messages stored for producers.", false, count(&m.sends.bytes)},
		{"mansio.proxy.received.messages", "{message}", "Messages handed to consumers.", false, count(&m.receives.messages)},
		{"mansio.proxy.received.bytes", "By", "Bytes of messages handed to consumers.", false, count(&m.receives.bytes)},
		{"mansio.proxy.store.attempts", "{operation}", "Operations handed to stores.", false, count(&c.Attempts)},
		{"mansio.proxy.store.retries", "{operation}", "Operations handed to stores again.", false, count(&c.Retries)},
		{"mansio.proxy.store.unknown", "{operation}", "Operations whose outcome was not known.", false, count(&c.Unknown)},
		{"mansio.proxy.store.no_leader", "{operation}", "Times that no leader of a shard could be reached.", false, count(&c.NoLeader)},
		{"mansio.proxy.send.refused", "{request}", "Sends refused because too many were under way.", false, count(&c.Overloads)},
		{"mansio.proxy.clients", "{client}", "Clients that gave a sign of life lately.", true, level(func() int64 { return int64(p.clients.Len()) })},
		{"mansio.proxy.clients.refused", "{call}", "Calls of clients that are not remembered because too many are.", false, p.clients.Refused},
		{"mansio.proxy.clients.bytes", "By", "Memory of what clients consume, about.", true, level(p.clients.Bytes)},
		{"mansio.proxy.receives.waiting", "{request}", "Receives that wait for messages.", true, level(func() int64 { return int64(p.lot.Waiting()) })},
		{"mansio.proxy.sends.inflight", "{request}", "Sends under way.", true, level(func() int64 { n, _ := p.router.InFlight(); return n })},
		{"mansio.proxy.sends.inflight.bytes", "By", "Bytes of sends under way.", true, level(func() int64 { _, b := p.router.InFlight(); return b })},
		{"mansio.proxy.receives.inflight.bytes", "By", "Bytes of messages on their way to consumers.", true, level(p.receiving.used.Load)},
	}
}

// register offers the counters to whoever collects.
func (m *meter) register(meter metric.Meter, p *Proxy) error {
	calls, err := meter.Int64ObservableCounter("mansio.proxy.calls", metric.WithUnit("{call}"),
		metric.WithDescription("Calls of clients, by method and code."))
	if err != nil {
		return err
	}
	settled, err := meter.Int64ObservableCounter("mansio.proxy.settled.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Deliveries settled, by verdict."))
	if err != nil {
		return err
	}
	all := m.observed(p)
	instruments := []metric.Observable{calls, settled}
	plain := make([]metric.Int64Observable, len(all))
	for i, o := range all {
		if o.gauge {
			plain[i], err = meter.Int64ObservableUpDownCounter(o.name, metric.WithUnit(o.unit), metric.WithDescription(o.description))
		} else {
			plain[i], err = meter.Int64ObservableCounter(o.name, metric.WithUnit(o.unit), metric.WithDescription(o.description))
		}
		if err != nil {
			return err
		}
		instruments = append(instruments, plain[i])
	}
	m.registration, err = meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		for i, o := range all {
			to.ObserveInt64(plain[i], int64(o.read())) //nolint:gosec // far from 2^63
		}
		m.observeCalls(to, calls)
		for v, name := range verdictNames {
			to.ObserveInt64(settled, int64(m.settles[v].Load()), metric.WithAttributes(attribute.String("verdict", name))) //nolint:gosec // see above
		}
		return nil
	}, instruments...)
	return err
}

func (m *meter) observeCalls(to metric.Observer, calls metric.Int64Observable) {
	for i, byCode := range m.calls {
		for j := range byCode {
			if n := byCode[j].Load(); n > 0 {
				to.ObserveInt64(calls, int64(n), metric.WithAttributes( //nolint:gosec // far from 2^63
					attribute.String("rpc.method", methods[i]), attribute.String("code", answers[j].String())))
			}
		}
	}
}

// ended counts a call.
func (m *meter) ended(ctx context.Context, method int, code pb.Code, took time.Duration) {
	if i, found := slices.BinarySearch(answers, code); found {
		m.calls[method][i].Add(1)
	}
	m.duration.Record(ctx, took.Seconds(), m.methodAttrs[method]...)
}

// used counts an operation of a client by topic and group, which are nil unless
// they exist.
func (m *meter) used(c *call, op usage.Operation, names party, messages int, s *pb.Status) {
	m.usage.Count(c.ctx, usage.Event{
		Operation: op, Topic: names.topic.GetName(), Group: names.group.GetName(),
		Messages: messages, Took: c.p.o.Now().Sub(c.at), Code: s.GetCode(),
	})
}

// exists reports whether there is a topic and, if it is named, a group.
func (p *Proxy) exists(topic, group string) bool {
	snap := p.o.Table.Snapshot()
	return snap.TopicByName(topic) != nil && (group == "" || snap.GroupByName(group) != nil)
}

// sent counts a send to a topic; bodies are the sizes of its messages.
func (m *meter) sent(c *call, topic *controlv1.Topic, resp *pb.SendMessageResponse, bodies []int) {
	stored, size := 0, 0
	for i, e := range resp.GetEntries() {
		if e.GetStatus().GetCode() == pb.Code_OK {
			stored++
			size += bodies[i]
		}
	}
	m.sends.messages.Add(uint64(stored))
	m.sends.bytes.Add(uint64(size))
	m.usage.Count(c.ctx, usage.Event{
		Operation: usage.Send, Topic: topic.GetName(), Messages: len(bodies), Stored: stored,
		Took: c.p.o.Now().Sub(c.at), Code: resp.GetStatus().GetCode(),
	})
}

func (m *meter) received(taken *storeapi.TakeResult) {
	size := 0
	for i := range taken.Messages {
		size += len(taken.Messages[i].Payload)
	}
	m.receives.messages.Add(uint64(len(taken.Messages)))
	m.receives.bytes.Add(uint64(size))
}

func (m *meter) settled(v storeapi.Verdict, s *pb.Status) {
	if s.GetCode() == pb.Code_OK {
		m.settles[v].Add(1)
	}
}

// close stops offering the counters.
func (m *meter) close() {
	_ = m.registration.Unregister()
	m.usage.Close()
}
