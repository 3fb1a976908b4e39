// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	"github.com/mansiomq/mansio/proxy/session"
)

// endSpread is the time over which telemetry streams end when the proxy stops.
const endSpread = time.Second

// received is one message of a client, or the end of its stream.
type received struct {
	command *pb.TelemetryCommand
	err     error
	caught  *pb.Status // reading panicked
}

// serveTelemetry agrees on settings with a client and hands it commands. The
// call's goroutine alone writes; another one reads for it.
func serveTelemetry(srv any, ss grpc.ServerStream) (err error) {
	p := srv.(*Proxy) //nolint:forcetypeassert // Register passes nothing else
	ctx, method, start := ss.Context(), methodIndex("Telemetry"), p.o.Now()
	code := pb.Code_OK
	defer func() {
		if v := recover(); v != nil {
			bad := p.caught(ctx, "Telemetry", v)
			code, err = bad.GetCode(), ss.SendMsg(&pb.TelemetryCommand{Status: bad})
		}
		p.meter.ended(ctx, method, code, p.o.Now().Sub(start))
	}()
	c, bad := p.begin(ctx, "Telemetry")
	if bad != nil {
		code = bad.GetCode()
		return ss.SendMsg(&pb.TelemetryCommand{Status: bad})
	}
	if !p.open.enter() {
		return nil // stopping: the client is to go elsewhere
	}
	defer p.open.leave()
	stream := c.client.Open()
	defer func() {
		stream.Close(c.nowMS())
		if err != nil {
			c.end(pb.Code_BAD_REQUEST) // a stream that breaks says no more of a client than a refusal
		}
	}()
	return p.converse(&c, ss, stream)
}

// converse serves a stream until the client, the connection or the proxy ends it.
func (p *Proxy) converse(c *call, ss grpc.ServerStream, stream *session.Stream) error {
	in := make(chan received)
	go p.read(c.ctx, ss, in)
	reconnect := p.open.reconnect
	ending := p.open.ending
	for {
		select {
		case <-c.ctx.Done():
			return c.ctx.Err()
		case m := <-in:
			if m.caught != nil {
				return ss.SendMsg(&pb.TelemetryCommand{Status: m.caught})
			}
			if m.err != nil {
				if errors.Is(m.err, io.EOF) {
					return nil
				}
				return m.err
			}
			c.at = p.o.Now()
			if err := p.hearClient(c, ss, m.command); err != nil {
				return err
			}
		case command := <-stream.Commands():
			if err := ss.SendMsg(command); err != nil {
				return err
			}
		case <-reconnect:
			reconnect = nil
			if err := ss.SendMsg(p.reconnectCommand()); err != nil {
				return err
			}
		case <-ending:
			wait(c.ctx, rand.N(endSpread))
			return nil
		}
	}
}

// read hands on what the client sends until its stream ends, which it does at the
// latest when the call has.
func (p *Proxy) read(ctx context.Context, ss grpc.ServerStream, in chan<- received) {
	for {
		m := p.readOne(ctx, ss)
		select {
		case in <- m:
		case <-ctx.Done():
			return
		}
		if m.err != nil || m.caught != nil {
			return
		}
	}
}

func (p *Proxy) readOne(ctx context.Context, ss grpc.ServerStream) (m received) {
	defer func() {
		if v := recover(); v != nil {
			m.caught = p.caught(ctx, "Telemetry", v)
		}
	}()
	m.command = new(pb.TelemetryCommand)
	m.err = ss.RecvMsg(m.command)
	return m
}

// hearClient answers settings; all else that a client sends is an answer to a
// command, and a sign of life.
func (p *Proxy) hearClient(c *call, ss grpc.ServerStream, m *pb.TelemetryCommand) error {
	asked := m.GetSettings()
	if asked == nil {
		return nil
	}
	agreed, bad := p.agree(c, asked)
	if bad == nil {
		return ss.SendMsg(&pb.TelemetryCommand{Status: ok, Command: &pb.TelemetryCommand_Settings{Settings: agreed}})
	}
	if err := ss.SendMsg(&pb.TelemetryCommand{Status: bad}); err != nil {
		return err
	}
	kind := codes.Internal
	if bad.GetCode() < pb.Code_INTERNAL_ERROR {
		kind = codes.InvalidArgument
	}
	return grpcstatus.Errorf(kind, "process client telemetryCommand failed. %s: %s", bad.GetCode(), bad.GetMessage())
}

func (p *Proxy) reconnectCommand() *pb.TelemetryCommand {
	nonce := strconv.FormatUint(p.nonce.Add(1), 10)
	return &pb.TelemetryCommand{
		Status:  ok,
		Command: &pb.TelemetryCommand_ReconnectEndpointsCommand{ReconnectEndpointsCommand: &pb.ReconnectEndpointsCommand{Nonce: nonce}},
	}
}
