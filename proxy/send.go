// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"sync"

	"go.opentelemetry.io/otel/trace"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/route"
	"github.com/mansiomq/mansio/proxy/usage"
	"github.com/mansiomq/mansio/proxy/wire"
)

// batchMax bounds the messages of one send: they share one entry of a shard's
// window of unanswered messages.
const batchMax = 1024

// entriesMax bounds the entries of an answer that refuses more than batchMax.
const entriesMax = 16 * batchMax

// outgoing is one send under way. Used again, so that scanning costs no memory.
type outgoing struct {
	message  wire.Message
	payloads [][]byte
	ids      []string
	bodies   []int // sizes, by payload
}

var outgoings = sync.Pool{New: func() any { return new(outgoing) }}

func (o *outgoing) free() {
	clear(o.ids)
	o.payloads, o.ids, o.bodies = nil, o.ids[:0], o.bodies[:0] // payloads were given away
	outgoings.Put(o)
}

// sendMessage stores messages: all of a request in one queue, side by side.
func (p *Proxy) sendMessage(c *call, req *wire.Raw) *pb.SendMessageResponse {
	defer req.Free()
	o := outgoings.Get().(*outgoing) //nolint:forcetypeassert // the pool holds nothing else
	defer o.free()
	ctx, span := p.tracer.startSend(c.ctx)
	c.ctx = ctx
	resp := p.send(c, o, req.Bytes(), span)
	p.tracer.end(span, resp.GetStatus())
	return resp
}

func (p *Proxy) send(c *call, o *outgoing, request []byte, span trace.Span) *pb.SendMessageResponse {
	topic, bad := p.prepare(c, o, request)
	if bad != nil {
		p.meter.used(c, usage.Send, party{}, len(o.ids), bad)
		return o.refused(bad)
	}
	p.tracer.sends(span, topic.GetName(), len(o.payloads))
	result := p.router.Append(c.ctx, topic, o.payloads, c.deadline())
	resp := o.response(&result)
	p.meter.sent(c, topic, resp, o.bodies)
	return resp
}

// prepare checks a send and brings its messages into their stored form.
func (p *Proxy) prepare(c *call, o *outgoing, request []byte) (*controlv1.Topic, *pb.Status) {
	var topic *controlv1.Topic
	var bad, unknown *pb.Status
	var first struct{ namespace, name []byte }
	n := 0
	m := &o.message
	stamp := wire.Stamp{NowMS: c.at.UnixMilli()}
	err := wire.Messages(request, func(b []byte) error {
		n++
		if n == batchMax+1 {
			bad = statusf(pb.Code_PAYLOAD_TOO_LARGE, "more than %d messages in one request", batchMax)
		}
		if n > entriesMax {
			return nil
		}
		if err := m.Scan(b); err != nil {
			return err
		}
		o.ids = append(o.ids, string(m.ID))
		switch {
		case bad != nil:
			return nil
		case n == 1:
			first.namespace, first.name = m.Namespace, m.Topic
			if bad = badTopic(m.Topic); bad != nil {
				return nil
			}
			topic, unknown = p.topicNamed(string(m.Topic))
			stamp.Topic = ident.Topic(topic.GetId())
		case !bytes.Equal(first.name, m.Topic) || !bytes.Equal(first.namespace, m.Namespace):
			bad = status(pb.Code_MESSAGE_CORRUPTED, "the messages of one request have different topics")
			return nil
		}
		if bad = badMessage(m, stamp.NowMS); bad != nil || unknown != nil {
			return nil
		}
		if bad = badType(topic, m, stamp.NowMS); bad != nil {
			return nil
		}
		if len(m.BornHost) == 0 && stamp.BornHost == "" {
			stamp.BornHost = c.host()
		}
		stamp.Trace = p.tracer.contextOf(c.ctx, m)
		o.payloads = append(o.payloads, m.Payload(&stamp))
		o.bodies = append(o.bodies, len(m.Body))
		return nil
	})
	switch {
	case err != nil:
		return nil, statusf(pb.Code_BAD_REQUEST, "the request cannot be decoded: %v", err)
	case n == 0:
		return nil, status(pb.Code_MESSAGE_CORRUPTED, "no message to send")
	case bad != nil:
		return nil, bad
	case unknown != nil:
		return nil, unknown
	case len(topic.GetQueues()) == 0:
		return nil, statusf(pb.Code_FORBIDDEN, "topic %s has no writable queue", topic.GetName())
	}
	return topic, nil
}

// refused is the response to a send of which nothing was stored: an entry for
// each message all the same, since some SDKs look there first.
func (o *outgoing) refused(bad *pb.Status) *pb.SendMessageResponse {
	resp := &pb.SendMessageResponse{Status: bad}
	for _, id := range o.ids {
		resp.Entries = append(resp.Entries, &pb.SendResultEntry{Status: bad, MessageId: id})
	}
	return resp
}

func (o *outgoing) response(a *route.Appended) *pb.SendMessageResponse {
	if a.Code != storeapi.OK {
		return o.refused(storeStatus(a.Code, a.Detail))
	}
	var resp *pb.SendMessageResponse
	var entries []pb.SendResultEntry
	if len(a.Entries) == 1 { // as official clients do it: all in one piece of memory
		one := &struct {
			resp    pb.SendMessageResponse
			entries [1]pb.SendResultEntry
			list    [1]*pb.SendResultEntry
		}{}
		resp, entries = &one.resp, one.entries[:]
		resp.Entries = one.list[:]
	} else {
		entries = make([]pb.SendResultEntry, len(a.Entries))
		resp = &pb.SendMessageResponse{Entries: make([]*pb.SendResultEntry, len(a.Entries))}
	}
	for i := range entries {
		e, stored := &entries[i], &a.Entries[i]
		e.Status, e.MessageId = storeStatus(stored.Code, ""), o.ids[i]
		if stored.Code == storeapi.OK {
			e.TransactionId, e.Offset = e.GetMessageId(), stored.Offset
		}
		resp.Entries[i] = e
	}
	resp.Status = common(resp.GetEntries())
	return resp
}
