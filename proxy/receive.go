// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/storeapi"
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/filter"
	"github.com/mansiomq/mansio/proxy/park"
	"github.com/mansiomq/mansio/proxy/route"
	"github.com/mansiomq/mansio/proxy/session"
	"github.com/mansiomq/mansio/proxy/usage"
	"github.com/mansiomq/mansio/proxy/wire"
)

const (
	batchReceiveMax = 32
	// pollMax is the longest that a receive waits, whatever it asks for.
	pollMax = 30 * time.Second
	// pollSpare is what official clients leave between the end of a poll and
	// their deadline, when they do not say how long to poll: half their request
	// timeout.
	pollSpare = 1500 * time.Millisecond
	// answerReserve is how long before the client's deadline a receive is answered:
	// one SDK leaves no time at all between the two.
	answerReserve = 500 * time.Millisecond
	// invisibleMax is the longest lease; renewedLease is the first one of a message
	// whose lease the server renews, and invisibleDefault that of a group that says
	// nothing.
	invisibleMax     = 12 * time.Hour
	renewedLease     = 60 * time.Second
	invisibleDefault = 60 * time.Second
	// takeTime bounds one Take: it waits for nothing but the log.
	takeTime = 3 * time.Second
	// overloadHold is how long an answer that says overload is held back: clients
	// come back 20 ms after it.
	overloadHold = time.Second
)

// receiving is one receive under way.
type receiving struct {
	*call
	spot     park.Spot
	max      int
	leaseMS  int64
	renew    bool
	until    time.Time // when an empty answer is due
	latest   time.Time // when any answer is due
	resource *pb.Resource

	answered bool // some shard said what it has
	last     storeapi.Reply
	bytes    int64 // of the budget
}

// receiveMessage leases messages of any shard of the topic to the client, waiting
// for some if there are none.
func (p *Proxy) receiveMessage(c *call, req *pb.ReceiveMessageRequest, ss grpc.ServerStream) (pb.Code, error) {
	c.client.Hold()
	defer func() { c.client.Release(c.nowMS()) }()
	r, bad := p.beginReceive(c, req)
	if bad != nil {
		p.meter.used(c, usage.Receive, party{}, 0, bad)
		return bad.GetCode(), p.refuseReceive(ss, bad)
	}
	defer func() { p.receiving.release(r.bytes) }()
	taken, shard, bad := r.await()
	if bad != nil {
		if bad.GetCode() != pb.Code_MESSAGE_NOT_FOUND {
			p.meter.used(c, usage.Receive, party{}, 0, bad)
		}
		if bad.GetCode() == pb.Code_TOO_MANY_REQUESTS || bad.GetCode() == pb.Code_INTERNAL_SERVER_ERROR {
			r.hold(overloadHold)
		}
		return bad.GetCode(), p.refuseReceive(ss, bad)
	}
	return pb.Code_OK, r.deliver(ss, taken, shard)
}

// refuseReceive sends the stream of a receive without messages.
func (p *Proxy) refuseReceive(ss grpc.ServerStream, s *pb.Status) error {
	if err := ss.SendMsg(&pb.ReceiveMessageResponse{Content: &pb.ReceiveMessageResponse_Status{Status: s}}); err != nil {
		return err
	}
	return p.sendDelivered(ss)
}

func (p *Proxy) sendDelivered(ss grpc.ServerStream) error {
	return ss.SendMsg(&pb.ReceiveMessageResponse{
		Content: &pb.ReceiveMessageResponse_DeliveryTimestamp{DeliveryTimestamp: timestamppb.New(p.o.Now())},
	})
}

// beginReceive checks a receive and resolves what it names.
func (p *Proxy) beginReceive(c *call, req *pb.ReceiveMessageRequest) (*receiving, *pb.Status) {
	resource := req.GetMessageQueue().GetTopic()
	if bad := badTopic(resource.GetName()); bad != nil {
		return nil, bad
	}
	if bad := badGroup(req.GetGroup().GetName()); bad != nil {
		return nil, bad
	}
	f, err := filter.Parse(req.GetFilterExpression())
	switch {
	case fault.Is(err, fault.Unsupported):
		return nil, status(pb.Code_NOT_IMPLEMENTED, fault.Text(err))
	case err != nil:
		return nil, status(pb.Code_ILLEGAL_FILTER_EXPRESSION, fault.Text(err))
	}
	if bad := badLease(req); bad != nil {
		return nil, bad
	}
	topic, bad := p.topic(resource)
	if bad != nil {
		return nil, bad
	}
	consumer, bad := p.ensureGroup(c.ctx, req.GetGroup(), topic)
	if bad != nil {
		return nil, bad
	}
	if len(topic.GetQueues()) == 0 {
		return nil, statusf(pb.Code_FORBIDDEN, "topic %s has no readable queue", topic.GetName())
	}
	if consumer.group.GetFifo() {
		return nil, notImplemented("consuming in order")
	}
	if !p.handles.Load().CanSign() {
		return nil, status(pb.Code_INTERNAL_SERVER_ERROR, "the cluster has no key for receipt handles")
	}
	r := &receiving{
		call: c, max: min(max(int(req.GetBatchSize()), 1), batchReceiveMax), renew: req.GetAutoRenew(), resource: resource,
		leaseMS: lease(req, consumer.group).Milliseconds(), until: c.pollUntil(req.GetLongPollingTimeout()), latest: c.latest(),
		spot: park.Spot{
			Key:    park.Key{Group: ident.Group(consumer.group.GetId()), Topic: ident.Topic(topic.GetId()), Filter: filter.Key(f)},
			Filter: f, Topic: topic, Group: consumer.group, Start: consumer.start, Shards: p.router.Shards(topic), Client: c.client.ID,
		},
	}
	if c.client.Receives(consumer.group.GetName(), session.Subscription{Topic: topic.GetName(), Filter: f}) {
		p.announce(c.client) // also to shards that this receive need not ask
	}
	return r, nil
}

func badLease(req *pb.ReceiveMessageRequest) *pb.Status {
	d := req.GetInvisibleDuration()
	if req.GetAutoRenew() || d == nil {
		return nil
	}
	if d.CheckValid() != nil || d.AsDuration() <= 0 || d.AsDuration() > invisibleMax {
		return statusf(pb.Code_ILLEGAL_INVISIBLE_TIME, "invisible_duration must be above 0 and at most %v", invisibleMax)
	}
	return nil
}

// lease is how long the messages of a receive are the client's; at least 1 ms,
// the unit of the store.
func lease(req *pb.ReceiveMessageRequest, g *controlv1.Group) time.Duration {
	switch d := req.GetInvisibleDuration(); {
	case req.GetAutoRenew():
		return renewedLease
	case d != nil:
		return max(d.AsDuration(), time.Millisecond)
	case g.GetInvisibleMs() > 0:
		return time.Duration(g.GetInvisibleMs()) * time.Millisecond
	default:
		return invisibleDefault
	}
}

// pollUntil is when a receive that finds nothing is answered.
func (c *call) pollUntil(asked *durationpb.Duration) time.Time {
	deadline, limited := c.ctx.Deadline()
	wanted := pollAdvised
	switch {
	case asked.CheckValid() == nil && asked != nil:
		wanted = max(asked.AsDuration(), 0)
	case limited:
		wanted = deadline.Sub(c.at) - pollSpare
	}
	until := c.at.Add(min(wanted, pollMax))
	if limited {
		until = earlier(until, deadline.Add(-answerReserve))
	}
	return until
}

// latest is when a receive must be answered, whatever the shards do.
func (c *call) latest() time.Time {
	deadline, limited := c.ctx.Deadline()
	if !limited {
		return c.at.Add(pollMax + takeTime)
	}
	return deadline.Add(-min(answerReserve, deadline.Sub(c.at)/2))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// await takes from the shards in turn and, if all of them are empty, waits for the
// one that has something.
func (r *receiving) await() (*storeapi.TakeResult, ident.Shard, *pb.Status) {
	p := r.p
	shards := r.spot.Shards
	first := p.router.Turn(r.spot.Topic)
	for i := range shards {
		shard := shards[(first+i)%len(shards)]
		switch p.lot.View(r.spot.Key, shard) {
		case park.Empty:
			r.answered = true
			continue
		case park.Away:
			r.last = storeapi.Reply{Code: storeapi.Unavailable}
			continue
		case park.Unseen:
		}
		if r.over() {
			return nil, 0, r.nothing(storeapi.None)
		}
		if taken, bad := r.take(shard, 0); taken != nil || bad != nil {
			return taken, shard, bad
		}
	}
	for {
		turn, code := p.lot.Wait(r.ctx, &r.spot, r.until)
		if code != storeapi.Ready {
			return nil, 0, r.nothing(code)
		}
		r.answered = true
		if bad := r.reserve(); bad != nil {
			p.lot.GiveBack(turn)
			return nil, 0, bad
		}
		taken, bad := r.take(turn.Shard, turn.Ticket)
		p.lot.Done(turn, taken != nil)
		if taken != nil || bad != nil {
			return taken, turn.Shard, bad
		}
	}
}

// over reports that nobody waits for the receive any more, or only for its answer.
func (r *receiving) over() bool { return r.ctx.Err() != nil || !r.p.o.Now().Before(r.latest) }

// reserve makes sure of a part of the bytes that may be on their way to clients.
func (r *receiving) reserve() *pb.Status {
	b := r.p.receiving
	if r.bytes == 0 {
		r.bytes = b.reserve(r.ctx, min(overloadHold, r.latest.Sub(r.p.o.Now())))
	}
	if r.bytes == 0 {
		return statusf(pb.Code_TOO_MANY_REQUESTS,
			"this proxy has %d bytes of messages on their way to clients, at most %d are allowed", b.used.Load(), b.max)
	}
	return nil
}

// free gives the reserve back: nothing was taken.
func (r *receiving) free() {
	r.p.receiving.release(r.bytes)
	r.bytes = 0
}

// nothing is the answer of a receive that got nothing.
func (r *receiving) nothing(code storeapi.Code) *pb.Status {
	switch {
	case code == storeapi.Overloaded:
		return statusf(pb.Code_TOO_MANY_REQUESTS, "this proxy has %d waiting receives, as many as are allowed", r.p.lot.Waiting())
	case code != storeapi.None && code != storeapi.Canceled:
		return storeStatus(code, "")
	case r.answered || r.p.open.stopping() || r.last.Code == storeapi.OK:
		return status(pb.Code_MESSAGE_NOT_FOUND, "no new message")
	}
	return storeStatus(r.last.Code, r.last.Detail)
}

// take leases messages of one shard. No result and no status: there are none, or
// the shard cannot be reached now.
func (r *receiving) take(shard ident.Shard, ticket uint64) (*storeapi.TakeResult, *pb.Status) {
	if bad := r.reserve(); bad != nil {
		return nil, bad
	}
	t := &storeapi.Take{
		Group: r.spot.Key.Group, Topic: r.spot.Key.Topic, Filter: r.spot.Filter, Max: r.max, BytesMax: int(r.bytes),
		InvisibleMS: r.leaseMS, AutoRenew: r.renew, Client: r.client.ID, Ticket: ticket,
	}
	reply := r.p.router.Do(r.ctx, &route.Request{
		Shard: shard, Topic: r.spot.Topic, Group: r.spot.Group, Start: r.spot.Start, Request: t, Hasty: true,
		Deadline: earlier(r.p.o.Now().Add(takeTime), r.latest),
	})
	if taken, _ := reply.Result.(*storeapi.TakeResult); reply.Code == storeapi.OK && taken != nil && len(taken.Messages) > 0 {
		return r.took(shard, taken)
	}
	r.free()
	switch reply.Code {
	case storeapi.OK, storeapi.None:
		r.answered = true
		return nil, nil
	case storeapi.TopicNotFound, storeapi.GroupNotFound, storeapi.NotImplemented, storeapi.Internal, storeapi.Invalid:
		return nil, storeStatus(reply.Code, reply.Detail)
	default: // the shard cannot be reached now
		r.last = reply
		return nil, nil
	}
}

// took takes over what a shard leased, if the client is still there and there is
// room for it: the first message may be larger than what was asked for.
func (r *receiving) took(shard ident.Shard, taken *storeapi.TakeResult) (*storeapi.TakeResult, *pb.Status) {
	r.answered = true
	if r.ctx.Err() != nil { // the client went while the shard worked
		r.giveBack(shard, taken)
		return nil, status(pb.Code_MESSAGE_NOT_FOUND, "the client is gone")
	}
	size := int64(0)
	for i := range taken.Messages {
		size += int64(len(taken.Messages[i].Payload))
	}
	var fits bool
	if r.bytes, fits = r.p.receiving.correct(r.bytes, size); !fits {
		r.giveBack(shard, taken)
		r.free()
		return nil, statusf(pb.Code_TOO_MANY_REQUESTS, "this proxy has no room for another %d bytes on their way to clients", size)
	}
	return taken, nil
}

// deliver writes the stream of a receive with messages. What cannot be written is
// given back: a client whose stream breaks has taken none of its messages.
func (r *receiving) deliver(ss grpc.ServerStream, taken *storeapi.TakeResult, shard ident.Shard) error {
	_, span := r.p.tracer.startReceive(r.ctx, r.spot.Topic.GetName(), taken)
	err := r.write(ss, taken, shard)
	r.p.tracer.end(span, nil)
	if err != nil {
		r.giveBack(shard, taken)
		return err
	}
	r.p.meter.received(taken)
	r.p.meter.used(r.call, usage.Receive, party{r.spot.Topic, r.spot.Group}, len(taken.Messages), ok)
	return nil
}

func (r *receiving) write(ss grpc.ServerStream, taken *storeapi.TakeResult, shard ident.Shard) error {
	if err := ss.SendMsg(&pb.ReceiveMessageResponse{Content: &pb.ReceiveMessageResponse_Status{Status: ok}}); err != nil {
		return err
	}
	d := wire.Delivery{
		Topic:     wire.TopicField(r.resource.GetResourceNamespace(), r.resource.GetName()),
		StoreHost: r.p.storeHost(shard),
	}
	codec := r.p.handles.Load()
	var text [128]byte
	for i := range taken.Messages {
		m := &taken.Messages[i]
		h := deliveryOf(&r.spot, taken, m, shard)
		d.StoreMS, d.Queue, d.Offset, d.Attempt = m.StoreMS, m.Queue.Shown(), int64(m.Offset), m.Attempt //nolint:gosec // an offset
		d.Handle = codec.Append(text[:0], &h)
		if err := ss.SendMsg(wire.Delivered(m.Payload, &d)); err != nil {
			return err
		}
	}
	if err := r.p.sendDelivered(ss); err != nil {
		return err
	}
	return r.ctx.Err() // a client that went reads none of it
}

// storeHost is how deliveries name where a message lies.
func (p *Proxy) storeHost(shard ident.Shard) string {
	snap := p.o.Table.Snapshot()
	if n := snap.LeaderOf(shard); n.GetName() != "" {
		return n.GetName()
	}
	return snap.Cluster().GetName()
}

// giveBack releases what was leased for a client that will not get it: at once,
// and without counting as an attempt.
func (r *receiving) giveBack(shard ident.Shard, taken *storeapi.TakeResult) {
	items := make([]storeapi.SettleItem, len(taken.Messages))
	for i := range taken.Messages {
		h := deliveryOf(&r.spot, taken, &taken.Messages[i], shard)
		items[i] = storeapi.SettleItem{Delivery: h.Delivery, Verdict: storeapi.Release, NoCount: true}
	}
	r.p.router.Start(&route.Request{
		Shard: shard, Topic: r.spot.Topic, Group: r.spot.Group, Request: &storeapi.Settle{Items: items},
		Deadline: r.p.o.Now().Add(signTime),
	}, func(storeapi.Reply) {})
}

// hold waits before an answer after which clients come back at once, as long as
// the client waits for it.
func (r *receiving) hold(d time.Duration) {
	wait(r.ctx, min(d, r.latest.Sub(r.p.o.Now())))
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
