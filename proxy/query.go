// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// accepted are the types of message that topics take. Types that are not built
// are absent, so that SDKs refuse them before they send; the list is never empty,
// since SDKs do not start on an empty one.
var accepted = []pb.MessageType{pb.MessageType_NORMAL}

// broker is the one logical broker that clients see: the cluster, reached where
// the client already is. Shards stay invisible.
func (c *call) broker(asked *pb.Endpoints) (*pb.Broker, *pb.Status) {
	e := c.p.endpoints(c.ctx, asked)
	if e == nil {
		return nil, status(pb.Code_ILLEGAL_ACCESS_POINT,
			"neither the request nor the connection says how this server was reached; give --advertise")
	}
	return &pb.Broker{Name: c.p.o.Table.Snapshot().Cluster().GetName(), Id: 0, Endpoints: e}, nil
}

// queryRoute returns the topic's queues, all at one logical broker.
func (p *Proxy) queryRoute(c *call, req *pb.QueryRouteRequest) *pb.QueryRouteResponse {
	topic, bad := p.ensureTopic(c.ctx, req.GetTopic())
	if bad != nil {
		return &pb.QueryRouteResponse{Status: bad}
	}
	broker, bad := c.broker(req.GetEndpoints())
	if bad != nil {
		return &pb.QueryRouteResponse{Status: bad}
	}
	queues := make([]*pb.MessageQueue, len(topic.GetQueues()))
	for i := range queues {
		queues[i] = &pb.MessageQueue{
			Topic: req.GetTopic(), Id: int32(i), Permission: pb.Permission_READ_WRITE, Broker: broker,
			AcceptMessageTypes: accepted,
		}
	}
	return &pb.QueryRouteResponse{Status: ok, MessageQueues: queues}
}

// anyQueue is the queue id that means all queues of a broker.
const anyQueue = -1

// queryAssignment returns what a push consumer should read: for an ordinary group
// one entry for all queues, since messages are balanced one by one; for a FIFO
// group each queue.
func (p *Proxy) queryAssignment(c *call, req *pb.QueryAssignmentRequest) *pb.QueryAssignmentResponse {
	refuse := func(s *pb.Status) *pb.QueryAssignmentResponse { return &pb.QueryAssignmentResponse{Status: s} }
	topic, bad := p.topic(req.GetTopic())
	if bad != nil && bad.GetCode() != pb.Code_TOPIC_NOT_FOUND {
		return refuse(bad)
	}
	if wrong := badGroup(req.GetGroup().GetName()); wrong != nil {
		return refuse(wrong)
	}
	if bad != nil {
		return refuse(bad)
	}
	consumer, bad := p.ensureGroup(c.ctx, req.GetGroup(), topic)
	if bad != nil {
		return refuse(bad)
	}
	if c.client.Joined(req.GetGroup().GetName()) {
		p.announce(c.client)
	}
	broker, bad := c.broker(req.GetEndpoints())
	if bad != nil {
		return refuse(bad)
	}
	assignment := func(id int32) *pb.Assignment {
		return &pb.Assignment{MessageQueue: &pb.MessageQueue{
			Topic: req.GetTopic(), Id: id, Permission: pb.Permission_READ_WRITE, Broker: broker, AcceptMessageTypes: accepted,
		}}
	}
	if !consumer.group.GetFifo() {
		return &pb.QueryAssignmentResponse{Status: ok, Assignments: []*pb.Assignment{assignment(anyQueue)}}
	}
	all := make([]*pb.Assignment, len(topic.GetQueues()))
	for i := range all {
		all[i] = assignment(int32(i))
	}
	return &pb.QueryAssignmentResponse{Status: ok, Assignments: all}
}
