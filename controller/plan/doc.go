// SPDX-License-Identifier: Apache-2.0

// Package plan decides what the controller should do next: a pure function of
// what the metadata say and what the nodes report. It has no memory: whatever it
// was told or not told before, the same state gives the same plan, so a lost
// notification costs time, never correctness.
//
//	shards, nodes, reports ──Next──▶ actions        one round of repair
//	shards ──Place, Spread──▶ shard of each queue   where topics live
//	fence answers ──Choose──▶ leader, or why not    one election
//
// # Rules of leadership
//
//   - A shard without a leader, or in the middle of an election, gets an election
//     in a new term. Nobody resumes the term of another controller, or of an
//     attempt of its own that failed.
//   - A leader whose process was replaced by a new one (another instance number)
//     is elected anew: what the old process promised from memory is gone.
//   - A leader that is silent keeps leading: losing a session deposes nobody as
//     long as nobody else could take over.
//   - Only members of the in-sync set that answered cleanly count, and R of them
//     are needed: R = |S| − W + 1 with W = max(min_in_sync, ⌊|S|/2⌋ + 1). The
//     winner has the largest (last term, end).
//   - A replica that its node does not have is neither counted nor made anew: a
//     shard whose last replica is gone stays without a leader until an operator
//     decides.
//   - A replica that has obeyed newer metadata than the controller knows (etcd was
//     restored from a backup) blocks its shard likewise.
package plan
