// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mansiomq/mansio/internal/fault"
	"github.com/mansiomq/mansio/internal/ident"
	"github.com/mansiomq/mansio/internal/message"
	"github.com/mansiomq/mansio/internal/rpc"
	"github.com/mansiomq/mansio/internal/storeapi"
	controlv1 "github.com/mansiomq/mansio/proto/mansio/control/v1"
	"github.com/mansiomq/mansio/proxy/route"
	"github.com/mansiomq/mansio/proxy/wire"
)

const (
	// inspectTime is how long one shard may take to answer, and how long all of them
	// may that are asked at once.
	inspectTime = 5 * time.Second
	// pageDefault, pageMax and pageBytes bound one answer.
	pageDefault = 32
	pageMax     = 256
	pageBytes   = 8 << 20
	// sameIDMax bounds the messages of one id that are shown.
	sameIDMax = 16
	// lagsMax bounds the shards that one call asks at a time.
	lagsMax = 64
)

// inspectServer looks into the shards: it asks all that a topic has.
type inspectServer struct {
	controlv1.UnimplementedInspectServer
	p *Proxy
}

func (s *inspectServer) topic(ctx context.Context, name string) (*controlv1.Topic, error) {
	if err := s.p.mayAdmin(ctx); err != nil {
		return nil, err
	}
	if t := s.p.o.Table.Snapshot().TopicByName(name); t != nil {
		return t, nil
	}
	return nil, rpc.Status(fault.Errorf("", fault.NotFound, "topic %q does not exist", name))
}

// ask asks one shard of the topic.
func (s *inspectServer) ask(ctx context.Context, shard ident.Shard, t *controlv1.Topic, r storeapi.Request) (storeapi.Result, error) {
	deadline := s.p.o.Now().Add(inspectTime)
	if d, limited := ctx.Deadline(); limited {
		deadline = earlier(deadline, d.Add(-answerMargin))
	}
	reply := s.p.router.Do(ctx, &route.Request{Shard: shard, Topic: t, Request: r, Repeatable: true, Deadline: deadline})
	if reply.Code == storeapi.OK && reply.Result != nil {
		return reply.Result, nil
	}
	kind := fault.Unavailable
	switch reply.Code {
	case storeapi.TopicNotFound, storeapi.GroupNotFound:
		kind = fault.NotFound
	case storeapi.Overloaded:
		kind = fault.Throttled
	case storeapi.NotImplemented:
		kind = fault.Unsupported
	default: // it may heal
	}
	return nil, rpc.Status(fault.Errorf("", kind, "shard %v: %s", shard, storeStatus(reply.Code, reply.Detail).GetMessage()))
}

// GroupLag implements controlv1.InspectServer.
func (s *inspectServer) GroupLag(ctx context.Context, r *controlv1.GroupLagRequest) (*controlv1.GroupLagResponse, error) {
	if err := s.p.mayAdmin(ctx); err != nil {
		return nil, err
	}
	snap := s.p.o.Table.Snapshot()
	group := snap.GroupByName(r.GetGroup())
	if group == nil {
		return nil, rpc.Status(fault.Errorf("", fault.NotFound, "consumer group %q does not exist", r.GetGroup()))
	}
	var topics []*controlv1.Topic
	if r.GetTopic() != "" {
		t, err := s.topic(ctx, r.GetTopic())
		if err != nil {
			return nil, err
		}
		topics = append(topics, t)
	} else {
		for _, start := range snap.StartsOf(ident.Group(group.GetId())) {
			if t := snap.TopicByID(ident.Topic(start.GetTopic())); t != nil {
				topics = append(topics, t)
			}
		}
	}
	return s.lag(ctx, ident.Group(group.GetId()), topics)
}

// lagPart is the part of a group's lag that one shard knows.
type lagPart struct {
	topic  *controlv1.Topic
	shard  ident.Shard
	queues []*controlv1.QueueLag
}

// lag asks all shards of the topics. A shard that cannot answer now keeps nobody
// from seeing the others: its queues say why.
func (s *inspectServer) lag(ctx context.Context, group ident.Group, topics []*controlv1.Topic) (*controlv1.GroupLagResponse, error) {
	var parts []lagPart
	for _, t := range topics {
		for _, shard := range s.p.router.Shards(t) {
			parts = append(parts, lagPart{topic: t, shard: shard})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, inspectTime)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lagsMax)
	for i := range parts {
		g.Go(func() error { return s.askLag(ctx, group, &parts[i]) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	resp := &controlv1.GroupLagResponse{}
	for _, p := range parts {
		resp.Queues = append(resp.Queues, p.queues...)
	}
	slices.SortFunc(resp.GetQueues(), func(a, b *controlv1.QueueLag) int {
		return cmp.Or(cmp.Compare(a.GetTopic(), b.GetTopic()), cmp.Compare(a.GetQueue(), b.GetQueue()))
	})
	return resp, nil
}

// askLag asks one shard. It runs beside the call, so that it catches panics itself.
func (s *inspectServer) askLag(ctx context.Context, group ident.Group, p *lagPart) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = s.p.caughtError(ctx, "GroupLag", v)
		}
	}()
	result, err := s.ask(ctx, p.shard, p.topic, &storeapi.Offsets{Topic: ident.Topic(p.topic.GetId()), Group: group})
	if fault.Is(rpc.Fault(err), fault.Unavailable) {
		p.queues = lagsOf(p.topic, p.shard, nil, rpc.Fault(err).Error())
		return nil
	}
	if err != nil {
		return err
	}
	offsets, _ := result.(*storeapi.OffsetsResult)
	p.queues = lagsOf(p.topic, p.shard, offsets.Queues, "")
	return nil
}

// lagsOf are the topic's queues on a shard: those that the shard told of, and the
// others, which are empty, or of which nothing is known because of the failure.
func lagsOf(t *controlv1.Topic, shard ident.Shard, told []storeapi.QueueState, failure string) (out []*controlv1.QueueLag) {
	seen := make(map[uint32]bool)
	for i := range told {
		lag := lagOf(t, shard, &told[i])
		seen[lag.GetQueue()] = true
		out = append(out, lag)
	}
	for i, q := range t.GetQueues() {
		if number := uint32(i); ident.Shard(q.GetShard()) == shard && !seen[number] {
			out = append(out, &controlv1.QueueLag{Topic: t.GetName(), Queue: number, Shard: q.GetShard(), Error: failure})
		}
	}
	return out
}

func lagOf(t *controlv1.Topic, shard ident.Shard, q *storeapi.QueueState) *controlv1.QueueLag {
	return &controlv1.QueueLag{
		Topic: t.GetName(), Queue: uint32(q.Queue.Shown()), Shard: uint32(shard), MinOffset: uint64(q.Min), NextOffset: uint64(q.Next), //nolint:gosec // not negative
		Ready: q.Ready, InFlight: q.InFlight, Done: q.Done,
	}
}

// GetMessage implements controlv1.InspectServer.
func (s *inspectServer) GetMessage(ctx context.Context, r *controlv1.GetMessageRequest) (*controlv1.GetMessageResponse, error) {
	t, err := s.topic(ctx, r.GetTopic())
	if err != nil {
		return nil, err
	}
	if r.GetMessageId() == "" {
		return nil, rpc.Status(fault.Errorf("", fault.Invalid, "message id is empty"))
	}
	resp := &controlv1.GetMessageResponse{}
	for _, shard := range s.p.router.Shards(t) {
		q := &storeapi.Query{Topic: ident.Topic(t.GetId()), MessageID: r.GetMessageId(), Max: sameIDMax}
		result, err := s.ask(ctx, shard, t, q)
		if err != nil {
			return nil, err
		}
		found, _ := result.(*storeapi.QueryResult)
		for i := range found.Messages {
			resp.Messages = append(resp.Messages, s.stored(t, shard, &found.Messages[i]))
		}
	}
	return resp, nil
}

// QueryMessages implements controlv1.InspectServer. Messages come shard by shard,
// each's in the order in which it stored them.
func (s *inspectServer) QueryMessages(ctx context.Context, r *controlv1.QueryMessagesRequest) (*controlv1.QueryMessagesResponse, error) {
	t, err := s.topic(ctx, r.GetTopic())
	if err != nil {
		return nil, err
	}
	from, ok := parsePage(r.GetPageToken())
	switch {
	case !ok:
		return nil, rpc.Status(fault.Errorf("", fault.Invalid, "page token is not one of ours"))
	case r.GetKey() == "" && r.GetToMs() <= r.GetFromMs():
		return nil, rpc.Status(fault.Errorf("", fault.Invalid, "give a key, or a time range that is not empty"))
	}
	size := pageDefault
	if r.GetPageSize() > 0 {
		size = int(min(r.GetPageSize(), pageMax))
	}
	resp := &controlv1.QueryMessagesResponse{}
	bytes := 0
	for _, shard := range slices.Sorted(slices.Values(s.p.router.Shards(t))) {
		if shard < from.shard {
			continue
		}
		q := &storeapi.Query{Topic: ident.Topic(t.GetId()), Key: r.GetKey(), FromMS: r.GetFromMs(), ToMS: r.GetToMs(), Max: size - len(resp.GetMessages())}
		if shard == from.shard {
			q.After = from.after
		}
		result, err := s.ask(ctx, shard, t, q)
		if err != nil {
			return nil, err
		}
		found, _ := result.(*storeapi.QueryResult)
		last, more := q.After, found.More
		for i := range found.Messages {
			if bytes > pageBytes {
				more, found.Next = true, 0 // the page ends before the scan did
				break
			}
			m := s.stored(t, shard, &found.Messages[i])
			bytes += len(m.GetMessage())
			last = found.Messages[i].LSN
			resp.Messages = append(resp.Messages, m)
		}
		if found.Next > 0 {
			last = found.Next - 1
		}
		if len(resp.GetMessages()) >= size || bytes > pageBytes || more {
			resp.NextPageToken = page{shard, last}.token()
			return resp, nil
		}
	}
	return resp, nil
}

func (s *inspectServer) stored(t *controlv1.Topic, shard ident.Shard, f *storeapi.Found) *controlv1.StoredMessage {
	d := wire.Delivery{
		Topic: wire.TopicField("", t.GetName()), StoreMS: f.StoreMS, StoreHost: s.p.storeHost(shard),
		Queue: f.Queue.Shown(), Offset: max(f.Offset, 0),
	}
	return &controlv1.StoredMessage{
		Shard: uint32(shard), Lsn: uint64(f.LSN), Queue: uint32(f.Queue.Shown()), Offset: uint64(max(f.Offset, 0)), StoreMs: f.StoreMS, //nolint:gosec // not negative
		Message: wire.AppendMessage(nil, message.Payload(f.Payload), &d),
	}
}

// page is where a query goes on: behind an LSN of a shard.
type page struct {
	shard ident.Shard
	after ident.LSN
}

func (p page) token() string {
	b := binary.LittleEndian.AppendUint32(nil, uint32(p.shard))
	return base64.RawURLEncoding.EncodeToString(binary.LittleEndian.AppendUint64(b, uint64(p.after)))
}

func parsePage(token string) (page, bool) {
	if token == "" {
		return page{}, true
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != 12 {
		return page{}, false
	}
	return page{ident.Shard(binary.LittleEndian.Uint32(b)), ident.LSN(binary.LittleEndian.Uint64(b[4:]))}, true
}
