// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// bench is a meter, a clock, and what was deleted.
type bench struct {
	*Meter
	t       testing.TB
	reader  *sdk.ManualReader
	at      time.Time
	deleted map[string]bool
}

func newBench(t testing.TB) *bench {
	b := &bench{t: t, reader: sdk.NewManualReader(), at: time.Unix(0, 0), deleted: map[string]bool{}}
	provider := sdk.NewMeterProvider(sdk.WithReader(b.reader))
	var err error
	b.Meter, err = New(Options{
		Meter: provider.Meter("test"), Now: func() time.Time { return b.at },
		Exists: func(topic, group string) bool { return !b.deleted[topic] && !b.deleted[group] },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func (b *bench) send(topic string) {
	b.Count(context.Background(), Event{Operation: Send, Topic: topic, Messages: 1, Took: time.Millisecond, Code: pb.Code_OK})
}

// numbers are all series: sums, and how often durations were recorded.
func (b *bench) numbers() map[string]int64 {
	b.t.Helper()
	var all metricdata.ResourceMetrics
	if err := b.reader.Collect(context.Background(), &all); err != nil {
		b.t.Fatal(err)
	}
	out := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			name := strings.TrimPrefix(m.Name, "messaging.client.")
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					out[name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] += p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					out[name+" "+p.Attributes.Encoded(attribute.DefaultEncoder())] += int64(p.Count)
				}
			}
		}
	}
	return out
}

func TestSeries(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	b.Count(ctx, Event{Operation: Send, Topic: "orders", Messages: 3, Took: time.Second, Code: pb.Code_OK})
	b.Count(ctx, Event{Operation: Receive, Topic: "orders", Group: "g", Messages: 2, Took: time.Second, Code: pb.Code_OK})
	b.Count(ctx, Event{Operation: Ack, Topic: "orders", Group: "g", Messages: 2, Took: time.Second, Code: pb.Code_OK})
	b.Count(ctx, Event{Operation: Send, Topic: "orders", Messages: 4, Took: time.Second, Code: pb.Code_TOO_MANY_REQUESTS})
	b.Count(ctx, Event{Operation: Send, Topic: "orders", Messages: 7, Stored: 5, Took: time.Second, Code: pb.Code_MULTIPLE_RESULTS})
	b.Count(ctx, Event{Operation: Send, Messages: 1, Took: time.Second, Code: pb.Code_TOPIC_NOT_FOUND})
	b.Count(ctx, Event{Operation: Ack, Topic: "orders", Messages: 1, Took: time.Second, Code: pb.Code_INVALID_RECEIPT_HANDLE})
	const system = ",messaging.system=rocketmq"
	send := ",messaging.operation.name=send,messaging.operation.type=send" + system
	const ack = ",messaging.operation.name=ack,messaging.operation.type=settle" + system
	const receive = ",messaging.operation.name=receive,messaging.operation.type=receive" + system
	const pair = "messaging.consumer.group.name=g,messaging.destination.name=orders"
	want := map[string]int64{
		"sent.messages messaging.destination.name=orders" + send:                              3 + 5,
		"sent.messages error.type=MULTIPLE_RESULTS,messaging.destination.name=orders" + send:  2,
		"sent.messages error.type=TOO_MANY_REQUESTS,messaging.destination.name=orders" + send: 4,
		"sent.messages error.type=TOPIC_NOT_FOUND" + send:                                     1,
		"consumed.messages " + pair + receive:                                                 2,
		"operation.duration messaging.destination.name=orders" + send:                         1,
		"operation.duration " + pair + receive:                                                1,
		"operation.duration " + pair + ack:                                                    1,
		"operation.duration error.type=TOO_MANY_REQUESTS" + send:                              1,
		"operation.duration error.type=MULTIPLE_RESULTS" + send:                               1,
		"operation.duration error.type=TOPIC_NOT_FOUND" + send:                                1,
		"operation.duration error.type=INVALID_RECEIPT_HANDLE" + ack:                          1,
	}
	if diff := cmp.Diff(want, b.numbers()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b.deleted["g"] = true
	if _, there := b.numbers()["consumed.messages "+pair+receive]; there {
		t.Error("a deleted group is still counted")
	}
	b.deleted["orders"] = true
	for series := range b.numbers() {
		if strings.HasPrefix(series, "sent") && strings.Contains(series, "orders") {
			t.Errorf("a deleted topic is still counted: %s", series)
		}
	}
}

// sums are the messages sent to topics, and how many durations name each.
func (b *bench) sums(topic string) (sent, timed int64) {
	const rest = ",messaging.operation.name=send,messaging.operation.type=send,messaging.system=rocketmq"
	all := b.numbers()
	return all["sent.messages messaging.destination.name="+topic+rest], all["operation.duration messaging.destination.name="+topic+rest]
}

// Whoever comes when all places are taken is one of the others, until a place is
// idle; and series of durations stay few whatever comes and goes.
func TestPlaces(t *testing.T) {
	b := newBench(t)
	for i := range PlacesMax {
		b.send(fmt.Sprint("t", i))
	}
	b.send("late")
	b.send(Other) // a topic of that name
	if sent, timed := b.sums(Other); sent != 2 || timed != 2 {
		t.Errorf("others: %d sent, %d timed", sent, timed)
	}
	b.at = b.at.Add(idleMax)
	b.send("t0")
	b.numbers()
	b.send("late")
	if sent, _ := b.sums("late"); sent != 1 {
		t.Errorf("a place of an idle topic was not given away: %d", sent)
	}
	if sent, _ := b.sums("t0"); sent != 2 {
		t.Errorf("a busy topic lost its place: %d", sent)
	}
	if sent, _ := b.sums("t1"); sent != 0 {
		t.Error("an idle topic is still shown")
	}
	for i := range 3 * PlacesMax {
		topic := fmt.Sprint("n", i)
		b.send(topic)
		b.deleted[topic] = true
		if i%PlacesMax == 0 {
			b.numbers()
		}
	}
	timed := 0
	for series := range b.numbers() {
		if strings.HasPrefix(series, "operation.duration") {
			timed++
		}
	}
	if timed != 2*PlacesMax+1 {
		t.Errorf("%d series of durations", timed)
	}
}

// Failures name no topic when there are too many kinds of them.
func TestManyFailures(t *testing.T) {
	b := newBench(t)
	for i := range 2 * errorsMax {
		b.Count(t.Context(), Event{Operation: Send, Topic: fmt.Sprint("t", i), Messages: 1, Code: pb.Code_INTERNAL_SERVER_ERROR})
	}
	if n := len(b.numbers()); n > errorsMax+2 {
		t.Errorf("%d series", n)
	}
}

// Counting and looking at the same time loses nothing of a place that stays.
func TestConcurrent(t *testing.T) {
	b := newBench(t)
	const workers, each = 4, 200
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range each {
				b.send("orders")
				b.Count(context.Background(), Event{Operation: Receive, Code: pb.Code(40000 + i%3)})
			}
		})
	}
	all.Go(func() {
		for range 20 {
			b.numbers()
		}
	})
	all.Wait()
	if sent, timed := b.sums("orders"); sent != workers*each || timed != workers*each {
		t.Errorf("%d sent, %d timed", sent, timed)
	}
}

func TestNoMemory(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		b.Count(ctx, Event{Operation: Send, Topic: "orders", Messages: 1, Took: time.Millisecond, Code: pb.Code_OK})
		b.Count(ctx, Event{Operation: Ack, Topic: "orders", Group: "g", Messages: 1, Took: time.Millisecond, Code: pb.Code_OK})
	}); n != 0 {
		t.Errorf("counting allocates %v times", n)
	}
}
