// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mansiomq/mansio/internal/fault"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service answers calls with what the test wants to see on the wire.
type service struct {
	controlv1.UnimplementedMetadataServer
	controlv1.UnimplementedAdminServer
	fail    error // what every call returns
	panics  bool
	watched chan struct{} // closed when a Watch has begun
	drained bool
}

func (s *service) EnsureTopic(_ context.Context, req *controlv1.EnsureTopicRequest) (*controlv1.EnsureTopicResponse, error) {
	if s.panics {
		panic("no such road")
	}
	return &controlv1.EnsureTopicResponse{Topic: &controlv1.Topic{Name: req.GetName()}}, s.fail
}

func (s *service) GetTopic(_ context.Context, req *controlv1.GetTopicRequest) (*controlv1.TopicResponse, error) {
	return &controlv1.TopicResponse{Topic: &controlv1.Topic{Name: req.GetName()}}, s.fail
}

// Watch says one thing, then waits until the call is ended, unless it fails.
func (s *service) Watch(stream grpc.BidiStreamingServer[controlv1.WatchRequest, controlv1.WatchResponse]) error {
	if s.panics {
		panic("no such road")
	}
	if s.fail != nil {
		return s.fail
	}
	if err := stream.Send(&controlv1.WatchResponse{Revision: 7}); err != nil {
		return err
	}
	if s.watched != nil {
		close(s.watched)
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

// world is a server and a dialer that reaches it in memory as "station" and, if asked, over TCP.
type world struct {
	dialer *Dialer
	server *Server
	stop   func() error
	tcp    string
}

func start(t *testing.T, svc *service, server ServerOptions, client Guard) *world {
	t.Helper()
	server.Admin = []string{controlv1.Admin_ServiceDesc.ServiceName}
	w := &world{dialer: NewDialer(client), server: NewServer(server)}
	controlv1.RegisterMetadataServer(w.server, svc)
	controlv1.RegisterAdminServer(w.server, svc)
	lis, err := w.dialer.Listen("station")
	if err != nil {
		t.Fatal(err)
	}
	listeners := []net.Listener{lis}
	if svc.watched == nil { // those run in a bubble of virtual time, without sockets
		network, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		w.tcp = network.Addr().String()
		listeners = append(listeners, network)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.server.Serve(ctx, listeners...) }()
	w.stop = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		if err := w.dialer.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) conn(t *testing.T, address string) grpc.ClientConnInterface {
	t.Helper()
	conn, err := w.dialer.Conn(address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func (w *world) watch(t *testing.T, address string) error {
	t.Helper()
	stream, err := controlv1.NewMetadataClient(w.conn(t, address)).Watch(t.Context())
	if err != nil {
		return err
	}
	for err == nil {
		_, err = stream.Recv()
	}
	return err
}

func TestKindsCrossTheWire(t *testing.T) {
	svc := &service{}
	w := start(t, svc, ServerOptions{}, Guard{})
	for kind := range kindCodes {
		for _, address := range []string{"station", w.tcp} {
			svc.fail = fault.Errorf("op", kind, "because %d", 42)
			_, unary := controlv1.NewMetadataClient(w.conn(t, address)).EnsureTopic(t.Context(), &controlv1.EnsureTopicRequest{})
			for form, err := range map[string]error{"unary": unary, "stream": w.watch(t, address)} {
				if got := fault.KindOf(err); got != kind {
					t.Errorf("%s: %v arrived as %v", form, kind, got)
				}
				if got, want := status.Code(err), kindCodes[kind]; got != want {
					t.Errorf("%s: %v has code %v, not %v", form, kind, got, want)
				}
				if err == nil || err.Error() != "op: because 42" {
					t.Errorf("%s: text %v", form, err)
				}
			}
		}
	}
}

func TestStatusOfOtherErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		code codes.Code
		kind fault.Kind
	}{
		{"none", nil, codes.OK, fault.Other},
		{"plain", errors.New("x"), codes.Unknown, fault.Other},
		{"deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), codes.DeadlineExceeded, fault.Timeout},
		{"canceled", context.Canceled, codes.Canceled, fault.Canceled},
		{"a status", status.Error(codes.OutOfRange, "x"), codes.OutOfRange, fault.Invalid},
		{"a wrapped kind", fmt.Errorf("x: %w", fault.E("y", fault.DiskFull, nil)), codes.ResourceExhausted, fault.DiskFull},
		{"asked for", StatusAs(codes.FailedPrecondition, fault.E("y", fault.NotFound, nil)), codes.FailedPrecondition, fault.NotFound},
	} {
		err := Status(c.err)
		if got := status.Code(err); got != c.code {
			t.Errorf("%s: code %v, not %v", c.name, got, c.code)
		}
		if got := fault.KindOf(Fault(err)); got != c.kind {
			t.Errorf("%s: kind %v, not %v", c.name, got, c.kind)
		}
	}
}

func TestKindsAreComplete(t *testing.T) {
	for kind := fault.Other; !strings.HasPrefix(kind.String(), "kind "); kind++ {
		if _, ok := kindCodes[kind]; !ok {
			t.Errorf("%v has no code", kind)
		}
	}
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		if _, ok := codeKinds[code]; !ok {
			t.Errorf("%v has no kind", code)
		}
	}
}

func TestPanicAnswersInternal(t *testing.T) {
	svc := &service{panics: true}
	w := start(t, svc, ServerOptions{}, Guard{})
	_, err := controlv1.NewMetadataClient(w.conn(t, w.tcp)).EnsureTopic(t.Context(), &controlv1.EnsureTopicRequest{})
	for form, err := range map[string]error{"unary": err, "stream": w.watch(t, w.tcp)} {
		if !fault.Is(err, fault.Internal) || strings.Contains(err.Error(), "road") {
			t.Errorf("%s: %v", form, err)
		}
	}
	svc.panics = false
	if _, err := controlv1.NewMetadataClient(w.conn(t, w.tcp)).EnsureTopic(t.Context(), &controlv1.EnsureTopicRequest{}); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

// A caller that may know nothing yet cannot make the server hold megabytes of headers.
func TestHugeHeaders(t *testing.T) {
	w := start(t, &service{}, ServerOptions{}, Guard{})
	for _, n := range []int{8 << 10, 8 << 20} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "name", strings.Repeat("n", n))
		_, err := controlv1.NewMetadataClient(w.conn(t, w.tcp)).EnsureTopic(ctx, &controlv1.EnsureTopicRequest{})
		if (err != nil) != (n > headersMax) {
			t.Errorf("%d bytes of headers: %v", n, err)
		}
	}
}

func TestWhoMayCall(t *testing.T) {
	const secret, other, admin = "a-secret-of-the-cluster", "another-secret-entirely", "the-token-of-admins"
	for _, c := range []struct {
		name           string
		server, client Guard
		cluster, admin bool
	}{
		{"nothing configured, on this machine", Guard{}, Guard{}, true, true},
		{"the same secret", NewGuard(secret, ""), NewGuard(secret, ""), true, true},
		{"no secret", NewGuard(secret, ""), Guard{}, false, true},
		{"another secret", NewGuard(secret, ""), NewGuard(other, ""), false, true},
		{"admin token missing", NewGuard("", admin), Guard{}, true, false},
		{"admin token wrong", NewGuard("", admin), NewGuard("", admin+"x"), true, false},
		{"admin token", NewGuard("", admin), NewGuard("", admin), true, true},
		{"admin token without the secret", NewGuard(secret, admin), NewGuard("", admin), false, true},
		{"the secret without the admin token", NewGuard(secret, admin), NewGuard(secret, ""), true, true},
		{"a superfluous secret", Guard{}, NewGuard(secret, admin), true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := start(t, &service{}, ServerOptions{Guard: c.server}, c.client)
			for _, address := range []string{"station", w.tcp} {
				_, err := controlv1.NewMetadataClient(w.conn(t, address)).EnsureTopic(t.Context(), &controlv1.EnsureTopicRequest{})
				expectAdmitted(t, address+" cluster", err, c.cluster)
				_, err = controlv1.NewAdminClient(w.conn(t, address)).GetTopic(t.Context(), &controlv1.GetTopicRequest{})
				expectAdmitted(t, address+" admin", err, c.admin)
			}
		})
	}
}

func expectAdmitted(t *testing.T, what string, err error, want bool) {
	t.Helper()
	if (err == nil) != want || err != nil && !fault.Is(err, fault.Denied) {
		t.Errorf("%s: %v", what, err)
	}
}

func TestStopEndsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := &service{watched: make(chan struct{})}
		drain := func(context.Context) { svc.drained = true }
		w := start(t, svc, ServerOptions{Drain: drain}, Guard{})
		result := make(chan error, 1)
		go func() { result <- w.watch(t, "station") }()
		<-svc.watched
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
		if err := <-result; !fault.Is(err, fault.Unavailable) {
			t.Errorf("stream ended with %v", err)
		}
		if !svc.drained {
			t.Error("not drained")
		}
	})
}

func TestDialerLocalAddresses(t *testing.T) {
	w := start(t, &service{}, ServerOptions{}, Guard{})
	if _, err := w.dialer.Listen("station"); !fault.Is(err, fault.Exists) {
		t.Errorf("a second listener: %v", err)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	lis, err := w.dialer.Listen("station")
	if err != nil {
		t.Errorf("after the first one was closed: %v", err)
	}
	_ = lis.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = controlv1.NewMetadataClient(w.conn(t, w.tcp)).EnsureTopic(ctx, &controlv1.EnsureTopicRequest{})
	if !fault.Is(err, fault.Canceled) {
		t.Errorf("a cancelled call: %v", err)
	}
	if a, b := w.conn(t, "station"), w.conn(t, "station"); a != b {
		t.Error("two connections to one address")
	}
	w.dialer.Isolate()
	w.dialer.Forget(w.tcp)
	_, err = controlv1.NewMetadataClient(w.conn(t, w.tcp)).EnsureTopic(t.Context(), &controlv1.EnsureTopicRequest{})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "nobody serves "+w.tcp+" in this process") {
		t.Errorf("isolated: %v", err)
	}
	before := w.conn(t, "station")
	w.dialer.Forget("station")
	if w.conn(t, "station") == before {
		t.Error("forgotten, and still there")
	}
}

func TestEndOfStreamIsEOF(t *testing.T) {
	if err := streamError(io.EOF); err != io.EOF { //nolint:errorlint // identity is the contract
		t.Error(err)
	}
}
