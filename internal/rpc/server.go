// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/mansiomq/mansio/internal/fault"
)

const (
	// messageBytesMax bounds one message on internal connections. Frames of the data path stay below 256 KiB;
	// the rest is for forwarded requests of administrators and large metadata.
	messageBytesMax = 24 << 20
	// streamsMax bounds the calls in flight on one connection: parked receives are calls too.
	streamsMax = 65536
	// headersMax bounds the headers of one call, in bytes: they hold tokens and names.
	headersMax = 64 << 10
	// keepaliveEvery is how long a connection may be silent before the server asks whether the peer lives.
	keepaliveEvery = 30 * time.Second
	// keepaliveWait is how long it then waits for the answer.
	keepaliveWait = 10 * time.Second
	// keepaliveMin is how often a client may ask; more often is abuse.
	keepaliveMin = 5 * time.Second
	// drainMax bounds what ServerOptions.Drain may take.
	drainMax = 5 * time.Second
	// graceMax is how long running calls may go on once streams were told to end.
	graceMax = 3 * time.Second
)

// errStopping ends streams when the server stops: callers try another process.
var errStopping = fault.Errorf("", fault.Unavailable, "this process is stopping")

// ServerOptions says how a server behaves. Zero fields are valid.
type ServerOptions struct {
	Log   *slog.Logger // nil: nothing is logged
	Meter metric.Meter // nil: nothing is counted
	// Guard decides who may call. Services whose full name is in Admin are for administrators,
	// those in Open for everybody, all others for the processes of this cluster.
	Guard Guard
	Admin []string
	Open  []string
	// Drain is called first when the server is told to stop, before streams are cut; it has drainMax.
	Drain func(ctx context.Context)
	// Extra options go to gRPC as they are, for telemetry.
	Extra []grpc.ServerOption
}

// Server is a gRPC server for internal services. Register services, then call
// Serve once. It is a grpc.ServiceRegistrar.
type Server struct {
	options ServerOptions
	grpc    *grpc.Server
	panics  metric.Int64Counter
	// stopping is done when streams shall end.
	stopping context.Context //nolint:containedctx // the server's own life
	stop     context.CancelCauseFunc
}

var _ grpc.ServiceRegistrar = (*Server)(nil)

// NewServer makes a server; it starts nothing.
func NewServer(options ServerOptions) *Server {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Meter == nil {
		options.Meter = noop.Meter{}
	}
	s := &Server{options: options}
	s.panics, _ = options.Meter.Int64Counter("mansio.rpc.panics", metric.WithUnit("{panic}"),
		metric.WithDescription("Calls that ended in a panic of their handler"))
	settings := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(messageBytesMax),
		grpc.MaxHeaderListSize(headersMax),
		grpc.MaxConcurrentStreams(streamsMax),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveEvery, Timeout: keepaliveWait}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMin, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(s.unary),
		grpc.ChainStreamInterceptor(s.stream),
	}
	s.grpc = grpc.NewServer(append(settings, options.Extra...)...)
	return s
}

// RegisterService implements grpc.ServiceRegistrar.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	s.grpc.RegisterService(desc, impl)
}

// Serve answers on all listeners until ctx is done, then drains, ends the
// streams, lets unary calls finish for a while, and returns when everything is
// gone. The listeners are closed in any case. It returns an error when a listener
// broke.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	s.stopping, s.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	defer s.stop(errStopping)
	broken := make(chan error, len(listeners))
	for _, lis := range listeners {
		go func() { broken <- s.grpc.Serve(lis) }()
	}
	left := len(listeners)
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-broken:
		left--
	}
	s.shutDown(ctx)
	for ; left > 0; left-- {
		if err := <-broken; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

func (s *Server) shutDown(ctx context.Context) {
	if s.options.Drain != nil {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainMax)
		s.options.Drain(drain)
		cancel()
	}
	s.stop(errStopping)
	hard := time.AfterFunc(graceMax, s.grpc.Stop)
	s.grpc.GracefulStop()
	hard.Stop()
	s.grpc.Stop()
}

func (s *Server) unary(
	ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler,
) (resp any, err error) {
	defer s.recovered(ctx, info.FullMethod, &err)
	if err := s.admit(ctx, info.FullMethod); err != nil {
		return nil, Status(err)
	}
	resp, err = handler(ctx, req)
	return resp, Status(err)
}

func (s *Server) stream(
	srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler,
) (err error) {
	defer s.recovered(ss.Context(), info.FullMethod, &err)
	if err := s.admit(ss.Context(), info.FullMethod); err != nil {
		return Status(err)
	}
	ctx, cancel := context.WithCancelCause(ss.Context())
	defer cancel(nil)
	detach := context.AfterFunc(s.stopping, func() { cancel(errStopping) })
	defer detach()
	err = handler(srv, &endingStream{ss, ctx})
	if err != nil && errors.Is(context.Cause(ctx), errStopping) {
		err = errStopping
	}
	return Status(err)
}

// recovered turns a panic into an answer.
func (s *Server) recovered(ctx context.Context, method string, err *error) {
	value := recover()
	if value == nil {
		return
	}
	s.panics.Add(ctx, 1, metric.WithAttributes(attribute.String("rpc.method", method)))
	s.options.Log.ErrorContext(ctx, "a handler panicked", "method", method, "panic", value, "stack", string(debug.Stack()))
	*err = Status(fault.Errorf("", fault.Internal, "internal error; the log of the server has the details"))
}

func (s *Server) admit(ctx context.Context, method string) error {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	switch {
	case slices.Contains(s.options.Open, service):
		return nil
	case slices.Contains(s.options.Admin, service):
		return s.options.Guard.CheckAdmin(ctx)
	default:
		return s.options.Guard.CheckCluster(ctx)
	}
}

// endingStream is a stream whose context also ends when the server stops.
type endingStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // a stream is where gRPC keeps the context of its call
}

func (s *endingStream) Context() context.Context { return s.ctx }
