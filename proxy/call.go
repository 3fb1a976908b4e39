// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	"github.com/mansiomq/mansio/proxy/session"
)

const (
	// serviceName is the service that SDKs call.
	serviceName = "apache.rocketmq.v2.MessagingService"

	headerClientID = "x-mq-client-id"
	headerLanguage = "x-mq-language"

	// timeDefault is how long a call may take whose client sets no deadline, as
	// official clients would set it.
	timeDefault = 3 * time.Second
	// timeMax bounds the time that a client may give to a call that does not poll.
	timeMax = 30 * time.Second
	// answerMargin is how long before the client's deadline the work on a call
	// ends, so that the answer arrives.
	answerMargin = 100 * time.Millisecond
)

// call is one call of a client.
type call struct {
	ctx    context.Context //nolint:containedctx // a call is as long as its context
	p      *Proxy
	client *session.Client
	fresh  bool // this call made the client known
	at     time.Time
}

// deadline is when the work on the call must end.
func (c *call) deadline() time.Time {
	until := c.at.Add(timeDefault)
	if d, ok := c.ctx.Deadline(); ok {
		until = d.Add(-answerMargin)
		if limit := c.at.Add(timeMax); until.After(limit) {
			until = limit
		}
	}
	return until
}

func (c *call) nowMS() int64 { return c.p.o.Now().UnixMilli() }

// header is the first value of a request's header.
func header(ctx context.Context, name string) string {
	if values := metadata.ValueFromIncomingContext(ctx, name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// host is the client's address without the port, as this server sees it.
func (c *call) host() string {
	p, ok := peer.FromContext(c.ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	text := p.Addr.String()
	if i := strings.LastIndexByte(text, ':'); i > 0 {
		text = strings.Trim(text[:i], "[]")
	}
	return text
}

// begin identifies the client of a call.
func (p *Proxy) begin(ctx context.Context, method string) (call, *pb.Status) {
	c := call{ctx: ctx, p: p, at: p.o.Now()}
	if p.o.Hook != nil {
		p.o.Hook(method)
	}
	id := header(ctx, headerClientID)
	if strings.TrimSpace(id) == "" {
		return c, status(pb.Code_CLIENT_ID_REQUIRED, "client id cannot be empty: send the header "+headerClientID)
	}
	if len(id) > storeapi.ClientIDBytesMax {
		return c, statusf(pb.Code_BAD_REQUEST, "client id has %d bytes, at most %d are allowed", len(id), storeapi.ClientIDBytesMax)
	}
	if c.client = p.clients.Find(id); c.client != nil {
		c.client.Seen(c.at.UnixMilli())
	} else {
		c.fresh = true
		c.client = p.clients.Touch(id, header(ctx, headerLanguage), c.at.UnixMilli())
	}
	return c, nil
}

// end forgets a client of which nothing is known but that its call was refused.
func (c *call) end(code pb.Code) {
	if c.fresh && code >= pb.Code_BAD_REQUEST && code != pb.Code_MESSAGE_NOT_FOUND {
		c.p.clients.Forget(c.client)
	}
}

// caught turns a panic into a status. It is called deferred, with what recover
// returned.
func (p *Proxy) caught(ctx context.Context, method string, panicked any) *pb.Status {
	p.meter.panics.Add(1)
	p.o.Log.ErrorContext(ctx, "call panicked", "call", method, "panic", panicked, "stack", string(debug.Stack()))
	return status(pb.Code_INTERNAL_SERVER_ERROR, "internal error in "+method)
}

type response interface{ GetStatus() *pb.Status }

// unary describes a call with one response. refuse makes the response that has
// only a status.
func unary[Req any, Resp response](
	name string, serve func(*Proxy, *call, *Req) Resp, refuse func(*pb.Status) Resp,
) grpc.MethodDesc {
	full := "/" + serviceName + "/" + name
	method := methodIndex(name)
	run := func(p *Proxy, ctx context.Context, req *Req) (resp Resp) {
		start := p.o.Now()
		defer func() {
			if v := recover(); v != nil {
				resp = refuse(p.caught(ctx, name, v))
			}
			p.meter.ended(ctx, method, resp.GetStatus().GetCode(), p.o.Now().Sub(start))
		}()
		c, bad := p.begin(ctx, name)
		if bad != nil {
			return refuse(bad)
		}
		resp = serve(p, &c, req)
		c.end(resp.GetStatus().GetCode())
		return resp
	}
	return grpc.MethodDesc{
		MethodName: name,
		Handler: func(srv any, ctx context.Context, dec func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			req := new(Req)
			if err := dec(req); err != nil {
				return nil, err
			}
			p := srv.(*Proxy) //nolint:forcetypeassert // Register passes nothing else
			if intercept == nil {
				return run(p, ctx, req), nil
			}
			info := &grpc.UnaryServerInfo{Server: srv, FullMethod: full}
			return intercept(ctx, req, info, func(ctx context.Context, req any) (any, error) {
				return run(p, ctx, req.(*Req)), nil //nolint:forcetypeassert // interceptors pass it on
			})
		},
	}
}

// stream describes a call with one request and many responses. refuse sends the
// responses that say only a status.
func stream[Req any](
	name string, serve func(*Proxy, *call, *Req, grpc.ServerStream) (pb.Code, error), refuse func(*Proxy, grpc.ServerStream, *pb.Status) error,
) grpc.StreamDesc {
	method := methodIndex(name)
	return grpc.StreamDesc{
		StreamName: name, ServerStreams: true,
		Handler: func(srv any, ss grpc.ServerStream) (err error) {
			req := new(Req)
			if err := ss.RecvMsg(req); err != nil {
				return err
			}
			p := srv.(*Proxy) //nolint:forcetypeassert // Register passes nothing else
			ctx, code, start := ss.Context(), pb.Code_INTERNAL_SERVER_ERROR, p.o.Now()
			defer func() {
				if v := recover(); v != nil {
					err = refuse(p, ss, p.caught(ctx, name, v))
				}
				p.meter.ended(ctx, method, code, p.o.Now().Sub(start))
			}()
			c, bad := p.begin(ctx, name)
			if bad != nil {
				code = bad.GetCode()
				return refuse(p, ss, bad)
			}
			code, err = serve(p, &c, req, ss)
			c.end(code)
			return err
		},
	}
}
