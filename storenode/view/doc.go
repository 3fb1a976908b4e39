// SPDX-License-Identifier: Apache-2.0

// Package view holds the law that everything derived from a shard's log obeys,
// and the checkpoint file that all views of a shard share.
//
// # The law
//
// A view is a fold of committed entries, in log order. It is pure and
// deterministic: no clock, no randomness, no I/O, no goroutine; nothing that a
// caller sees depends on the order of a map. The same prefix of the log makes the
// same state on every replica and in every run. From that follows:
//
//   - Nothing is ever undone: views see committed entries only.
//   - A view never writes the log, never calls another view, never keeps truth.
//     What must happen next is found by reading it; only the shard's leader turns
//     that into an entry, and apply drops an entry whose precondition is stale.
//   - Restore of a checkpoint and replay of the rest equals replay of all, at
//     every entry boundary.
//   - Digest is comparable between replicas that have applied the same entries.
//
// One goroutine, the shard's owner, touches a view. What other goroutines read
// (sealed runs of an index file) is immutable.
//
// Views live in the packages below: queue, delivery, keyindex, producer, catalog.
// They encode with package flat, and state is flat: slices and maps of values,
// few pointers, so that the collector has little to walk.
//
// # Checkpoint file
//
// ckpt-<lsn>, lsn as 20 decimal digits, is all views of a shard after every entry
// below lsn. It is a file of package container, magic "MNSCKPT\n", format 1:
//
//	head   cluster u64, shard u32, last_crc u32, lsn u64, term u64, time_ms i64
//	       last_crc, term and time_ms are those of the last entry below lsn
//	one section per view, numbered by SectionQueue…
//
// Checkpoints are taken where a segment was sealed, and at a clean stop. The two
// newest are kept: when the newest is damaged the one before it and a longer
// replay do.
package view
