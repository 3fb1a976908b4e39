// SPDX-License-Identifier: Apache-2.0

// Package storenode is one store node: it hosts replicas of shards, obeys the
// controller, and takes the operations of proxies.
//
//	proxy ──Submit──▶ Node ──▶ shard.Shard, by the operation's shard
//	controller ──ShardControl (Create, Fence, Lead, Probe)──▶ Node
//	controller ◀──NodeSession (who it is, which replicas it holds)── Node
//	metadata watch ──▶ Node: configuration for shards, deletions, leadership
//
// What the node promises:
//
//   - A replica that is not on its disks is ABSENT in every answer; a replica
//     that cannot be read is FAILED. Neither is ever created anew by itself.
//   - Every process start has a new instance number, and leads nothing until the
//     controller has chosen it in a new term.
//   - The controller may go away: leaders go on leading.
//   - A replica lives wholly in one data directory; a directory that fails takes
//     its own replicas with it and no others.
//
// Files: node.go (life of the node), host.go (its shards), control.go (the
// controller's calls), session.go (the node's report), feed.go (metadata to
// shards).
package storenode
