// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/handle"
	"github.com/mansiomq/mansio/proxy/route"
	"github.com/mansiomq/mansio/proxy/wire"
)

// instant is a store that has done everything already.
type instant struct {
	appended storeapi.AppendResult
	settled  storeapi.SettleResult
}

func (s *instant) Up() bool { return true }

func (s *instant) Submit(ops []*storeapi.Op) {
	for _, op := range ops {
		switch op.Request.(type) {
		case *storeapi.Append:
			op.Done(storeapi.Reply{Result: &s.appended})
		default:
			op.Done(storeapi.Reply{Result: &s.settled})
		}
	}
}

// newBare is a proxy without a server, over an instant store.
func newBare(b *testing.B) (*Proxy, context.Context) {
	b.Helper()
	store := &instant{
		appended: storeapi.AppendResult{Entries: make([]storeapi.Appended, 1)},
		settled:  storeapi.SettleResult{Codes: make([]storeapi.Code, 1)},
	}
	ctl := &controller{table: newTable(), rev: 1}
	p, err := New(Config{
		Table: ctl.table, Controllers: []grpc.ClientConnInterface{ctl}, Incarnation: 1, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		CheckAdmin: func(context.Context) error { return nil }, Peers: func(*controlv1.Node) route.Peer { return store },
	})
	if err != nil {
		b.Fatal(err)
	}
	leader := &controlv1.ReplicaID{Node: 1}
	if err := ctl.table.Apply(&controlv1.WatchResponse{
		Snapshot: true, Revision: 1, Nodes: []*controlv1.Node{{Id: 1, Name: "n"}},
		Cluster: &controlv1.Cluster{Uuid: "c", HandleKeys: []*controlv1.HandleKey{{Id: 1, Secret: []byte("secret")}}},
		Shards: []*controlv1.Shard{
			{Id: 1, Phase: controlv1.Phase_PHASE_STEADY, Leader: leader}, {Id: 2, Phase: controlv1.Phase_PHASE_STEADY, Leader: leader},
		},
	}); err != nil {
		b.Fatal(err)
	}
	ctl.topic("orders", controlv1.TopicType_TOPIC_TYPE_NORMAL)
	ctl.group(&controlv1.Group{Name: "g"})
	ctx := metadata.NewIncomingContext(b.Context(), metadata.Pairs(headerClientID, "host@1@2@3", headerLanguage, "GO"))
	return p, ctx
}

func handlerOf(name string) func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
	for _, m := range messaging().Methods {
		if m.MethodName == name {
			return m.Handler
		}
	}
	return nil
}

func run(b *testing.B, name string, request []byte) {
	p, ctx := newBare(b)
	codec, serve := wire.NewCodec(), handlerOf(name)
	data := mem.BufferSlice{mem.SliceBuffer(request)}
	b.ReportAllocs()
	for b.Loop() {
		resp, err := serve(p, ctx, func(req any) error { return codec.Unmarshal(data, req) }, nil)
		if err != nil || resp.(response).GetStatus().GetCode() != pb.Code_OK {
			b.Fatal(resp, err)
		}
	}
}

func marshaled(b *testing.B, m proto.Message) []byte {
	out, err := proto.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// BenchmarkSend is what a send costs beside gRPC and the store.
func BenchmarkSend(b *testing.B) {
	m := newMessage("orders", "01B6B45F2D1E2A3B0000000001")
	m.Body = bytes.Repeat([]byte("x"), 1024)
	run(b, "SendMessage", marshaled(b, &pb.SendMessageRequest{Messages: []*pb.Message{m}}))
}

// BenchmarkAck is what an acknowledgement costs beside gRPC and the store.
func BenchmarkAck(b *testing.B) {
	c := handle.NewCodec("c", []handle.Key{{ID: 1, Secret: []byte("secret")}})
	h := handle.Handle{Shard: 1, Delivery: storeapi.Delivery{Topic: 1, Group: 2}}
	run(b, "AckMessage", marshaled(b, &pb.AckMessageRequest{
		Group: resource("g"), Topic: resource("orders"), Entries: []*pb.AckMessageEntry{{MessageId: "m", ReceiptHandle: string(c.Append(nil, &h))}},
	}))
}
