// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"go.opentelemetry.io/otel/trace"

	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	"github.com/mansiomq/mansio/proxy/usage"
)

// ackMessage ends deliveries for good. Each entry has its own outcome.
func (p *Proxy) ackMessage(c *call, req *pb.AckMessageRequest) *pb.AckMessageResponse {
	if len(req.GetEntries()) == 0 {
		return &pb.AckMessageResponse{Status: status(pb.Code_INTERNAL_SERVER_ERROR, "nothing to acknowledge: the request has no entries")}
	}
	resp := newAckResponse(len(req.GetEntries()))
	for i, e := range req.GetEntries() {
		to := resp.GetEntries()[i]
		to.MessageId, to.ReceiptHandle, to.Status = e.GetMessageId(), e.GetReceiptHandle(), badHandle
	}
	names, bad := p.party(req.GetTopic(), req.GetGroup())
	if bad != nil {
		for _, e := range resp.GetEntries() {
			e.Status = bad
		}
		p.meter.used(c, usage.Ack, names, len(req.GetEntries()), bad)
		resp.Status = bad
		return resp
	}
	var span trace.Span
	c.ctx, span = p.tracer.startSettle(c.ctx, usage.Ack, req.GetTopic().GetName(), len(req.GetEntries()))
	if len(req.GetEntries()) == 1 { // as all official clients do it
		if h, valid := p.parse(req.GetEntries()[0].GetReceiptHandle(), &names); valid {
			resp.Entries[0].Status = p.settleOne(c, &names, &h, storeapi.SettleItem{Verdict: storeapi.Ack})
		}
	} else {
		p.ackMany(c, req, &names, resp)
	}
	resp.Status = common(resp.GetEntries())
	p.tracer.end(span, resp.GetStatus())
	for _, e := range resp.GetEntries() {
		p.meter.settled(storeapi.Ack, e.GetStatus())
	}
	p.meter.used(c, usage.Ack, names, len(req.GetEntries()), resp.GetStatus())
	return resp
}

// newAckResponse makes a response with n entries, in few pieces of memory.
func newAckResponse(n int) *pb.AckMessageResponse {
	if n == 1 {
		one := &struct {
			resp  pb.AckMessageResponse
			entry pb.AckMessageResultEntry
			list  [1]*pb.AckMessageResultEntry
		}{}
		one.list[0] = &one.entry
		one.resp.Entries = one.list[:]
		return &one.resp
	}
	entries := make([]pb.AckMessageResultEntry, n)
	resp := &pb.AckMessageResponse{Entries: make([]*pb.AckMessageResultEntry, n)}
	for i := range entries {
		resp.Entries[i] = &entries[i]
	}
	return resp
}

func (p *Proxy) ackMany(c *call, req *pb.AckMessageRequest, names *party, resp *pb.AckMessageResponse) {
	byShard := make(map[ident.Shard]*settling)
	for i, e := range req.GetEntries() {
		h, valid := p.parse(e.GetReceiptHandle(), names)
		if !valid {
			continue
		}
		s := byShard[h.Shard]
		if s == nil {
			s = &settling{}
			byShard[h.Shard] = s
		}
		s.items = append(s.items, storeapi.SettleItem{Delivery: h.Delivery, Verdict: storeapi.Ack})
		s.entries = append(s.entries, i)
	}
	p.settleAll(c, names, byShard, func(entry int, s *pb.Status) { resp.Entries[entry].Status = s })
}
