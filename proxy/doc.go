// SPDX-License-Identifier: Apache-2.0

// Package proxy speaks the RocketMQ 5 protocol with clients: every call of
// apache.rocketmq.v2.MessagingService, a file per call, and beside it the
// administration of the cluster on the same port.
//
//	client ─▶ listen ─▶ call: who, check ─▶ resolve names ─▶ route ─▶ shard
//	                     │                   metadata.Table    ▲
//	                     └─ session: signs of life ────────────┘
//
// # Promises
//
//   - A proxy keeps no state that is needed for a right answer: any call of any
//     client may be the first that it sees, and it may stop at any moment. What a
//     group or topic means comes from the metadata, never from a session.
//   - A failure for a reason of the business is a payload status; a gRPC error
//     means that the transport failed or the request was no protobuf. A panic in
//     a call answers INTERNAL_SERVER_ERROR, is counted, and ends nothing else.
//   - Every response has a status, and one entry per entry of the request.
//   - What comes from clients is checked before a shard hears of it. Headers that
//     only servers set are never read from a request.
//   - Waiting costs the call's own goroutine. Sends, waiting receives, clients,
//     streams and bytes have bounds; at a bound callers get TOO_MANY_REQUESTS or
//     wait, and a receive that is refused for overload is held for a while first,
//     since clients come back at once.
//   - Types of messages and calls that are not built answer NOT_IMPLEMENTED.
//
// # Stopping
//
// Drain: not ready → clients are asked to connect elsewhere → waiting receives
// and telemetry streams end, spread over a while. Then the server can stop
// gracefully. Calls that come meanwhile are served.
package proxy
