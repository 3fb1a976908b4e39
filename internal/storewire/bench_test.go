// SPDX-License-Identifier: Apache-2.0

package storewire_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mansiomq/mansio/internal/storeapi"
	"github.com/mansiomq/mansio/internal/storewire"
)

// echo is a target that does nothing and answers at once.
type echo struct{}

func (echo) Submit(ops []*storeapi.Op) {
	for _, op := range ops {
		if q, isAppend := op.Request.(*storeapi.Append); isAppend {
			op.Done(storeapi.Reply{Result: &storeapi.AppendResult{Entries: make([]storeapi.Appended, len(q.Payloads))}})
		} else {
			op.Done(storeapi.Reply{})
		}
	}
}

// BenchmarkAppend is one Append of 1 KiB, answered at once, over TCP on the
// loopback interface, with so many in flight.
func BenchmarkAppend(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	g := grpc.NewServer()
	storewire.NewServer(echo{}, quiet).Register(g)
	go func() { _ = g.Serve(l) }()
	defer g.Stop()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	peer := storewire.NewPeer(conn, storewire.PeerOptions{Logger: quiet})
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- peer.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	until(b, "up", peer.Up)
	for _, inFlight := range []struct {
		name string
		n    int
	}{{"1", 1}, {"64", 64}, {"256", 256}} {
		b.Run(inFlight.name, func(b *testing.B) {
			b.ReportAllocs()
			payload := make([]byte, 1024)
			var bad atomic.Int64
			free := make(chan struct{}, inFlight.n)
			done := func(r storeapi.Reply) {
				if r.Code != storeapi.OK {
					bad.Add(1)
				}
				free <- struct{}{}
			}
			for range inFlight.n {
				free <- struct{}{}
			}
			for b.Loop() {
				<-free
				peer.Submit([]*storeapi.Op{{Request: &storeapi.Append{Payloads: [][]byte{payload}}, Done: done}})
			}
			for range inFlight.n {
				<-free
			}
			if bad.Load() > 0 {
				b.Errorf("%d operations failed", bad.Load())
			}
		})
	}
}
