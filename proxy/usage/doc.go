// SPDX-License-Identifier: Apache-2.0

// Package usage counts what clients do with each topic and group, as the
// semantic conventions for messaging name it. The proxy counts on behalf of its
// clients, so these numbers exist whatever language a client is written in.
//
//	messaging.client.sent.messages        messages of sends, by topic; failed ones also by error
//	messaging.client.consumed.messages    messages delivered, by topic and group
//	messaging.client.operation.duration   send, receive, ack, change invisible, dead letter
//
// An operation that failed carries error.type, the code of its answer. A receive
// is counted when it delivers or fails, not when it ends empty. Its duration has
// the waiting in it. The duration of what failed names no topic.
//
// # Bounds
//
// The first PlacesMax topics, and as many pairs of topic and group, have numbers
// of their own; all others are counted together under the name `other`. A place
// is given to somebody else when its topic or group was deleted, or when all are
// taken and nothing happened there for an hour; its series end then. Series of
// durations cannot end before the process does, so there are never more than
// twice PlacesMax: whoever comes later is timed as `other`.
//
// # Cost
//
// Attributes are made once per place. Counting is a look into a map that nobody
// changes, an addition, and a recording; it needs no memory and no lock, except
// for what failed.
package usage
