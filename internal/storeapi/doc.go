// SPDX-License-Identifier: Apache-2.0

// Package storeapi is the data path between proxies and shards as plain Go
// types: operations, replies and codes. A proxy submits operations to a peer
// (declared where it is used: proxy/route); the peer is a store node in this
// process or the far end of two streams. Both keep the same contract:
//
//   - Submit never blocks on the disk or the network; it may refuse at once.
//   - Done is called exactly once for every operation (for Park: once, with
//     Ready or with why not), from a goroutine of the peer. It must not block.
//     Completions come in any order.
//   - The buffers of an operation belong to the peer until Done; those of the
//     reply belong to the receiver from then on.
//   - An operation whose deadline passes is completed with Expired. If it had
//     been written to a stream before, its effect is unknown: Unknown.
//   - Nothing is appended for an operation after its deadline.
//
// An operation names the term its sender believes in only as a hint; a shard
// that does not lead answers NotLeader and, when it knows, who does.
package storeapi
