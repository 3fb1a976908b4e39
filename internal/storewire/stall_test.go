// SPDX-License-Identifier: Apache-2.0

package storewire_test

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/status"

	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/internal/storewire/peertest"
	storev1 "github.com/mansiomq/mansio/proto/mansio/store/v1"
)

// generated speaks the data path with generated code, under its content type.
type generated struct{ encoding.CodecV2 }

func (generated) Name() string { return "mansio-store" }

var byHand = grpc.ForceCodecV2(generated{encoding.GetCodecV2(proto.Name)})

func hello(lane storev1.Lane) *storev1.OpBatch {
	return &storev1.OpBatch{Hello: &storev1.Hello{Version: 1, Proxy: "test", Lane: lane}, CreditBytes: 1 << 20}
}

// TestGeneratedClient: a client of generated code is served, so the .proto file
// says all that is needed.
func TestGeneratedClient(t *testing.T) {
	w := connect(t, peertest.NewStore())
	stream, err := storev1.NewStoreClient(w.conn).Exchange(t.Context(), byHand)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(hello(storev1.Lane_LANE_READ)); err != nil {
		t.Fatal(err)
	}
	if b, err := stream.Recv(); err != nil || b.GetWelcome().GetVersion() != 1 {
		t.Fatalf("%v, %v", b, err)
	}
	if err := stream.Send(&storev1.OpBatch{Ops: []*storev1.Op{{Id: 5, Request: &storev1.Op_Offsets{Offsets: &storev1.Offsets{Topic: 1}}}}}); err != nil {
		t.Fatal(err)
	}
	b, err := stream.Recv()
	if err != nil || len(b.GetReplies()) != 1 || b.GetReplies()[0].GetId() != 5 || b.GetReplies()[0].GetCode() != storev1.Code_CODE_OK {
		t.Fatalf("%v, %v", b, err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err == nil {
		t.Fatal("the stream goes on")
	}
}

// TestRefusals: what breaks the protocol ends the stream with a reason, and
// nothing else.
func TestRefusals(t *testing.T) {
	w := connect(t, peertest.NewStore())
	offsets := &storev1.Op{Id: 1, Request: &storev1.Op_Offsets{Offsets: &storev1.Offsets{}}}
	part := func(id, total uint64, n int) *storev1.OpBatch {
		return &storev1.OpBatch{Parts: []*storev1.Part{{Id: id, TotalBytes: total, Data: make([]byte, n)}}}
	}
	wrongVersion := hello(storev1.Lane_LANE_READ)
	wrongVersion.Hello.Version = 2
	for name, batches := range map[string][]*storev1.OpBatch{
		"no hello":          {{Ops: []*storev1.Op{offsets}}},
		"another version":   {wrongVersion},
		"no lane":           {hello(0)},
		"an op without one": {hello(1), {Ops: []*storev1.Op{{Id: 1}}}},
		"too large a part":  {hello(1), part(1, 1<<40, 10)},
		"an empty part":     {hello(1), part(1, 100, 0)},
		"mixed parts":       {hello(1), part(1, 100, 10), part(2, 100, 10)},
		"part beyond end":   {hello(1), part(1, 100, 60), part(1, 100, 60)},
	} {
		stream, err := storev1.NewStoreClient(w.conn).Exchange(t.Context(), byHand)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			if err := stream.Send(b); err != nil {
				break // Recv says why
			}
		}
		for err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	a := make(answers, 1)
	a.submit(w.peer, &storeapi.Offsets{}, time.Time{})
	a.expect(t, storeapi.OK)
}

// feast is a target whose Takes find a large message each; it counts them.
type feast struct {
	body  []byte
	takes atomic.Int64
}

func (f *feast) Submit(ops []*storeapi.Op) {
	for _, op := range ops {
		r := storeapi.Reply{}
		if _, take := op.Request.(*storeapi.Take); take {
			f.takes.Add(1)
			r.Result = &storeapi.TakeResult{Grant: 8, Messages: []storeapi.Taken{{Payload: f.body}}}
		}
		op.Done(r)
	}
}

// TestSlowReader: a proxy that does not read gets no more than BytesMax of
// messages leased for it, and another one is served as ever.
func TestSlowReader(t *testing.T) {
	target := &feast{body: bytes.Repeat([]byte("x"), 1<<20)}
	w := connect(t, target)
	stream, err := storev1.NewStoreClient(w.conn).Exchange(t.Context(), byHand)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(hello(storev1.Lane_LANE_READ)); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	const takes, others = 100, 50
	for i := range takes {
		take := &storev1.Take{Filter: &storev1.Filter{Kind: 1}, Max: 1, BytesMax: 1 << 20}
		op := &storev1.Op{Id: uint64(i), Request: &storev1.Op_Take{Take: take}}
		if err := stream.Send(&storev1.OpBatch{Ops: []*storev1.Op{op}}); err != nil {
			t.Fatal(err)
		}
	}
	a := make(answers, 1)
	for range others { // more than enough time for the other's Takes to come in
		a.submit(w.peer, &storeapi.Take{Max: 1}, time.Time{})
		a.expect(t, storeapi.OK)
	}
	// Its credit was 1 MiB: what is with gRPC by then, and BytesMax waiting.
	if n := target.takes.Load() - others; n > storeapi.BytesMax/int64(len(target.body))+8 {
		t.Errorf("%d Takes of 1 MiB were made for a proxy that does not read", n)
	}
	// It reads again: all are served.
	replies, data := 0, 0
	for replies < takes {
		if err := stream.Send(&storev1.OpBatch{CreditBytes: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		b, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range b.GetParts() {
			if data += len(p.GetData()); uint64(data) == p.GetTotalBytes() {
				replies, data = replies+1, 0
			}
		}
	}
}

// TestCredit: the store sends no more than it was allowed, until the proxy ends
// its side.
func TestCredit(t *testing.T) {
	w := connect(t, &feast{body: bytes.Repeat([]byte("x"), 1<<20)})
	stream, err := storev1.NewStoreClient(w.conn).Exchange(t.Context(), byHand)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(hello(storev1.Lane_LANE_READ)); err != nil { // 1 MiB
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		take := &storev1.Take{Filter: &storev1.Filter{Kind: 1}, Max: 1, BytesMax: 1 << 20}
		if err := stream.Send(&storev1.OpBatch{Ops: []*storev1.Op{{Id: uint64(i), Request: &storev1.Op_Take{Take: take}}}}); err != nil {
			t.Fatal(err)
		}
	}
	got := 0
	receive := func() error {
		b, err := stream.Recv()
		for _, p := range b.GetParts() {
			got += len(p.GetData())
		}
		return err
	}
	for got < 1<<20-frame {
		if err := receive(); err != nil {
			t.Fatal(err)
		}
	}
	if got > 1<<20+frame {
		t.Errorf("%d bytes were sent on a credit of 1 MiB", got)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = receive()
	}
	if !errors.Is(err, io.EOF) || got < 4<<20 || got > 4<<20+4096 { // bodies and what stands around them
		t.Errorf("%d bytes and then %v, want 4 MiB and the end", got, err)
	}
}

// frame is the longest message on a stream.
const frame = 256 << 10
