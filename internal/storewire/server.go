// SPDX-License-Identifier: Apache-2.0

package storewire

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mansiomq/mansio/internal/storeapi"
	storev1 "github.com/mansiomq/mansio/proto/mansio/store/v1"
)

// Target is where operations go: the store node.
type Target interface {
	// Submit follows the contract of package storeapi. It must not call Done with
	// a lock held that a further Submit needs.
	Submit([]*storeapi.Op)
}

// Server serves the far ends of peers. All methods may be called from any
// goroutine.
type Server struct {
	storev1.UnimplementedStoreServer

	target Target
	log    *slog.Logger
	// parkID numbers the Parks of all streams. The highest bit keeps them apart
	// from those of a peer in this process.
	parkID atomic.Uint64
	panics atomic.Uint64

	mu struct {
		sync.Mutex
		draining bool
		sessions map[*session]struct{}
		gone     chan struct{} // closed and renewed when a session ends
	}
}

const foreignPark = 1 << 63

// NewServer makes a server in front of target.
func NewServer(target Target, log *slog.Logger) *Server {
	s := &Server{target: target, log: log}
	s.mu.sessions = make(map[*session]struct{})
	s.mu.gone = make(chan struct{})
	return s
}

// Register adds the Store service to a gRPC server, which must choose its codecs
// by content type (no forced codec).
func (s *Server) Register(r grpc.ServiceRegistrar) { storev1.RegisterStoreServer(r, s) }

// Panics counts the panics that ended a stream.
func (s *Server) Panics() uint64 { return s.panics.Load() }

// Drain asks every proxy to end its streams, and returns when all are answered
// and gone or when ctx ends. New streams are refused from then on.
func (s *Server) Drain(ctx context.Context) error {
	for {
		s.mu.Lock()
		s.mu.draining = true
		left, gone := len(s.mu.sessions), s.mu.gone
		for ss := range s.mu.sessions {
			ss.close()
		}
		s.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("storewire: %d streams of proxies are still open: %w", left, ctx.Err())
		case <-gone:
		}
	}
}

func (s *Server) enter(ss *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.draining {
		return false
	}
	s.mu.sessions[ss] = struct{}{}
	return true
}

func (s *Server) leave(ss *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.sessions, ss)
	close(s.mu.gone)
	s.mu.gone = make(chan struct{})
}

// Exchange serves one stream; gRPC calls it.
func (s *Server) Exchange(stream grpc.BidiStreamingServer[storev1.OpBatch, storev1.ReplyBatch]) (err error) {
	defer s.contain(&err)
	var in inFrame
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	h, credit, err := decodeHello(in.data)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	ss := newSession(s, stream, h, credit)
	if !s.enter(ss) {
		return status.Error(codes.Unavailable, "the store node is stopping")
	}
	defer s.leave(ss)
	if err := stream.SendMsg(welcomeFrame()); err != nil {
		return err
	}
	return ss.serve()
}

// contain turns a panic into the end of the stream.
func (s *Server) contain(err *error) {
	if p := recover(); p != nil {
		s.panics.Add(1)
		s.log.Error("panic while serving a proxy's stream", "panic", p, "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "internal error of the store node")
	}
}
