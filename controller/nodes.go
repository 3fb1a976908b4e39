// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
)

// silence remembers since when nodes have no session.
type silence struct {
	start time.Time // of the reign: nobody remembers what was before

	mu    sync.Mutex
	since map[ident.Node]time.Time // guarded; one per node that ever had a session
}

func newSilence(start time.Time) *silence {
	return &silence{start: start, since: make(map[ident.Node]time.Time)}
}

func (s *silence) began(node ident.Node, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since[node] = at
}

func (s *silence) of(node ident.Node) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.since[node]; ok {
		return at
	}
	return s.start
}

// attended notes that a session's reports are listened to from now on.
func (s *sessions) attended(session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session.since = s.now()
}

// since tells since when a node reports, or does not.
func (s *sessions) since(node ident.Node) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch session := s.mu.open[node]; {
	case session == nil || session.since.IsZero():
		return s.silence.of(node)
	case s.now().Sub(session.seen) >= silenceMax:
		return session.seen
	default:
		return session.since
	}
}

// liveIDs are the ids of the nodes that report now.
func (s *sessions) liveIDs() []uint64 {
	var ids []uint64
	for _, node := range s.live() {
		ids = append(ids, uint64(node.ID))
	}
	slices.Sort(ids)
	return ids
}

// measure counts nodes by state until the result is called.
func (r *reign) measure() (stop func(), err error) {
	gauge, err := r.config.Meter.Int64ObservableGauge("mansio.controller.nodes", metric.WithUnit("{node}"),
		metric.WithDescription("Store nodes: alive ones report to the controller, away ones do not"))
	if err != nil {
		return nil, fault.E("controller", fault.Internal, err)
	}
	callback, err := r.config.Meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		alive := len(r.sessions.live())
		for state, n := range map[string]int{"alive": alive, "away": max(0, r.table.Snapshot().Counts().Nodes-alive)} {
			o.ObserveInt64(gauge, int64(n), metric.WithAttributes(attribute.String("state", state)))
		}
		return nil
	}, gauge)
	if err != nil {
		return nil, fault.E("controller", fault.Internal, err)
	}
	return func() { _ = callback.Unregister() }, nil // nothing is measured any more
}
