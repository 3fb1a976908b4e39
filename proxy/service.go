// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"slices"

	"google.golang.org/grpc"

	pb "github.com/mansiomq/mansio/proto/apache/rocketmq/v2"
)

// methods are the calls of MessagingService; a call's index is its number in
// counters.
var methods = []string{
	"QueryRoute", "Heartbeat", "SendMessage", "QueryAssignment", "ReceiveMessage", "AckMessage",
	"ForwardMessageToDeadLetterQueue", "PullMessage", "UpdateOffset", "GetOffset", "QueryOffset", "EndTransaction",
	"Telemetry", "NotifyClientTermination", "ChangeInvisibleDuration", "RecallMessage", "SyncLiteSubscription",
}

func methodIndex(name string) int { return slices.Index(methods, name) }

// messaging describes MessagingService. The generated description would decode
// sends into objects and encode deliveries out of them; this one leaves both in
// wire form, and gives every call the same frame.
func messaging() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Metadata:    "apache/rocketmq/v2/service.proto",
		Methods: []grpc.MethodDesc{
			unary("QueryRoute", (*Proxy).queryRoute, func(s *pb.Status) *pb.QueryRouteResponse { return &pb.QueryRouteResponse{Status: s} }),
			unary("Heartbeat", (*Proxy).heartbeat, func(s *pb.Status) *pb.HeartbeatResponse { return &pb.HeartbeatResponse{Status: s} }),
			unary("SendMessage", (*Proxy).sendMessage, func(s *pb.Status) *pb.SendMessageResponse { return &pb.SendMessageResponse{Status: s} }),
			unary("QueryAssignment", (*Proxy).queryAssignment,
				func(s *pb.Status) *pb.QueryAssignmentResponse { return &pb.QueryAssignmentResponse{Status: s} }),
			unary("AckMessage", (*Proxy).ackMessage, func(s *pb.Status) *pb.AckMessageResponse { return &pb.AckMessageResponse{Status: s} }),
			unary("ForwardMessageToDeadLetterQueue", (*Proxy).forwardMessage,
				func(s *pb.Status) *pb.ForwardMessageToDeadLetterQueueResponse {
					return &pb.ForwardMessageToDeadLetterQueueResponse{Status: s}
				}),
			unary("NotifyClientTermination", (*Proxy).notifyTermination,
				func(s *pb.Status) *pb.NotifyClientTerminationResponse {
					return &pb.NotifyClientTerminationResponse{Status: s}
				}),
			unary("ChangeInvisibleDuration", (*Proxy).changeInvisible,
				func(s *pb.Status) *pb.ChangeInvisibleDurationResponse {
					return &pb.ChangeInvisibleDurationResponse{Status: s}
				}),
			later[pb.UpdateOffsetRequest]("UpdateOffset", func(s *pb.Status) *pb.UpdateOffsetResponse { return &pb.UpdateOffsetResponse{Status: s} }),
			later[pb.GetOffsetRequest]("GetOffset", func(s *pb.Status) *pb.GetOffsetResponse { return &pb.GetOffsetResponse{Status: s} }),
			later[pb.QueryOffsetRequest]("QueryOffset", func(s *pb.Status) *pb.QueryOffsetResponse { return &pb.QueryOffsetResponse{Status: s} }),
			later[pb.EndTransactionRequest]("EndTransaction",
				func(s *pb.Status) *pb.EndTransactionResponse { return &pb.EndTransactionResponse{Status: s} }),
			later[pb.RecallMessageRequest]("RecallMessage",
				func(s *pb.Status) *pb.RecallMessageResponse { return &pb.RecallMessageResponse{Status: s} }),
			later[pb.SyncLiteSubscriptionRequest]("SyncLiteSubscription",
				func(s *pb.Status) *pb.SyncLiteSubscriptionResponse {
					return &pb.SyncLiteSubscriptionResponse{Status: s}
				}),
		},
		Streams: []grpc.StreamDesc{
			stream("ReceiveMessage", (*Proxy).receiveMessage, (*Proxy).refuseReceive),
			stream("PullMessage", func(p *Proxy, _ *call, _ *pb.PullMessageRequest, ss grpc.ServerStream) (pb.Code, error) {
				return pb.Code_NOT_IMPLEMENTED, p.refusePull(ss, notImplemented("PullMessage"))
			}, (*Proxy).refusePull),
			{StreamName: "Telemetry", Handler: serveTelemetry, ServerStreams: true, ClientStreams: true},
		},
	}
}

// later describes a call that belongs to a part of the protocol that is not built.
func later[Req any, Resp response](name string, refuse func(*pb.Status) Resp) grpc.MethodDesc {
	return unary(name, func(*Proxy, *call, *Req) Resp { return refuse(notImplemented(name)) }, refuse)
}

func (p *Proxy) refusePull(ss grpc.ServerStream, s *pb.Status) error {
	return ss.SendMsg(&pb.PullMessageResponse{Content: &pb.PullMessageResponse_Status{Status: s}})
}
