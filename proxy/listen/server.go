// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/proxy/wire"
)

const (
	// handshakeMax is how long a connection may take until it speaks HTTP/2. What
	// still sends nothing then is closed, within 10 s of its coming.
	handshakeMax = 8 * time.Second
	// ConnectionsMax bounds the open connections: about 32 KiB each.
	ConnectionsMax = 32768
	// receiveMax bounds one request. A body may have 4 MiB; larger ones up to this
	// get an answer that says so, above it the call alone is refused.
	receiveMax = 20 << 20
	// streamsMax bounds the calls of one connection: a load balancer may carry
	// many clients, with several waiting receives each, over one.
	streamsMax = 16384
	// pingAfter finds dead clients, and keeps streams alive through middleboxes
	// that cut what is idle for a minute.
	pingAfter   = 30 * time.Second
	pingTimeout = 20 * time.Second
	// idleMax is how long a connection may be open without a call: clients that use
	// it have at least a telemetry stream on it.
	idleMax = 2 * time.Minute
	// headersMax bounds the headers of one call, in bytes: official SDKs send less
	// than one KiB.
	headersMax = 64 << 10
	// clientPingMin is the shortest time between pings of a client: SDKs ping also
	// without calls, the quickest each 10 s.
	clientPingMin = 5 * time.Second
	// workers serve short calls without the cost of new goroutines; calls that
	// find all of them busy get one of their own.
	workers = 16
)

// Options says how to listen.
type Options struct {
	// CertFile and KeyFile are PEM files; both empty: self-signed.
	CertFile, KeyFile string
	// Dir keeps the self-signed certificate; empty: it is made anew each time.
	Dir string
	// Hosts are names and addresses that a self-signed certificate is for, beside
	// those of this machine.
	Hosts []string
	// ProxyProtocol accepts PROXY headers, versions 1 and 2. Set it only behind
	// load balancers: anybody can send one.
	ProxyProtocol bool
	Now           func() time.Time
	Log           *slog.Logger
}

// ServerOptions returns how the gRPC server of the client port must be made:
// credentials, codec, sizes, keepalive.
func ServerOptions(o Options) ([]grpc.ServerOption, error) {
	config, err := tlsConfig(&o)
	if err != nil {
		return nil, err
	}
	return []grpc.ServerOption{
		grpc.Creds(newSniffer(config, o.ProxyProtocol)),
		grpc.ForceServerCodecV2(wire.NewCodec()),
		grpc.ConnectionTimeout(handshakeMax),
		grpc.MaxRecvMsgSize(receiveMax),
		grpc.MaxHeaderListSize(headersMax),
		grpc.MaxConcurrentStreams(streamsMax),
		grpc.NumStreamWorkers(workers),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout, MaxConnectionIdle: idleMax}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: clientPingMin, PermitWithoutStream: true}),
	}, nil
}

func tlsConfig(o *Options) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	switch {
	case o.CertFile != "" && o.KeyFile != "":
		c, err := newCertificates(o)
		if err != nil {
			return nil, err
		}
		config.GetCertificate = c.get
	case o.CertFile != "" || o.KeyFile != "":
		return nil, fault.Errorf("listen.TLS", fault.Invalid, "a certificate needs its key and a key its certificate: give both --tls-cert and --tls-key")
	default:
		pair, err := selfSigned(o)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{*pair}
	}
	return config, nil
}

// Listener is a listener that bounds the open connections.
type Listener struct {
	net.Listener
	open    atomic.Int64
	refused atomic.Uint64
	max     int64
}

// Limit returns inner with at most limit connections open; 0: ConnectionsMax.
func Limit(inner net.Listener, limit int) *Listener {
	if limit == 0 {
		limit = ConnectionsMax
	}
	return &Listener{Listener: inner, max: int64(limit)}
}

// Accept returns the next connection within the bound; others are closed.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.max {
			return &counted{Conn: c, open: &l.open}, nil
		}
		l.open.Add(-1)
		l.refused.Add(1)
		_ = c.Close()
	}
}

// Open is how many connections are open.
func (l *Listener) Open() int64 { return l.open.Load() }

// Refused is how many connections were closed at the bound.
func (l *Listener) Refused() uint64 { return l.refused.Load() }

// counted is a connection that counts until it is closed.
type counted struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}
