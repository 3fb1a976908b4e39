// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

func consumes(k pb.ClientType) bool {
	switch k {
	case pb.ClientType_PUSH_CONSUMER, pb.ClientType_SIMPLE_CONSUMER, pb.ClientType_PULL_CONSUMER,
		pb.ClientType_LITE_PUSH_CONSUMER, pb.ClientType_LITE_SIMPLE_CONSUMER:
		return true
	default:
		return false
	}
}

// heartbeat is a sign of life, also of a client that this proxy has never seen.
// It creates no group.
func (p *Proxy) heartbeat(c *call, req *pb.HeartbeatRequest) *pb.HeartbeatResponse {
	kind := c.client.Kind()
	if kind == pb.ClientType_CLIENT_TYPE_UNSPECIFIED {
		kind = req.GetClientType()
	}
	switch {
	case consumes(kind):
		group := req.GetGroup().GetName()
		if bad := badGroup(group); bad != nil {
			return &pb.HeartbeatResponse{Status: bad}
		}
		if c.client.Joined(group) {
			p.announce(c.client)
		}
	case kind != pb.ClientType_PRODUCER:
		return &pb.HeartbeatResponse{Status: statusf(pb.Code_UNRECOGNIZED_CLIENT_TYPE, "client type %v is not known", kind)}
	}
	c.client.SetKind(kind)
	return &pb.HeartbeatResponse{Status: ok}
}

// notifyTermination forgets a client and tells the shards that it is gone, so
// that what it leased with auto-renew comes free soon. What it still settles
// counts.
func (p *Proxy) notifyTermination(c *call, req *pb.NotifyClientTerminationRequest) *pb.NotifyClientTerminationResponse {
	if group := req.GetGroup().GetName(); group != "" && c.client.Kind() != pb.ClientType_PRODUCER {
		if bad := badGroup(group); bad != nil {
			return &pb.NotifyClientTerminationResponse{Status: bad}
		}
		c.client.Joined(group)
	}
	p.clients.Remove(c.client.ID)
	p.farewell(c.client)
	return &pb.NotifyClientTerminationResponse{Status: ok}
}
