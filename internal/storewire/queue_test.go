// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"log/slog"
	"testing"

	"google.golang.org/grpc/mem"

	"github.com/mansiomq/mansio/internal/storeapi"
	storev1 "github.com/mansiomq/mansio/proto/mansio/store/v1"
)

// TestQueueDoesNotCreep: a queue that is never empty stays as small as what
// waits in it, and keeps its order.
func TestQueueDoesNotCreep(t *testing.T) {
	l := newLane(nil, PeerOptions{Logger: slog.New(slog.DiscardHandler)}, storev1.Lane_LANE_WRITE)
	s := &sender{l: l, build: builder{pool: mem.NopBufferPool{}}}
	done := func(storeapi.Reply) {}
	body := make([]byte, 100<<10) // two fill a message
	submitted, sent := uint64(0), uint64(0)
	submit := func() {
		l.submit([]*storeapi.Op{{TermHint: 0, TopicRevision: int64(submitted), Request: &storeapi.Append{Payloads: [][]byte{body}}, Done: done}})
		submitted++
	}
	for range 8 {
		submit()
	}
	for range 10_000 {
		more := s.gather()
		if !more {
			t.Fatal("the queue ran empty")
		}
		for _, o := range s.batch {
			if o.op.TopicRevision != int64(sent) {
				t.Fatalf("operation %d came where %d was due", o.op.TopicRevision, sent)
			}
			sent++
			l.mu.Lock()
			l.remove(o.id, l.mu.ops.get(o.id))
			l.mu.Unlock()
			submit()
		}
		s.batch = s.batch[:0]
	}
	if n := cap(l.mu.queue); n > 64 {
		t.Errorf("8 operations wait in a queue of %d", n)
	}
}
