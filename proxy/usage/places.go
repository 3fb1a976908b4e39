// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

const (
	// PlacesMax bounds the topics, and the pairs of topic and group, that have
	// numbers of their own: what one page shows and one scrape can carry.
	PlacesMax = 100
	// Other is what all the rest is counted under.
	Other = "other"
	// idleMax is how long nothing may happen in a place that somebody else needs.
	idleMax = time.Hour
)

// name is a topic, or a pair of topic and group.
type name struct{ topic, group string }

// place is the numbers of one name.
type place struct {
	messages atomic.Int64
	touched  atomic.Bool // since the last look
	idle     time.Time   // the last look that found it touched; guarded by places.mu
	attrs    metric.ObserveOption
	took     [operations][]metric.RecordOption
}

// places are the numbers of names, by name. The map is never changed, only
// replaced.
type places struct {
	now    func() time.Time
	exists func(topic, group string) bool
	ops    []Operation
	other  *place
	full   atomic.Bool // nobody gets a place before the next look

	byName atomic.Pointer[map[name]*place]
	mu     sync.Mutex // of those who replace the map
	given  int        // places so far, guarded by mu
}

func newPlaces(now func() time.Time, exists func(topic, group string) bool, pairs bool) *places {
	l := &places{now: now, exists: exists, ops: []Operation{Send}}
	others := name{topic: Other}
	if pairs {
		l.ops = []Operation{Receive, Ack, ChangeInvisible, DeadLetter}
		others.group = Other
	}
	l.other = newPlace(others, l.ops)
	l.byName.Store(&map[name]*place{})
	return l
}

func newPlace(n name, ops []Operation) *place {
	p := &place{}
	for _, op := range ops {
		attrs := append(operationAttrs(op), semconv.MessagingDestinationName(n.topic))
		if n.group != "" {
			attrs = append(attrs, semconv.MessagingConsumerGroupName(n.group))
		}
		set := attribute.NewSet(attrs...)
		p.took[op] = []metric.RecordOption{metric.WithAttributeSet(set)}
		if op == ops[0] {
			p.attrs = metric.WithAttributeSet(set)
		}
	}
	return p
}

// of is the place of a name.
func (l *places) of(n name) *place {
	if p := (*l.byName.Load())[n]; p != nil {
		return p
	}
	if l.full.Load() || n.topic == Other {
		return l.other
	}
	return l.give(n)
}

// give gives a name a place if there is one.
func (l *places) give(n name) *place {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := *l.byName.Load()
	if p := all[n]; p != nil {
		return p
	}
	if len(all) >= PlacesMax {
		l.full.Store(true)
		return l.other
	}
	p := newPlace(n, l.ops)
	p.idle = l.now()
	l.given++
	if l.given > 2*PlacesMax {
		p.took = l.other.took
	}
	all = maps.Clone(all)
	all[n] = p
	l.byName.Store(&all)
	return p
}

// observe tells all numbers, and looks whose place is free.
func (l *places) observe(to metric.Observer, counter metric.Int64Observable) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all, now := *l.byName.Load(), l.now()
	kept := make(map[name]*place, len(all))
	for n, p := range all {
		if p.touched.Swap(false) {
			p.idle = now
		}
		if l.exists(n.topic, n.group) && (len(all) < PlacesMax || now.Sub(p.idle) < idleMax) {
			kept[n] = p
			to.ObserveInt64(counter, p.messages.Load(), p.attrs)
		}
	}
	if len(kept) < len(all) {
		l.byName.Store(&kept)
		l.full.Store(false)
	}
	if n := l.other.messages.Load(); n > 0 {
		to.ObserveInt64(counter, n, l.other.attrs)
	}
}
