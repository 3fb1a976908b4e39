// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	"github.com/mansiomq/mansio/proxy/usage"
)

// changeInvisible sets anew how long a delivery is hidden from others: longer,
// shorter, or not at all. The handle that names the delivery stays the same, so
// clients that keep the old one are as right as those that take the new one.
func (p *Proxy) changeInvisible(c *call, req *pb.ChangeInvisibleDurationRequest) *pb.ChangeInvisibleDurationResponse {
	names, bad := p.party(req.GetTopic(), req.GetGroup())
	answer := func(s *pb.Status) *pb.ChangeInvisibleDurationResponse {
		p.meter.used(c, usage.ChangeInvisible, names, 1, s)
		return &pb.ChangeInvisibleDurationResponse{Status: s, ReceiptHandle: req.GetReceiptHandle()}
	}
	if bad != nil {
		return answer(bad)
	}
	d := req.GetInvisibleDuration()
	if d != nil && (d.CheckValid() != nil || d.AsDuration() < 0 || d.AsDuration() > invisibleMax) {
		return answer(statusf(pb.Code_ILLEGAL_INVISIBLE_TIME, "invisible_duration must be from 0 to %v", invisibleMax))
	}
	h, valid := p.parse(req.GetReceiptHandle(), &names)
	if !valid {
		return answer(badHandle)
	}
	item := storeapi.SettleItem{Verdict: storeapi.Extend, MS: (d.AsDuration() + time.Millisecond - 1).Milliseconds()}
	if req.GetSuspend() {
		item.Verdict, item.NoCount = storeapi.Release, true
	}
	var span trace.Span
	c.ctx, span = p.tracer.startSettle(c.ctx, usage.ChangeInvisible, req.GetTopic().GetName(), 1)
	s := p.settleOne(c, &names, &h, item)
	p.tracer.end(span, s)
	p.meter.settled(item.Verdict, s)
	return answer(s)
}

// forwardMessage buries a delivery: its message moves to the group's dead letters.
func (p *Proxy) forwardMessage(
	c *call, req *pb.ForwardMessageToDeadLetterQueueRequest,
) *pb.ForwardMessageToDeadLetterQueueResponse {
	names, bad := p.party(req.GetTopic(), req.GetGroup())
	answer := func(s *pb.Status) *pb.ForwardMessageToDeadLetterQueueResponse {
		p.meter.used(c, usage.DeadLetter, names, 1, s)
		return &pb.ForwardMessageToDeadLetterQueueResponse{Status: s}
	}
	if bad != nil {
		return answer(bad)
	}
	h, valid := p.parse(req.GetReceiptHandle(), &names)
	if !valid {
		return answer(badHandle)
	}
	var span trace.Span
	c.ctx, span = p.tracer.startSettle(c.ctx, usage.DeadLetter, req.GetTopic().GetName(), 1)
	s := p.settleOne(c, &names, &h, storeapi.SettleItem{Verdict: storeapi.Bury})
	p.tracer.end(span, s)
	p.meter.settled(storeapi.Bury, s)
	return answer(s)
}
