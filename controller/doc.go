// SPDX-License-Identifier: Apache-2.0

// Package controller is the role that knows the roads: which topics and groups
// there are, which nodes, which shards and who leads them. It keeps all of that in
// etcd, tells it to proxies and store nodes, and repairs what is not as it should
// be. It never sees a message.
//
//	admin, EnsureTopic, EnsureGroup ──▶ meta (rules) ──▶ Book ──compare-and-swap──▶ etcd
//	NodeSession (reports) ──▶ sessions ──▶ reconcile ──▶ Book, and calls to nodes    │
//	Watch (snapshot, changes) ◀── hub ◀── Table ◀── mirror ◀─────────watch──────────┘
//
// # Promises
//
//   - One controller works at a time. With external etcd it is elected there and
//     every commit depends on its place in the queue, so one that was deposed and
//     does not know it changes nothing. With embedded etcd it has no rivals.
//     All others answer UNAVAILABLE and name the one that leads.
//   - What a watcher is told comes from etcd, in order of revisions, after it is
//     durable. A watcher that is too slow for its queue gets the whole state anew.
//   - An administrator's change is answered when every watcher that is connected
//     has applied it, at most 3 s later; then the answer names those that have not,
//     and the change stands. Automatic creation waits 1 s, and only says so.
//   - When it is down, leaders go on leading and known topics go on working; only
//     changes and elections wait.
//   - A full disk under embedded etcd refuses what is new, and nothing else.
//   - A node that cannot be who it says, or that remembers more than etcd does, is
//     refused with one sentence that names the remedy.
//
// # A life
//
// Run opens etcd, waits for its turn, reads everything (a reign begins), serves
// until the reign or its context ends, and starts over unless the context is done.
// The gRPC services are registered once and answer by the reign of the moment.
package controller
