// SPDX-License-Identifier: Apache-2.0

// Package replica is one shard's role on one node: which term it has promised,
// whether it leads, and what it remembers of that across a crash.
//
// # Roles
//
//	ABSENT ──Create──▶ FENCED ──Lead──▶ RECOVERING ──barrier applied──▶ LEADER
//	                     ▲                  │                             │
//	                     └────── Fence with a higher term ◀───────────────┘
//	FAILED from anywhere: the disk or the log can't be trusted.
//
// With a replication factor of one there are no learners and followers yet; the
// rules that they need hold already:
//
//   - A term is durable in the meta file before Fence for it is answered, and
//     never decreases.
//   - Lead is refused unless it names the term that was promised and the process
//     instance that promised it: the promise described a log that may be gone.
//   - Fence is idempotent within a term.
//
// # Meta file
//
// Two slots, meta.a and meta.b, written alternately and synced; the valid one
// with the higher sequence counts, so a crash while writing loses nothing. The
// layout is drawn above the codec.
package replica
