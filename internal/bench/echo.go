// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	v2 "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// ballastBytes is the live heap of the echo server.
const ballastBytes = 64 << 20

// echo answers sends and routes, and does nothing else.
type echo struct {
	v2.UnimplementedMessagingServiceServer
}

// SendMessage implements v2.MessagingServiceServer.
func (echo) SendMessage(_ context.Context, q *v2.SendMessageRequest) (*v2.SendMessageResponse, error) {
	r := &v2.SendMessageResponse{Status: &v2.Status{Code: v2.Code_OK, Message: "OK"}}
	for _, m := range q.GetMessages() {
		r.Entries = append(r.Entries, &v2.SendResultEntry{
			Status: &v2.Status{Code: v2.Code_OK, Message: "OK"}, MessageId: m.GetSystemProperties().GetMessageId(), Offset: 1,
		})
	}
	return r, nil
}

// QueryRoute implements v2.MessagingServiceServer.
func (echo) QueryRoute(_ context.Context, q *v2.QueryRouteRequest) (*v2.QueryRouteResponse, error) {
	return &v2.QueryRouteResponse{
		Status: &v2.Status{Code: v2.Code_OK},
		MessageQueues: []*v2.MessageQueue{{
			Topic: q.GetTopic(), Permission: v2.Permission_READ_WRITE, Broker: &v2.Broker{Name: "echo", Endpoints: q.GetEndpoints()},
		}},
	}, nil
}

// ServeEcho runs the yardstick on a loopback port of its own until ctx ends. It
// writes the address as one line to out when it listens.
func ServeEcho(ctx context.Context, secure bool, out io.Writer) error {
	ballast := make([]byte, ballastBytes)
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	defer runtime.KeepAlive(ballast)
	var options []grpc.ServerOption
	if secure {
		cert, err := selfSigned()
		if err != nil {
			return err
		}
		options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(&cert)))
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := grpc.NewServer(options...)
	v2.RegisterMessagingServiceServer(s, echo{})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	fmt.Fprintln(out, l.Addr())
	select {
	case <-ctx.Done():
		s.Stop()
		return <-ended
	case err := <-ended:
		return err
	}
}

// selfSigned makes a certificate like the one that servers make for themselves.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
