// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"

	"github.com/pires/go-proxyproto"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/mansiomq/mansio/internal/fault"
)

const (
	// recordHandshake is the first byte of every TLS connection.
	recordHandshake = 0x16
	// peekBytes holds what is read before it is known what a connection speaks.
	peekBytes = 256
	// headerBytes holds a PROXY header: load balancers append facts to those of
	// version 2, such as ids and names of certificates, and it must come whole.
	headerBytes = 4 << 10
)

// Info is what is known of a connection. It is the AuthInfo of gRPC's peer.
type Info struct {
	credentials.CommonAuthInfo
	TLS bool
	Via net.Addr // the real other end of the connection
}

// AuthType names the transport.
func (i Info) AuthType() string {
	if i.TLS {
		return "tls"
	}
	return "plaintext"
}

// Local reports whether a call comes from this machine: both by the connection
// and by what a load balancer says. A connection in memory is local.
func Local(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	via := p.Addr
	if info, ok := p.AuthInfo.(Info); ok {
		via = info.Via
	}
	return loopback(p.Addr) && loopback(via)
}

func loopback(a net.Addr) bool {
	switch a := a.(type) {
	case nil:
		return false
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	default:
		return a.Network() != "tcp" && a.Network() != "udp"
	}
}

// sniffer shakes hands with whatever connects. It implements
// credentials.TransportCredentials for servers only.
type sniffer struct {
	tls   credentials.TransportCredentials
	proxy bool // expect a PROXY header
}

var errClient = errors.New("listen: these credentials are a server's")

func newSniffer(config *tls.Config, proxyProtocol bool) *sniffer {
	return &sniffer{tls: credentials.NewTLS(config), proxy: proxyProtocol}
}

// conn is a connection of which the first bytes are read already.
type conn struct {
	net.Conn
	reader *bufio.Reader
	remote net.Addr
}

func (c *conn) Read(b []byte) (int, error) { return c.reader.Read(b) }

func (c *conn) RemoteAddr() net.Addr { return c.remote }

// ServerHandshake implements credentials.TransportCredentials. gRPC calls it in
// a goroutine of the connection, with the deadline set.
func (s *sniffer) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	size := peekBytes
	if s.proxy {
		size = headerBytes
	}
	c := &conn{Conn: raw, reader: bufio.NewReaderSize(raw, size), remote: raw.RemoteAddr()}
	if s.proxy {
		if err := c.readProxyHeader(); err != nil {
			return nil, nil, err
		}
	}
	first, err := c.reader.Peek(1)
	if err != nil {
		return nil, nil, fault.Errorf("listen.handshake", fault.Unavailable, "nothing came: %w", err)
	}
	info := Info{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}, Via: raw.RemoteAddr(),
	}
	if first[0] != recordHandshake {
		return c, info, nil
	}
	shaken, _, err := s.tls.ServerHandshake(c)
	if err != nil {
		return nil, nil, err
	}
	info.TLS, info.SecurityLevel = true, credentials.PrivacyAndIntegrity
	return shaken, info, nil
}

func (c *conn) readProxyHeader() error {
	header, err := proxyproto.Read(c.reader)
	switch {
	case errors.Is(err, proxyproto.ErrNoProxyProtocol):
		return nil
	case err != nil:
		return fault.Errorf("listen.handshake", fault.Invalid, "PROXY header: %w", err)
	case header.Command.IsProxy() && header.SourceAddr != nil:
		c.remote = header.SourceAddr
	}
	return nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (s *sniffer) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errClient
}

// Info implements credentials.TransportCredentials.
func (s *sniffer) Info() credentials.ProtocolInfo { return s.tls.Info() }

// Clone implements credentials.TransportCredentials.
func (s *sniffer) Clone() credentials.TransportCredentials {
	return &sniffer{tls: s.tls.Clone(), proxy: s.proxy}
}

// OverrideServerName implements credentials.TransportCredentials.
func (s *sniffer) OverrideServerName(string) error { return errClient }

// Honest returns ctx with a peer whose address nobody can have invented in their
// favour: one that a PROXY header claims to be of this machine is replaced by
// the real other end. Checks that trust this machine get this context.
func Honest(ctx context.Context) context.Context {
	p, ok := peer.FromContext(ctx)
	if !ok || !loopback(p.Addr) || Local(ctx) {
		return ctx
	}
	seen := *p
	seen.Addr = p.AuthInfo.(Info).Via //nolint:forcetypeassert // else the address would be local
	return peer.NewContext(ctx, &seen)
}
