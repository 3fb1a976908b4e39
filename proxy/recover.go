// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/rpc"
)

// recovering registers services whose calls survive a panic: it ends the call with
// an error and nothing else. The service of clients does that by itself, without
// an interceptor in the way of every message.
type recovering struct {
	to grpc.ServiceRegistrar
	p  *Proxy
}

// RegisterService implements grpc.ServiceRegistrar.
func (r recovering) RegisterService(d *grpc.ServiceDesc, impl any) {
	own := *d
	own.Methods = slices.Clone(d.Methods)
	for i := range own.Methods {
		m := &own.Methods[i]
		handler := m.Handler
		m.Handler = func(
			srv any, ctx context.Context, dec func(any) error, intercept grpc.UnaryServerInterceptor,
		) (resp any, err error) {
			defer func() {
				if v := recover(); v != nil {
					resp, err = nil, r.p.caughtError(ctx, m.MethodName, v)
				}
			}()
			return handler(srv, ctx, dec, intercept)
		}
	}
	r.to.RegisterService(&own, impl)
}

// caughtError is caught for a call that ends with an error.
func (p *Proxy) caughtError(ctx context.Context, method string, panicked any) error {
	return rpc.Status(fault.Errorf("", fault.Internal, "%s", p.caught(ctx, method, panicked).GetMessage()))
}
