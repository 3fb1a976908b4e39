// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"log/slog"
	"testing"

	"google.golang.org/grpc/mem"

	"github.com/mansiomq/mansio/internal/storeapi"
	storev1 "github.com/mansiomq/mansio/proto/mansio/store/v1"
)

// FuzzOpBatch: whatever a proxy sends becomes whole operations or an error.
func FuzzOpBatch(f *testing.F) {
	b := builder{pool: mem.NopBufferPool{}}
	for _, q := range requests() {
		b.add(1, 64, func(dst []byte) []byte { return appendOp(dst, 1, &storeapi.Op{Request: q}, 0) })
	}
	f.Add(*b.take().buf)
	f.Add([]byte("\x1a\x12\x08\x02\x10\x0c\x1a\x0c\x08\x02\xaa\x01\x02\x08\x07\x10\x01\x18\x01\x20")) // a whole Unpark in one part
	f.Fuzz(func(t *testing.T, wire []byte) {
		ss := &session{server: NewServer(nil, slog.New(slog.DiscardHandler)), wake: make(chan struct{}, 1)}
		ss.mu.parks = make(map[uint64]parked)
		batch, err := ss.decode(wire, &assembler{}, nil)
		if err != nil {
			return
		}
		for _, op := range ss.admit(batch) {
			if op.Request == nil || op.Done == nil {
				t.Fatalf("%+v", op)
			}
		}
		if ss.mu.credit < 0 || ss.mu.bytes > storeapi.BytesMax || ss.mu.reserved > storeapi.BytesMax {
			t.Fatalf("credit %d, bytes %d, reserved %d", ss.mu.credit, ss.mu.bytes, ss.mu.reserved)
		}
	})
}

// FuzzReplyBatch: whatever a store sends completes each operation at most once.
func FuzzReplyBatch(f *testing.F) {
	const ops = 4
	b := builder{pool: mem.NopBufferPool{}}
	for id := range uint64(ops) {
		b.add(id, 64, func(dst []byte) []byte { return appendReply(dst, id, &storeapi.Reply{Code: storeapi.OK}) })
	}
	f.Add(*b.take().buf)
	f.Fuzz(func(t *testing.T, wire []byte) {
		l := newLane(nil, PeerOptions{Logger: slog.New(slog.DiscardHandler)}, storev1.Lane_LANE_READ)
		answers := make(map[int64]int)
		for i := range int64(ops) {
			l.submit([]*storeapi.Op{{TopicRevision: i, Request: &storeapi.Offsets{}, Done: func(storeapi.Reply) { answers[i]++ }}})
		}
		s := &sender{l: l, build: builder{pool: mem.NopBufferPool{}}}
		s.gather()
		s.markWritten()
		var done []completion
		_, _ = l.decode(wire, &assembler{}, &done) // an error ends the stream; what came before it counts
		complete(done)
		for op, n := range answers {
			if n > 1 {
				t.Fatalf("operation %d was answered %d times", op, n)
			}
		}
		if len(answers) != ops-l.mu.ops.used {
			t.Fatalf("%d answered, %d left", len(answers), l.mu.ops.used)
		}
	})
}
