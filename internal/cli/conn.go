// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/rpc"
)

// Server says where commands go and how.
type Server struct {
	// Address is host:port.
	Address string
	// TLS encrypts; the certificate is checked against CAFile, else the system's
	// authorities, unless SkipVerify.
	TLS        bool
	CAFile     string
	SkipVerify bool
	// AdminTokenFile holds the token to present.
	AdminTokenFile string
	// Timeout bounds every call.
	Timeout time.Duration
}

// connectWithin bounds one attempt to connect.
const connectWithin = 5 * time.Second

// messageBytesMax is above what any answer to a command may have.
const messageBytesMax = 64 << 20

// Conn is a connection for commands.
type Conn struct {
	*grpc.ClientConn

	timeout time.Duration
}

// Dial makes the connection; the network is touched by the first call.
func (s Server) Dial() (*Conn, error) {
	if host, port, err := net.SplitHostPort(s.Address); err != nil || host == "" || port == "" || strings.Contains(host, "/") {
		return nil, fault.Errorf("--server", fault.Invalid, "%q: give HOST:PORT", s.Address)
	}
	if s.Timeout <= 0 {
		return nil, fault.Errorf("--timeout", fault.Invalid, "%v: give a time to wait for, such as 10s", s.Timeout)
	}
	transport, err := s.credentials()
	if err != nil {
		return nil, err
	}
	guard, err := rpc.LoadGuard("", s.AdminTokenFile)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("passthrough:///"+s.Address,
		grpc.WithTransportCredentials(transport),
		grpc.WithPerRPCCredentials(guard.Credentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageBytesMax)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectWithin}),
	)
	if err != nil {
		return nil, fault.E("--server", fault.Invalid, err)
	}
	return &Conn{conn, s.Timeout}, nil
}

func (s Server) credentials() (credentials.TransportCredentials, error) {
	if !s.TLS {
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: s.SkipVerify} //nolint:gosec // the user says so
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fault.E("--tls-ca", fault.Invalid, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.Errorf("--tls-ca", fault.Invalid, "%s holds no PEM certificate", s.CAFile)
		}
	}
	return credentials.NewTLS(config), nil
}

// Call runs one call within the timeout and makes its error one that a person
// can act on.
func Call[Q, A any](
	ctx context.Context, c *Conn, call func(context.Context, *Q, ...grpc.CallOption) (*A, error), request *Q,
) (*A, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	answer, err := call(ctx, request)
	return answer, c.Explain(err)
}

// Explain adds what to do to errors that the server did not write.
func (c *Conn) Explain(err error) error { return Explain(err, c.Target(), c.timeout) }

// Explain adds what to do to errors that the server did not write: target is its
// address, and timeout how long an answer was waited for.
func Explain(err error, target string, timeout time.Duration) error {
	if err == nil {
		return nil
	}
	err = rpc.Fault(err)
	switch kind := fault.KindOf(err); {
	case errors.Is(err, context.Canceled):
		return err
	case rpc.Answered(err):
		return err
	case kind == fault.Unavailable && strings.Contains(err.Error(), "x509: "):
		return fault.Errorf("", kind, "%s (of a certificate that mansio made itself: --tls-ca DATA/tls/cert.pem, or --tls-skip-verify)", rpc.Cause(err))
	case kind == fault.Unavailable:
		return fault.Errorf("", kind, "%s (server %s: does it run? another one: --server HOST:PORT)", rpc.Cause(err), target)
	case kind == fault.Timeout:
		return fault.Errorf("", kind, "no answer from %s within %v (more: --timeout)", target, timeout)
	case kind == fault.Unsupported:
		return fault.Errorf("", kind, "%w (%s does not offer this: ask a proxy)", err, target)
	}
	return err
}

// Target is the address of the server.
func (c *Conn) Target() string {
	const scheme = "passthrough:///"
	return c.ClientConn.Target()[len(scheme):]
}
