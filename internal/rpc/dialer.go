// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mansiomq/mansio/internal/fault"
)

const (
	// memoryNetwork is what connections inside the process call their network.
	memoryNetwork = "bufconn"
	// memoryBytes is the buffer of one direction of such a connection.
	memoryBytes = 256 << 10
	// clientKeepaliveEvery is gRPC's lower bound.
	clientKeepaliveEvery = 10 * time.Second
	// clientKeepaliveWait is when a silent peer counts as gone.
	clientKeepaliveWait = 3 * time.Second
	// connectWait bounds one attempt to connect.
	connectWait = 3 * time.Second
)

// reconnect keeps trying quickly: a restarted process shall be found at once, and
// a process has few peers.
var reconnect = backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second}

// Dialer hands out connections, one per address, kept until Close. It alone
// knows which addresses are this process. Safe for concurrent use.
type Dialer struct {
	guard Guard
	extra []grpc.DialOption

	mu       sync.Mutex
	closed   bool
	isolated bool // no address outside this process can be reached
	conns    map[string]*grpc.ClientConn
	local    map[string]*memoryListener
}

// NewDialer makes a dialer whose calls present what the guard knows. Extra
// options go to gRPC as they are, for telemetry.
func NewDialer(guard Guard, extra ...grpc.DialOption) *Dialer {
	return &Dialer{
		guard: guard,
		extra: extra,
		conns: make(map[string]*grpc.ClientConn),
		local: make(map[string]*memoryListener),
	}
}

// Isolate cuts the dialer off from the network: from now on only addresses that
// are this process can be reached. Simulations in virtual time need that.
func (d *Dialer) Isolate() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.isolated = true
}

// Listen declares that address is this process. Calls to it, from connections
// made before or after, reach whoever serves the listener that it returns.
// Closing the listener takes the declaration back.
func (d *Dialer) Listen(address string) (net.Listener, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.local[address] != nil {
		return nil, fault.Errorf("rpc.Dialer.Listen", fault.Exists, "%s is served in this process already", address)
	}
	lis := &memoryListener{Listener: bufconn.Listen(memoryBytes), dialer: d, address: address}
	d.local[address] = lis
	return lis, nil
}

// Conn returns the connection to address, which connects when it is first used
// and again whenever it broke. It belongs to the dialer: never close it.
// Errors of calls over it are errors of package fault.
func (d *Dialer) Conn(address string) (grpc.ClientConnInterface, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fault.Errorf("rpc.Dialer.Conn", fault.Canceled, "the dialer is closed")
	}
	if conn := d.conns[address]; conn != nil {
		return conn, nil
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(d.guard.Credentials()),
		grpc.WithContextDialer(d.dial),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageBytesMax)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: clientKeepaliveEvery, Timeout: clientKeepaliveWait, PermitWithoutStream: true,
		}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: connectWait}),
		grpc.WithIdleTimeout(0),
		grpc.WithChainUnaryInterceptor(unaryFault),
		grpc.WithChainStreamInterceptor(streamFault),
	}
	conn, err := grpc.NewClient("passthrough:///"+address, append(options, d.extra...)...)
	if err != nil {
		return nil, fault.E("rpc.Dialer.Conn", fault.Invalid, err)
	}
	d.conns[address] = conn
	return conn, nil
}

// Forget closes the connection to an address that is used no more.
func (d *Dialer) Forget(address string) {
	d.mu.Lock()
	conn := d.conns[address]
	delete(d.conns, address)
	d.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // a second Close is all that can go wrong
	}
}

// Close closes all connections; calls in flight fail with kind Canceled.
func (d *Dialer) Close() error {
	d.mu.Lock()
	conns := d.conns
	d.conns, d.closed = nil, true
	d.mu.Unlock()
	var failed error
	for _, conn := range conns {
		failed = errors.Join(failed, conn.Close())
	}
	return failed
}

func (d *Dialer) dial(ctx context.Context, address string) (net.Conn, error) {
	d.mu.Lock()
	lis, isolated := d.local[address], d.isolated
	d.mu.Unlock()
	if lis != nil {
		return lis.DialContext(ctx)
	}
	if isolated {
		return nil, fault.Errorf("rpc.Dialer", fault.Unavailable, "nobody serves %s in this process", address)
	}
	var network net.Dialer
	return network.DialContext(ctx, "tcp", address)
}

// memoryListener is a registered listener that takes its registration back when
// it is closed.
type memoryListener struct {
	*bufconn.Listener
	dialer  *Dialer
	address string
}

// Close implements net.Listener.
func (l *memoryListener) Close() error {
	l.dialer.mu.Lock()
	if l.dialer.local[l.address] == l {
		delete(l.dialer.local, l.address)
	}
	l.dialer.mu.Unlock()
	return l.Listener.Close()
}

// unaryFault gives the errors of unary calls their kind.
var unaryFault grpc.UnaryClientInterceptor = func(
	ctx context.Context, method string, req, reply any,
	cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	return Fault(invoker(ctx, method, req, reply, cc, opts...))
}

// streamFault gives the errors of streams their kind.
var streamFault grpc.StreamClientInterceptor = func(
	ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string,
	streamer grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := streamer(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, Fault(err)
	}
	return &faultStream{stream}, nil
}

// faultStream gives the errors of a stream their kind.
type faultStream struct{ grpc.ClientStream }

func (s *faultStream) RecvMsg(m any) error { return streamError(s.ClientStream.RecvMsg(m)) }

func (s *faultStream) SendMsg(m any) error { return streamError(s.ClientStream.SendMsg(m)) }

// streamError leaves the end of a stream alone: io.EOF is compared by identity.
func streamError(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return Fault(err)
}
