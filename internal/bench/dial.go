// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"crypto/tls"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mansiomq/mansio/internal/rocketmq"
)

// receiveMax is above any answer to a receive.
const receiveMax = 64 << 20

// reconnect finds a restarted server soon.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
	MinConnectTimeout: 2 * time.Second,
}

// clients are connections to one server, each with a client id of its own.
type clients struct {
	all   []*rocketmq.Client
	conns []*grpc.ClientConn
}

// dial makes n connections; each connects at its first use.
func dial(address string, secure bool, n int) (*clients, error) {
	creds := insecure.NewCredentials()
	if secure {
		creds = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}) //nolint:gosec // as the official clients do
	}
	c := &clients{}
	for range n {
		conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds), grpc.WithConnectParams(reconnect),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(receiveMax)))
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.conns = append(c.conns, conn)
		client, err := rocketmq.New(conn, address)
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.all = append(c.all, client)
	}
	return c, nil
}

// of returns the client of a worker: workers share connections evenly.
func (c *clients) of(worker int) *rocketmq.Client { return c.all[worker%len(c.all)] }

func (c *clients) close() (err error) {
	for _, conn := range c.conns {
		err = errors.Join(err, conn.Close())
	}
	return err
}
