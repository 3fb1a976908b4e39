// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/rpc"
)

// controllers is a connection to whichever controller leads: a call that finds
// one away or not leading goes to the next. It serves unary calls only.
type controllers struct {
	conns []grpc.ClientConnInterface
	last  atomic.Uint32 // the one that answered last
}

var _ grpc.ClientConnInterface = (*controllers)(nil)

// Invoke implements grpc.ClientConnInterface.
func (c *controllers) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	var answered, err error
	first := c.last.Load()
	for i := range uint32(len(c.conns)) { //nolint:gosec // few
		at := (first + i) % uint32(len(c.conns)) //nolint:gosec // few
		err = rpc.Fault(c.conns[at].Invoke(ctx, method, args, reply, opts...))
		if err == nil {
			c.last.Store(at)
			return nil
		}
		if kind := fault.KindOf(err); kind != fault.Unavailable && kind != fault.NotLeader || ctx.Err() != nil {
			return err
		}
		if answered == nil && rpc.Answered(err) {
			answered = err
		}
	}
	if answered == nil {
		return fault.Errorf("", fault.Unavailable, "no controller can be reached; sending and receiving go on: %s", rpc.Cause(err))
	}
	return answered
}

// NewStream implements grpc.ClientConnInterface.
func (c *controllers) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, fault.Errorf("proxy.controllers", fault.Unsupported, "only unary calls are forwarded")
}
